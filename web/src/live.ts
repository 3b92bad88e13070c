// The page of a recording that is still written: what modtape tells of it, event by event (src/report/live.rs).

import { type Data, type Row, rowsOf } from "./data";

/** `told`: all that there is is shown; `lost`: modtape cannot be asked, and is asked again. */
export type Link = "told" | "lost";

/** What has been told so far. */
export interface Told {
  data: Data;
  rows: Row[];
  link: Link;
}

/** How long to wait before asking again, milliseconds. */
const AGAIN = 1_000;

/** The token of this page's address, which is taken out of it. */
export function token(): string {
  const named = new URLSearchParams(location.hash.replace(/^#/, ""));
  const found = named.get("token") ?? sessionStorage.getItem("token") ?? "";
  sessionStorage.setItem("token", found);
  named.delete("token");
  history.replaceState(null, "", named.size ? `#${named}` : location.pathname);
  return found;
}

const ask = (path: string, token: string): Promise<Response> =>
  fetch(path, { headers: { authorization: `Bearer ${token}` } });

/** Events as they come: id and text (HTML standard, "Server-sent events"; those of modtape have one line of data). */
async function* events(response: Response): AsyncGenerator<[string, string]> {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  // A line may come in thousands of pieces.
  let pieces: string[] = [];
  let id = "";
  for (;;) {
    const read = await reader?.read();
    if (!read || read.done) return;
    const lines = read.value.split("\n");
    for (const [index, piece] of lines.entries()) {
      pieces.push(piece);
      if (index === lines.length - 1) break;
      const line = pieces.join("");
      pieces = [];
      if (line.startsWith("id: ")) id = line.slice(4);
      if (line.startsWith("data: ")) yield [id, line.slice(6)];
    }
  }
}

/** What has been told, event by event. */
class Sum {
  private rows = new Map<string, Row>();
  private fields: [string, string][] = [];
  private places = new Map<string, number>();

  add(data: Data): Told {
    if (data.reset) {
      this.rows.clear();
      this.fields = [];
      this.places.clear();
    }
    const places = data.fields.map((field) => this.place(field));
    for (const row of rowsOf(data)) {
      const moved = (numbers: number[]) => numbers.map((number) => places[number] ?? 0);
      const heads = row.heads && ([moved(row.heads[0]), moved(row.heads[1])] as [number[], number[]]);
      this.rows.set(row.key, { ...row, heads });
    }
    const rows = [...this.rows.values()].sort((a, b) => a.start_us - b.start_us || a.id - b.id);
    return { data: { ...data, fields: this.fields }, rows, link: "told" };
  }

  private place(field: [string, string]): number {
    const key = `${field[0]}\0${field[1]}`;
    const known = this.places.get(key);
    if (known !== undefined) return known;
    this.places.set(key, this.fields.length);
    return this.fields.push(field) - 1;
  }
}

/** Tells what there is, and again whenever there is more. Ends only with what asking again would not mend. */
export async function follow(token: string, tell: (told: Told) => void): Promise<never> {
  const sum = new Sum();
  let since = "";
  let last: Told | null = null;
  for (;;) {
    const response = await ask(`/api/events?since=${since}`, token).catch(() => null);
    if (response && !response.ok) throw new Error(await response.text());
    const told = response && events(response);
    for (;;) {
      // Only the connection may fail: what cannot be shown is an error.
      const next = await told?.next().catch(() => null);
      if (!next || next.done) break;
      const [id, text] = next.value;
      last = sum.add(JSON.parse(text) as Data);
      since = id;
      tell(last);
    }
    if (last) tell({ ...last, link: "lost" });
    await new Promise((done) => setTimeout(done, AGAIN));
  }
}

/** Saves what `modtape report --format html` writes at this moment. */
export async function save(token: string, name: string): Promise<void> {
  const response = await ask("/api/page", token);
  if (!response.ok) throw new Error(await response.text());
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = `${name}.html`;
  link.click();
  // Not before the browser has begun to read it.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

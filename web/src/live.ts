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
  let text = "";
  for (;;) {
    const read = await reader?.read();
    if (!read || read.done) return;
    text += read.value;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const lines = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      const value = (name: string) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      const [id, data] = [value("id"), value("data")];
      if (id !== undefined && data !== undefined) yield [id, data];
    }
  }
}

/** Tells what there is, and again whenever there is more; comes to an end only if modtape refuses. */
export async function follow(token: string, tell: (told: Told) => void): Promise<never> {
  let since = "0";
  let last: Told | null = null;
  const rows = new Map<string, Row>();
  const fields: [string, string][] = [];
  for (;;) {
    try {
      const response = await ask(`/api/events?since=${since}`, token);
      if (response.status === 401 || response.status === 403) throw new Refused(await response.text());
      for await (const [id, text] of events(response)) {
        const data = JSON.parse(text) as Data;
        const shift = fields.length;
        fields.push(...data.fields);
        for (const row of rowsOf(data)) {
          const shifted = (numbers: number[]) => numbers.map((number) => number + shift);
          const heads = row.heads && ([shifted(row.heads[0]), shifted(row.heads[1])] as [number[], number[]]);
          rows.set(row.key, { ...row, heads });
        }
        since = id;
        const all = [...rows.values()].sort((a, b) => a.start_us - b.start_us || a.id - b.id);
        last = { data: { ...data, fields }, rows: all, link: "told" };
        tell(last);
      }
    } catch (error) {
      if (error instanceof Refused) throw error;
    }
    if (last) tell({ ...last, link: "lost" });
    await new Promise((done) => setTimeout(done, AGAIN));
  }
}

class Refused extends Error {}

/** Saves what `modtape report --format html` writes at this moment. */
export async function save(token: string, name: string): Promise<void> {
  const response = await ask("/api/page", token);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = `${name}.html`;
  link.click();
  URL.revokeObjectURL(link.href);
}

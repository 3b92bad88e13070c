// The data of a page, as src/report/mod.rs writes it, and the exchanges as the views take them.

/** The phases of an exchange, in their order. */
export const PHASES = ["blocked", "dns", "connect", "tls", "send", "wait", "receive"] as const;
export type Phase = (typeof PHASES)[number];

export type Severity = "problem" | "slow" | "note";

export interface Exhibit {
  kind: "exchange" | "connection" | "sample" | "setting" | "file";
  run?: number;
  id?: number;
  t_us?: number;
  name?: string;
  path?: string;
  shows: string;
}

export interface Finding {
  code: string;
  severity: Severity;
  title: string;
  cost_us: number;
  stall: boolean;
  confidence: "certain" | "likely";
  evidence: Exhibit[];
  evidence_total: number;
  hint: string | null;
  estimate_us: number | null;
  docs: string;
}

export interface Host {
  role?: string;
  entry?: number;
  requests: number;
  errors: number;
  body_bytes: number;
  wait_p50_us: number | null;
  wait_p95_us: number | null;
  dials: number;
  failed_dials: number;
  addresses: string[];
  protocols: string[];
}

export interface Link {
  run: number;
  exchange: number | null;
  what: string;
  host: string;
  gap_us: number;
  took_us: number;
}

export interface Rung {
  module: string;
  answered_by: string | null;
  refused_by: { host: string; status: number | null; requests: number }[];
  lost_us: number;
}

/** `modtape report --format json` (docs/formats.md). */
export interface Report {
  recording: string;
  command: string[];
  exit_code: number | null;
  mode: string | null;
  closed: boolean;
  damaged_places: number;
  wall_us: number;
  requests: number;
  lost: number;
  body_bytes: number;
  sentence: string;
  split_us: Record<string, number>;
  idle_us: Record<string, number>;
  findings: Finding[];
  critical_chain: Link[];
  hosts: Record<string, Host>;
  answered: Record<string, number>;
  ladder: Rung[];
}

/** Exchanges by columns, as src/report/data.rs says. */
export interface Columns {
  id: number[];
  run: number[];
  connection: number[];
  method: string[];
  url: (string | null)[];
  host: string[];
  kind: string[];
  module: (string | null)[];
  version: (string | null)[];
  what: (string | null)[];
  status: (number | null)[];
  outcome: string[];
  start_us: number[];
  phases_us: (number | null)[][];
  own_us: number[];
  bytes: number[];
  span: (string | null)[];
  why: (string | null)[];
  heads: ([number[], number[]] | null)[];
  text: (string | null)[];
}

export interface Data {
  /** Of the live page: what was told before is void. */
  reset?: boolean;
  schema: number;
  tool: string;
  /** RFC 3339, UTC. */
  started: string | null;
  /** How many processors the go command took to be there. */
  processors: number | null;
  /** Traces of the runs, by number. */
  traces: string[];
  report: Report;
  fields: [string, string][];
  exchanges: Columns;
}

/** An exchange as the views take it. */
export interface Row {
  /** Names it in the page and in its address: `78`, of further runs `1:5`. */
  key: string;
  id: number;
  run: number;
  connection: number;
  method: string;
  url: string;
  host: string;
  kind: string;
  module: string | null;
  version: string | null;
  what: string;
  status: number | null;
  outcome: string;
  start_us: number;
  /** Microseconds for each of PHASES; null where it did not happen. */
  phases_us: (number | null)[];
  /** The sum of its phases. */
  known_us: number;
  /** The same; of what goes on, until now. */
  total_us: number;
  end_us: number;
  own_us: number;
  bytes: number;
  span: string | null;
  why: string | null;
  /** Numbers of header fields (Data.fields): the request's, the response's. */
  heads: [number[], number[]] | null;
  /** What an error says, at most 4 KiB. */
  text: string | null;
}

export const keyOf = (run: number, id: number): string => (run === 0 ? `${id}` : `${run}:${id}`);

/** As module proxies spell it in paths: golang.org/x/mod/module, EscapePath. */
const escaped = (text: string): string => text.replace(/[A-Z]/g, (letter) => `!${letter.toLowerCase()}`);

/** The exchanges by their start. */
export function rowsOf(data: Data): Row[] {
  const sent = data.exchanges;
  const last = { id: 0, connection: 0, start_us: 0 };
  const rows = sent.id.map((step, at): Row => {
    // Columns are of one length; what is not there is as good as null.
    const entry = <T,>(column: T[]): T => column[at] as T;
    last.id += step;
    last.connection += entry(sent.connection);
    last.start_us += entry(sent.start_us);
    const [run, host, kind, module, version] = [
      entry(sent.run),
      entry(sent.host),
      entry(sent.kind),
      entry(sent.module),
      entry(sent.version),
    ];
    const phases_us = sent.phases_us.map((column) => entry(column));
    const start_us = last.start_us;
    const outcome = entry(sent.outcome);
    const known_us = phases_us.reduce((sum: number, us) => sum + (us ?? 0), 0);
    // What goes on has lasted until now.
    const total_us = outcome === "in-flight" ? Math.max(known_us, data.report.wall_us - start_us) : known_us;
    return {
      ...last,
      key: keyOf(run, last.id),
      run,
      method: entry(sent.method),
      url: entry(sent.url) ?? `https://${host}/${escaped(module ?? "")}/@v/${escaped(version ?? "")}.${kind}`,
      host,
      kind,
      module,
      version,
      what: entry(sent.what) ?? `${kind} ${module} ${version}`,
      status: entry(sent.status),
      outcome,
      phases_us,
      known_us,
      total_us,
      end_us: last.start_us + total_us,
      own_us: entry(sent.own_us),
      bytes: entry(sent.bytes),
      span: entry(sent.span),
      why: entry(sent.why),
      heads: entry(sent.heads),
      text: entry(sent.text),
    };
  });
  return rows.sort((a, b) => a.start_us - b.start_us || a.id - b.id);
}

/** Data as a page holds them: JSON, in gzip, in base64. */
export async function decoded(text: string): Promise<Data> {
  const bytes = Uint8Array.from(atob(text.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text()) as Data;
}

/** What this page was given. */
export const embedded = (): Promise<Data> => decoded(document.getElementById("data")?.textContent ?? "");

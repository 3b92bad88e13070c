// The lines of the waterfall: exchanges, and the heads of groups before them.

import type { Row } from "./data";
import type { Group } from "./state";

export interface Head {
  /** What the group is named by. */
  name: string;
  rows: Row[];
  start_us: number;
  end_us: number;
  /** How long at least one of its exchanges was in flight, microseconds. */
  busy_us: number;
  errors: number;
}

export type Line = { head: Head; row?: undefined } | { row: Row; head?: undefined };

export const isError = (row: Row): boolean =>
  ["error", "modtape", "aborted", "in-flight"].includes(row.outcome);

function head(name: string, rows: Row[]): Head {
  let busy_us = 0;
  let until = -1;
  for (const row of rows) {
    const from = Math.max(row.start_us, until);
    if (row.end_us > from) busy_us += row.end_us - from;
    until = Math.max(until, row.end_us);
  }
  return {
    name,
    rows,
    start_us: rows[0]?.start_us ?? 0,
    end_us: until,
    busy_us,
    errors: rows.filter(isError).length,
  };
}

/** The lines for rows that are sorted by their start; `closed` are the names of groups that are folded. */
export function lines(rows: Row[], group: Group, closed: ReadonlySet<string>): Line[] {
  if (group === "none") return rows.map((row) => ({ row }));
  const groups = new Map<string, Row[]>();
  for (const row of rows) {
    const name = group === "host" ? row.host : [row.module ?? row.host, row.version].filter(Boolean).join(" ");
    const known = groups.get(name);
    if (known) known.push(row);
    else groups.set(name, [row]);
  }
  return [...groups].flatMap(([name, members]): Line[] => [
    { head: head(name, members) },
    ...(closed.has(name) ? [] : members.map((row) => ({ row }))),
  ]);
}

/** How many exchanges are in flight: steps of a time and the number from there on. */
export function inFlight(rows: Row[]): [number, number][] {
  const changes: [number, number][] = [];
  for (const row of rows) {
    if (row.end_us > row.start_us) changes.push([row.start_us, 1], [row.end_us, -1]);
  }
  changes.sort((a, b) => a[0] - b[0]);
  const steps: [number, number][] = [[0, 0]];
  let now = 0;
  for (const [at, change] of changes) {
    now += change;
    const last = steps[steps.length - 1];
    if (last && last[0] === at) last[1] = now;
    else steps.push([at, now]);
  }
  return steps;
}

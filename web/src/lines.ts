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
  const begins = rows.map((row) => row.start_us).sort((a, b) => a - b);
  const ends = rows.map((row) => row.end_us).sort((a, b) => a - b);
  const steps: [number, number][] = [[0, 0]];
  let [begun, ended] = [0, 0];
  while (ended < ends.length) {
    const at = Math.min(begins[begun] ?? Infinity, ends[ended] ?? Infinity);
    while ((begins[begun] ?? Infinity) <= at) begun++;
    while ((ends[ended] ?? Infinity) <= at) ended++;
    steps.push([at, begun - ended]);
  }
  return steps;
}

/** The most that were in flight in each of so many equal parts of a time. */
export function mostInFlight(steps: [number, number][], from: number, to: number, parts: number): number[] {
  const most = new Array<number>(parts).fill(0);
  const width = (to - from) / parts;
  steps.forEach(([at, number], index) => {
    const until = steps[index + 1]?.[0] ?? at;
    if (number === 0 || until < from || at > to) return;
    const first = Math.max(0, Math.floor((at - from) / width));
    const last = Math.min(parts - 1, Math.floor((until - from) / width));
    for (let part = first; part <= last; part++) most[part] = Math.max(most[part] ?? 0, number);
  });
  return most;
}

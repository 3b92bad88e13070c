// The language of `modtape ls -f` (src/filter/), held equal by the same vectors: every error stands at a column.

import { PHASES, type Row } from "./data";

export const KINDS = [
  "list",
  "latest",
  "info",
  "mod",
  "zip",
  "toolchain",
  "sumdb-supported",
  "lookup",
  "tile",
  "discovery",
  "vcs",
  "other",
] as const;
export const OUTCOMES = ["ok", "probe", "fallthrough", "error", "modtape", "aborted", "in-flight"] as const;
const KEYS = [
  "host",
  "kind",
  "module",
  "version",
  "status",
  "outcome",
  "time",
  "size",
  "phase",
  "method",
  "url",
  "text",
  "id",
  "connection",
  "dns",
  "connect",
  "tls",
  "wait",
];

/** Whether an exchange is taken. */
export type Test = (row: Row) => boolean;

/** Why a text is not a filter; `column` counts characters from 1. */
export class FilterError extends Error {
  constructor(
    readonly column: number,
    readonly problem: string,
  ) {
    super(`column ${column}: ${problem}`);
  }
}

interface Piece {
  text: string;
  column: number;
}

const length = (text: string) => [...text].length;
const from = (piece: Piece, at: number): Piece => ({
  text: piece.text.slice(at),
  column: piece.column + length(piece.text.slice(0, at)),
});
const fail = (piece: Piece, problem: string): never => {
  throw new FilterError(piece.column, problem);
};

/** The test that a text stands for; throws a FilterError. */
export function parse(text: string): Test {
  const pieces = split({ text, column: 1 }, (c) => /\p{White_Space}/u.test(c));
  const terms = pieces.filter((piece) => piece.text !== "").map(term);
  return (row) => terms.every((holds) => holds(row));
}

/** The pieces between characters that are outside of quotes. */
function split(whole: Piece, isSeparator: (c: string) => boolean): Piece[] {
  const pieces: Piece[] = [];
  let start = 0;
  let quote = -1;
  let at = 0;
  for (const c of whole.text) {
    if (c === '"') quote = quote < 0 ? at : -1;
    else if (quote < 0 && isSeparator(c)) {
      pieces.push({ ...from(whole, start), text: whole.text.slice(start, at) });
      start = at + c.length;
    }
    at += c.length;
  }
  if (quote >= 0) fail(from(whole, quote), "this quote has no end");
  pieces.push(from(whole, start));
  return pieces;
}

const unquoted = (piece: Piece): string => piece.text.replaceAll('"', "");

function term(whole: Piece): Test {
  const isNegated = whole.text.startsWith("-");
  const piece = from(whole, isNegated ? 1 : 0);
  const colon = piece.text.search(/[:"]/);
  let anyOf: Test[];
  if (colon < 0 || piece.text[colon] !== ":") {
    anyOf = [word(piece)];
  } else {
    const key = { ...piece, text: piece.text.slice(0, colon) };
    anyOf = split(from(piece, colon + 1), (c) => c === ",").map((value) => test(key, value));
  }
  return (row) => anyOf.some((holds) => holds(row)) !== isNegated;
}

function word(piece: Piece): Test {
  const text = unquoted(piece);
  if (text === "") fail(piece, "a word or KEY:VALUE is missing here");
  if (OUTCOMES.some((outcome) => outcome === piece.text)) return (row) => row.outcome === piece.text;
  return contains(text);
}

function contains(text: string): Test {
  const part = text.toLowerCase();
  return (row) => row.url.toLowerCase().includes(part) || row.what.toLowerCase().includes(part);
}

function glob(pattern: string): (text: string) => boolean {
  const parts = pattern.toLowerCase().split("*");
  const [first = "", ...others] = parts;
  const last = others.pop();
  return (text) => {
    let rest = text.toLowerCase();
    if (last === undefined) return rest === first;
    if (!rest.startsWith(first)) return false;
    rest = rest.slice(first.length);
    for (const part of others) {
      const at = rest.indexOf(part);
      if (at < 0) return false;
      rest = rest.slice(at + part.length);
    }
    return rest.endsWith(last);
  };
}

function test(key: Piece, value: Piece): Test {
  const text = unquoted(value);
  if (text === "") fail(value, `${key.text} needs a value`);
  const phase = PHASES.findIndex((name) => name === key.text);
  if (phase >= 0) return phaseIs(phase, share(value, text));
  const fits = glob(text);
  switch (key.text) {
    case "host":
      return (row) => fits(row.host) || fits(row.host.replace(/:\d*$/, ""));
    case "module":
      return (row) => row.module != null && fits(row.module);
    case "version":
      return (row) => row.version != null && fits(row.version);
    case "method":
      return (row) => fits(row.method);
    case "url":
      return (row) => fits(row.url);
    case "text":
      return contains(text);
    case "kind": {
      const kind = named(value, text, KINDS);
      return (row) => row.kind === kind;
    }
    case "outcome": {
      const outcome = named(value, text, OUTCOMES);
      return (row) => row.outcome === outcome;
    }
    case "status": {
      if (text === "none") return (row) => row.status === null;
      const has = range(value, text, "404, 4xx, >=400, 400-499 or none");
      return (row) => row.status !== null && has(row.status);
    }
    case "id": {
      const has = range(value, text, "12, >100 or 12-20");
      return (row) => has(row.id);
    }
    case "connection": {
      const has = range(value, text, "3, >10 or 3-5");
      return (row) => has(row.connection);
    }
    case "time": {
      const has =
        measure(text, TIMES) ?? fail(value, `${shown(text)} is no time: >500ms, <=1.5s, >2m (us, ms, s, m, h)`);
      return (row) => has(row.known_us);
    }
    case "size": {
      const has =
        measure(text, SIZES) ??
        fail(value, `${shown(text)} is no size: >1MB, <16KiB, 0 (B, kB, MB, GB, KiB, MiB, GiB)`);
      return (row) => has(row.bytes);
    }
    case "phase": {
      const at = text.search(/[<>=]/);
      const name = at < 0 ? text : text.slice(0, at);
      const index = PHASES.indexOf(named(value, name, PHASES));
      return phaseIs(index, at < 0 ? () => true : share(value, text.slice(at)));
    }
    default: {
      const near = nearest(key.text, KEYS);
      const help = near === undefined ? `: they are ${KEYS.join(", ")}` : `; did you mean ${near}?`;
      return fail(key, `no key is called ${shown(key.text)}${help}`);
    }
  }
}

/** As Rust's `{:?}` quotes it: what cannot be seen is spelled. */
const shown = (text: string): string => {
  const spelled = text.replace(/["\\]|(?! )[\p{C}\p{Z}]/gu, (c) => {
    const known = { '"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0" }[c];
    return known ?? `\\u{${c.codePointAt(0)?.toString(16)}}`;
  });
  return `"${spelled}"`;
};

const phaseIs =
  (index: number, has: (us: number, total: number) => boolean): Test =>
  (row) => {
    const us = row.phases_us[index];
    return us != null && has(us, row.known_us);
  };

type Bound = (value: number) => boolean;

const RELATIONS: [string, (value: number, bound: number) => boolean][] = [
  [">=", (value, bound) => value >= bound],
  ["<=", (value, bound) => value <= bound],
  [">", (value, bound) => value > bound],
  ["<", (value, bound) => value < bound],
  ["=", (value, bound) => value === bound],
];

function relation(text: string): [(value: number, bound: number) => boolean, string] {
  const found = RELATIONS.find(([sign]) => text.startsWith(sign));
  return found ? [found[1], text.slice(found[0].length)] : [(value, bound) => value === bound, text];
}

const TIMES: [string, number][] = [
  ["us", 1],
  ["µs", 1],
  ["ms", 1_000],
  ["s", 1_000_000],
  ["m", 60_000_000],
  ["h", 3_600_000_000],
];
const SIZES: [string, number][] = [
  ["KiB", 1 << 10],
  ["MiB", 1 << 20],
  ["GiB", 1 << 30],
  ["kB", 1_000],
  ["KB", 1_000],
  ["MB", 1_000_000],
  ["GB", 1_000_000_000],
  ["B", 1],
  ["", 1],
];
/** What the program counts with. */
const MOST = 2n ** 64n - 1n;

/** The first unit that the text ends with decides. */
function measure(text: string, units: [string, number][]): Bound | undefined {
  const [holds, rest] = relation(text);
  const unit = units.find(([name]) => rest.endsWith(name));
  if (!unit) return undefined;
  const number = rest.slice(0, rest.length - unit[0].length);
  if (!/^\d+(\.\d+)?$/.test(number)) return undefined;
  const [whole = "0", fraction = "0"] = number.split(".");
  const digits = BigInt(fraction.slice(0, 12));
  const part = (digits * BigInt(unit[1])) / 10n ** BigInt(fraction.slice(0, 12).length);
  const bound = BigInt(whole) * BigInt(unit[1]) + part;
  return BigInt(whole) <= MOST && bound <= MOST ? (value) => holds(value, Number(bound)) : undefined;
}

function share(value: Piece, text: string): (us: number, total: number) => boolean {
  const time = measure(text, TIMES);
  if (time) return time;
  const part = measure(text, [["%", 10_000]]);
  if (part) return (us, total) => part(Math.floor((us * 1_000_000) / Math.max(1, total)));
  return fail(value, `${shown(text)} is neither a time nor a share: >2s, >80%`);
}

function range(value: Piece, text: string, examples: string): Bound {
  return rangeOf(text) ?? fail(value, `${shown(text)} is not like ${examples}`);
}

function rangeOf(text: string): Bound | undefined {
  const hundreds = /^0*(\d)xx$/.exec(text);
  if (hundreds) {
    const least = Number(hundreds[1]) * 100;
    return (at) => least <= at && at <= least + 99;
  }
  const ends = /^(\d+)-(\d+)$/.exec(text);
  if (ends) {
    const [least, most] = [BigInt(ends[1] ?? 0), BigInt(ends[2] ?? 0)];
    return least <= most && most <= MOST ? (at) => least <= at && at <= most : undefined;
  }
  const [holds, digits] = relation(text);
  if (!/^\d+$/.test(digits) || BigInt(digits) > MOST) return undefined;
  // Nothing is less than 0, or more than the most.
  if (/^<\d/.test(text) && BigInt(digits) === 0n) return undefined;
  if (/^>\d/.test(text) && BigInt(digits) === MOST) return undefined;
  return (at) => holds(at, Number(digits));
}

/** The one of `all` that is called so. */
function named<T extends string>(value: Piece, text: string, all: readonly T[]): T {
  const found = all.find((one) => one.toLowerCase() === text.toLowerCase());
  if (found !== undefined) return found;
  const near = nearest(text, all);
  const help = near === undefined ? `there are ${all.join(", ")}` : `did you mean ${near}?`;
  return fail(value, `nothing is called ${shown(text)} here; ${help}`);
}

/** The name that differs by no more than two insertions, deletions or changes. */
function nearest(text: string, names: readonly string[]): string | undefined {
  const short = [...text].slice(0, 32);
  const found = names
    .map((name): [number, string] => [distance(short, [...name]), name])
    .sort((a, b) => a[0] - b[0] || (a[1] < b[1] ? -1 : 1))[0];
  return found && found[0] <= 2 && found[0] < short.length ? found[1] : undefined;
}

function distance(a: string[], b: string[]): number {
  let row = b.map((_, index) => index + 1);
  row.unshift(0);
  for (const [i, left] of a.entries()) {
    const next = [i + 1];
    for (const [j, right] of b.entries()) {
      next.push(Math.min((next[j] ?? 0) + 1, (row[j + 1] ?? 0) + 1, (row[j] ?? 0) + (left === right ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

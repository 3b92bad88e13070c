// Numbers as people read them; the same words as the program's own (src/words.rs).

export function duration(us: number): string {
  const rounded = (unit: number) => Math.floor((us + Math.floor(unit / 2)) / unit);
  if (us === 0) return "0 ms";
  if (us < 100) return "<0.1 ms";
  if (rounded(100) < 100) return `${(rounded(100) / 10).toFixed(1)} ms`;
  if (rounded(1_000) < 1_000) return `${rounded(1_000)} ms`;
  if (rounded(10_000) < 1_000) return `${(rounded(10_000) / 100).toFixed(2)} s`;
  if (rounded(100_000) < 600) return `${(rounded(100_000) / 10).toFixed(1)} s`;
  if (rounded(1_000_000) < 3_600) {
    const seconds = rounded(1_000_000);
    return `${Math.floor(seconds / 60)}m${String(seconds % 60).padStart(2, "0")}s`;
  }
  const minutes = rounded(60_000_000);
  return `${Math.floor(minutes / 60)}h${String(minutes % 60).padStart(2, "0")}m`;
}

export function size(bytes: number): string {
  if (bytes < 1_000) return `${bytes} B`;
  let unit = 1_000;
  for (const name of ["kB", "MB", "GB", "TB", "PB"]) {
    const tenths = Math.floor((bytes * 10 + unit / 2) / unit);
    if (tenths < 1_000) return `${(tenths / 10).toFixed(1)} ${name}`;
    const whole = Math.floor((bytes + unit / 2) / unit);
    if (whole < 1_000) return `${whole} ${name}`;
    unit *= 1_000;
  }
  return `${bytes} B`;
}

export const percent = (part: number, whole: number): number =>
  whole === 0 ? 0 : Math.round((part * 100) / whole);

/** `text` as one word of a POSIX shell. */
export const quoted = (text: string): string =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;

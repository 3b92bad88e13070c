// What an exchange, or a whole run, spent its time with: phases to scale.

import { PHASES, type Row } from "./data";
import { t } from "./language";
import { duration } from "./words";

/** The time that a picture shows, microseconds. */
export interface Span {
  from: number;
  to: number;
}

/** Where a time stands in a picture, per cent of its width. */
export const place = (span: Span, at: number): number =>
  ((at - span.from) * 100) / Math.max(1, span.to - span.from);

/** The phases of an exchange on the time axis. */
export function Bar({ row, span }: { row: Row; span: Span }) {
  let at = row.start_us;
  const parts = row.phases_us.flatMap((us, index) => {
    const from = at;
    if (!us) return [];
    at += us;
    if (at < span.from || from > span.to) return [];
    const left = Math.max(0, place(span, from));
    const width = Math.min(100, place(span, at)) - left;
    return [<i key={index} class={`phase ${PHASES[index]}`} style={{ left: `${left}%`, width: `${width}%` }} />];
  });
  if (row.outcome === "in-flight" && row.end_us > at && row.end_us >= span.from && at <= span.to) {
    const left = Math.max(0, place(span, at));
    const width = Math.min(100, place(span, row.end_us)) - left;
    parts.push(<i key="stall" class="phase stall" style={{ left: `${left}%`, width: `${width}%` }} />);
  }
  return <span class="bar">{parts}</span>;
}

/** One bar for the whole: shares of the wall time, the largest first, and the same in words. */
export function Split({ split, wall }: { split: Record<string, number>; wall: number }) {
  const shares = Object.entries(split)
    .filter(([, us]) => us > 0)
    .sort((a, b) => b[1] - a[1]);
  const text = shares.map(([name, us]) => `${t(name)} ${duration(us)}`).join(", ");
  return (
    <figure class="split">
      <div class="shares" role="img" aria-label={`${t("Where the time went")}: ${text}`}>
        {shares.map(([name, us]) => (
          <i key={name} class={`phase ${name}`} style={{ width: `${(us * 100) / Math.max(1, wall)}%` }} />
        ))}
      </div>
      <figcaption>
        {shares.map(([name, us]) => (
          <span key={name}>
            <i class={`swatch phase ${name}`} aria-hidden="true" />
            {t(name)} {duration(us)} <b>{((us * 100) / Math.max(1, wall)).toFixed(0)}%</b>
          </span>
        ))}
      </figcaption>
    </figure>
  );
}

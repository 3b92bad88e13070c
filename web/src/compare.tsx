// This recording beside another one, whose page the reader chooses: mirrored bars, sorted by change.

import { useMemo, useState } from "preact/hooks";
import { type Data, type Report, type Row, decoded, rowsOf } from "./data";
import { t } from "./language";
import { duration } from "./words";

interface Pair {
  what: string;
  before_us: number;
  after_us: number;
}

/** How many rows are shown: what has hardly changed says nothing. */
const MOST = 200;

/** How long each thing took that was asked for, in sum. */
function times(rows: Row[]): Map<string, number> {
  const all = new Map<string, number>();
  for (const row of rows) all.set(row.what, (all.get(row.what) ?? 0) + row.total_us);
  return all;
}

function pairs(before: Row[], after: Row[]): Pair[] {
  const [then, now] = [times(before), times(after)];
  const whats = new Set([...then.keys(), ...now.keys()]);
  return [...whats]
    .map((what) => ({ what, before_us: then.get(what) ?? 0, after_us: now.get(what) ?? 0 }))
    .sort((a, b) => Math.abs(b.after_us - b.before_us) - Math.abs(a.after_us - a.before_us));
}

export function Compare({ data, rows }: { data: Data; rows: Row[] }) {
  const [other, setOther] = useState<{ report: Report; rows: Row[] } | null>(null);
  const [wrong, setWrong] = useState("");
  const choose = async (file: File | undefined) => {
    if (!file) return;
    try {
      const page = new DOMParser().parseFromString(await file.text(), "text/html");
      const read = await decoded(page.getElementById("data")?.textContent ?? "");
      if (read.schema !== data.schema) throw new Error(`schema ${read.schema}`);
      setOther({ report: read.report, rows: rowsOf(read) });
      setWrong("");
    } catch (error) {
      setOther(null);
      setWrong(t("That file cannot be compared: {0}", String(error)));
    }
  };
  const all = useMemo(() => (other ? pairs(other.rows, rows) : []), [other, rows]);
  const longest = all.reduce((most, pair) => Math.max(most, pair.before_us, pair.after_us), 1);
  return (
    <>
      <p>
        <label>
          {t("Another page of a report, to compare with")}{" "}
          <input type="file" accept=".html,text/html" onChange={(event) => choose(event.currentTarget.files?.[0])} />
        </label>
      </p>
      <p role="status" class={wrong ? "bad" : ""}>
        {wrong ||
          (other
            ? t(
                "Between {0} and this recording: {1} then, {2} now.",
                other.report.recording,
                duration(other.report.wall_us),
                duration(data.report.wall_us),
              )
            : t("Choose the page of an earlier recording: its times are the left bars, this one's the right."))}
      </p>
      {other && (
        <table class="view compared">
          <thead>
            <tr>
              <th scope="col">{t("What")}</th>
              <th scope="col" class="number">
                {t("Before")}
              </th>
              <th scope="col" class="number">
                {t("After")}
              </th>
              <th scope="col" class="number">
                {t("Change")}
              </th>
            </tr>
          </thead>
          <tbody>
            {all.slice(0, MOST).map((pair) => {
              const change = pair.after_us - pair.before_us;
              const bar = (us: number) => ({ width: `${(us * 100) / longest}%` });
              return (
                <tr key={pair.what}>
                  <th scope="row">{pair.what}</th>
                  <td class="number mirrored">
                    <i style={bar(pair.before_us)} />
                    <span>{pair.before_us ? duration(pair.before_us) : ""}</span>
                  </td>
                  <td class="mirrored">
                    <i style={bar(pair.after_us)} />
                    <span>{pair.after_us ? duration(pair.after_us) : ""}</span>
                  </td>
                  <td class={change > 0 ? "number bad" : "number"}>
                    {change > 0 ? "+" : "−"}
                    {duration(Math.abs(change))}
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      )}
    </>
  );
}

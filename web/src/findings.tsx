// What was found. A finding selects the exchanges that show it.

import { type Finding, keyOf } from "./data";
import { t } from "./language";
import { duration, percent } from "./words";

/** The keys of the exchanges that a finding points to. */
export const shownBy = (finding: Finding | undefined): Set<string> =>
  new Set(
    (finding?.evidence ?? []).flatMap((piece) =>
      piece.kind === "exchange" && piece.id !== undefined ? [keyOf(piece.run ?? 0, piece.id)] : [],
    ),
  );

const MARKS = { problem: "!!", slow: "!", note: "i" };

export function Findings(wanted: {
  findings: Finding[];
  wall: number;
  chosen: string;
  choose: (code: string) => void;
  show: (key: string) => void;
}) {
  const { findings, chosen } = wanted;
  const finding = findings.find((one) => one.code === chosen);
  return (
    <section class="findings" aria-label={t("Findings")}>
      <h2>{t("Findings")}</h2>
      {findings.length === 0 && <p>{t("Nothing was found that is wrong or slow.")}</p>}
      <ul>
        {findings.map((one, index) => (
          <li key={index}>
            <button
              type="button"
              class={`finding ${one.severity}`}
              aria-pressed={one.code === chosen}
              onClick={() => wanted.choose(one.code === chosen ? "" : one.code)}
            >
              <b>
                <span aria-hidden="true">{MARKS[one.severity]}</span> {one.code}
              </b>{" "}
              {one.title}
              {one.cost_us > 0 && (
                <span class="cost">
                  {" "}
                  {duration(one.cost_us)}, {percent(one.cost_us, wanted.wall)}%
                </span>
              )}
            </button>
          </li>
        ))}
      </ul>
      {finding && (
        <div class="evidence">
          {finding.hint && (
            <p>
              <b>{t("Try:")}</b> {finding.hint}
              {finding.estimate_us !== null && ` (${t("about {0} instead", duration(finding.estimate_us))})`}
            </p>
          )}
          <ul>
            {finding.evidence.map((piece, index) => (
              <li key={index}>
                {piece.kind === "exchange" && piece.id !== undefined ? (
                  <button type="button" class="choice" onClick={() => wanted.show(keyOf(piece.run ?? 0, piece.id ?? 0))}>
                    #{keyOf(piece.run ?? 0, piece.id)}
                  </button>
                ) : (
                  <code>{piece.name ?? piece.path ?? `${piece.kind} ${piece.id ?? ""}`}</code>
                )}{" "}
                {piece.shows}
              </li>
            ))}
          </ul>
          {finding.evidence_total > finding.evidence.length && (
            <p>{t("and {0} more", finding.evidence_total - finding.evidence.length)}</p>
          )}
          <p>{t("{0} explains it.", finding.docs)}</p>
        </div>
      )}
    </section>
  );
}

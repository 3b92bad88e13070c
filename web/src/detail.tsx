// One exchange: its phases to scale, header fields, what an error said, and how to look at it elsewhere.

import { useState } from "preact/hooks";
import { type Data, PHASES, type Row } from "./data";
import { t } from "./language";
import { duration, quoted, size } from "./words";

function Copy({ text, what }: { text: string; what: string }) {
  const [is, setIs] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setIs(true);
  };
  return (
    <button type="button" class="copy" onClick={copy} aria-label={`${t("copy")} ${what}`}>
      {t(is ? "copied" : "copy")}
    </button>
  );
}

function Copied({ name, text }: { name: string; text: string }) {
  return (
    <div class="copied">
      <dt>{name}</dt>
      <dd>
        <code>{text}</code> <Copy text={text} what={name} />
      </dd>
    </div>
  );
}

/** The request as a command; fields that curl sets by itself are left to it. */
function curl(row: Row, fields: [string, string][]): string {
  const own = new Set(["host", "content-length", "connection"]);
  const heads = fields.filter(([name]) => !own.has(name.toLowerCase()));
  const method = row.method === "GET" ? [] : ["-X", row.method];
  const words = ["curl", "-sS", "-D", "-", "-o", "/dev/null", ...method];
  for (const [name, value] of heads) words.push("-H", `${name}: ${value}`);
  return [...words, row.url].map(quoted).join(" ");
}

function Fields({ title, fields }: { title: string; fields: [string, string][] }) {
  return (
    <section>
      <h3>{title}</h3>
      <table class="fields">
        <tbody>
          {fields.map(([name, value], index) => (
            <tr key={index}>
              <th scope="row">{name}</th>
              <td>{value}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

export function Detail({ data, row, close }: { data: Data; row: Row; close: () => void }) {
  const fields = (which: 0 | 1): [string, string][] =>
    (row.heads?.[which] ?? []).flatMap((number) => {
      const field = data.fields[number];
      return field ? [field] : [];
    });
  const request = fields(0);
  const response = fields(1);
  const trace = data.traces[row.run] ?? "";
  const longest = Math.max(1, ...row.phases_us.map((us) => us ?? 0));
  return (
    <aside class="detail" aria-label={`Exchange ${row.key}`}>
      <header>
        <h2>
          #{row.key} {row.what}
        </h2>
        <button type="button" onClick={close} aria-label={t("Close")}>
          ✕
        </button>
      </header>
      <p class="url">{row.url}</p>
      <p>
        <b class={`status ${row.outcome}`}>{row.status ?? row.outcome}</b> {row.outcome}, {size(row.bytes)}, {t("connection")} {row.connection}
      </p>
      {row.why && <p class="why">{row.why}</p>}
      <table class="phases">
        <caption>{t("Phases")}</caption>
        <tbody>
          {PHASES.map((name, index) => {
            const us = row.phases_us[index];
            if (us === null || us === undefined) return null;
            return (
              <tr key={name}>
                <th scope="row">{t(name)}</th>
                <td class="number">{duration(us)}</td>
                <td class="scale">
                  <i class={`phase ${name}`} style={{ width: `${(us * 100) / longest}%` }} />
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
      {row.text && (
        <section>
          <h3>{t("What it said")}</h3>
          <pre>{row.text}</pre>
        </section>
      )}
      <dl>
        {row.span && <Copied name="traceparent" text={`00-${trace}-${row.span}-01`} />}
        <Copied name="curl" text={curl(row, request)} />
        <Copied name="Wireshark" text={`frame.comment contains "exchange=${row.id} "`} />
        <Copied name="modtape" text={`modtape show ${row.key} ${quoted(data.report.recording)}`} />
      </dl>
      {request.length > 0 && <Fields title={t("Request")} fields={request} />}
      {response.length > 0 && <Fields title={t("Response")} fields={response} />}
    </aside>
  );
}

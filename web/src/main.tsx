// The page: the state, what it does to the views, and the keys.

import { render } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Split } from "./bar";
import { Compare } from "./compare";
import { type Data, type Row, embedded, keyOf, rowsOf } from "./data";
import { Detail } from "./detail";
import { type Test, FilterError, parse as parseFilter } from "./filter";
import { Findings, shownBy } from "./findings";
import { Grid } from "./grid";
import { LANGUAGES, many, speak, t } from "./language";
import { lines } from "./lines";
import { type Link, type Told, follow, save, token } from "./live";
import { GROUPS, type State, TABS, THEMES, hash, parse } from "./state";
import { Strip } from "./strip";
import { Hosts, Modules, Why } from "./tables";
import { duration, quoted, size } from "./words";

const KEYS: [string, string][] = [
  ["/", "filter"],
  ["j k, arrows, Page Up and Down, Home, End", "walk through the exchanges"],
  ["Enter", "show the exchange, or fold its group"],
  ["Esc", "close what is open"],
  ["g", "group by module, by host, or not"],
  [". ,", "next and previous finding"],
  ["1 to 5", "the views"],
  ["z 0", "zoom to the exchange, show all"],
  ["t", "light or dark"],
  ["l", "English, 简体中文"],
  ["?", "this list"],
];

const next = <T,>(all: readonly T[], now: T, step = 1): T =>
  all[(all.indexOf(now) + step + all.length) % all.length] as T;

interface Shown {
  data: Data;
  rows: Row[];
  /** Where the page is told of a recording: how that goes, and what saves the page. */
  link?: Link;
  save?: () => void;
}

function Page({ data, rows, link, save }: Shown) {
  const { report } = data;
  const [state, setState] = useState<State>(() => parse(location.hash));
  // Before anything of the page is said.
  speak(state.language);
  const [folded, setFolded] = useState<ReadonlySet<string>>(new Set());
  const [helps, setHelps] = useState(false);
  const input = useRef<HTMLInputElement>(null);

  useEffect(() => {
    const text = hash(state);
    if (text !== location.hash.replace(/^#/, "")) history.replaceState(null, "", text ? `#${text}` : " ");
    document.documentElement.dataset.theme = state.theme;
  }, [state]);
  useEffect(() => {
    const onHash = () => setState(parse(location.hash));
    addEventListener("hashchange", onHash);
    return () => removeEventListener("hashchange", onHash);
  }, []);
  const change = (what: Partial<State>) => setState((state) => ({ ...state, ...what }));

  const finding = report.findings.find((one) => one.code === state.finding);
  const marked = useMemo(() => shownBy(finding), [finding]);
  const [test, error] = useMemo((): [Test, FilterError | null] => {
    try {
      return [parseFilter(state.filter), null];
    } catch (error) {
      if (error instanceof FilterError) return [() => true, error];
      throw error;
    }
  }, [state.filter]);
  const shown = useMemo(() => rows.filter(test), [rows, test]);
  const all = useMemo(() => lines(shown, state.group, folded), [shown, state.group, folded]);
  const row = rows.find((one) => one.key === state.row);
  const end = Math.max(report.wall_us, 1);
  const zoom = state.zoom && state.zoom[0] < end ? state.zoom : null;
  const span = zoom ? { from: zoom[0], to: Math.min(zoom[1], end) } : { from: 0, to: end };

  // What had the focus goes away with what is closed, or with the view that is left.
  const focus = (id: string) => requestAnimationFrame(() => document.getElementById(id)?.focus());
  const closeDetail = () => {
    change({ row: "" });
    focus(state.tab === "waterfall" ? "grid" : `tab-${state.tab}`);
  };
  const search = (filter: string) => {
    change({ filter, tab: "waterfall" });
    focus("grid");
  };
  const goFinding = (step: number) => {
    const codes = ["", ...report.findings.map((one) => one.code)];
    const code = next(codes, state.finding, step);
    const first = report.findings
      .find((one) => one.code === code)
      ?.evidence.find((piece) => piece.kind === "exchange" && piece.id !== undefined);
    change({ finding: code, ...(first ? { tab: "waterfall", row: keyOf(first.run ?? 0, first.id ?? 0) } : {}) });
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      if (helps) setHelps(false);
      else if (state.row) closeDetail();
      else change({ finding: "" });
      return;
    }
    if (!state.keys || event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement) return;
    const tab = TABS[Number(event.key) - 1];
    if (tab) change({ tab });
    else if (event.key === "/") {
      input.current?.focus();
    } else if (event.key === "g") change({ group: next(GROUPS, state.group) });
    else if (event.key === ".") goFinding(1);
    else if (event.key === ",") goFinding(-1);
    else if (event.key === "z" && row) {
      const room = Math.max(1_000, row.total_us / 10);
      change({ zoom: [Math.max(0, row.start_us - room), Math.min(end, row.end_us + room)] });
    } else if (event.key === "0") change({ zoom: null });
    else if (event.key === "t") change({ theme: next(THEMES, state.theme) });
    else if (event.key === "l") change({ language: next(LANGUAGES, state.language) });
    else if (event.key === "?") setHelps(!helps);
    else return;
    event.preventDefault();
  };
  useEffect(() => {
    addEventListener("keydown", onKeyDown);
    return () => removeEventListener("keydown", onKeyDown);
  });

  const command = report.command.map(quoted).join(" ");
  const ended = report.exit_code === null ? (report.closed ? "" : t("unfinished")) : t("exit code {0}", report.exit_code);
  return (
    <div class={row ? "page has-detail" : "page"}>
      <header class="top">
        <h1>
          <b>modtape</b> {command || report.recording}
        </h1>
        <p class="facts">
          <span>{duration(report.wall_us)}</span>
          <span>{many(report.requests, "request")}</span>
          <span>{size(report.body_bytes)}</span>
          {ended && <span class={report.exit_code ? "bad" : ""}>{ended}</span>}
          {report.damaged_places > 0 && <span class="bad">{t("damaged in {0} places", report.damaged_places)}</span>}
          {data.started && <time dateTime={data.started}>{data.started.slice(0, 16).replace("T", " ")}Z</time>}
          {link && (
            <span role="status" class={link === "lost" ? "bad" : "link"}>
              ● {t(link === "lost" ? "modtape does not answer" : report.closed ? "ended" : "live")}
            </span>
          )}
          {save && (
            <button type="button" onClick={save}>
              {t("save this page")}
            </button>
          )}
          <button type="button" onClick={() => change({ theme: next(THEMES, state.theme) })}>
            {t("theme")}: {t(state.theme)}
          </button>
          <button type="button" onClick={() => change({ language: next(LANGUAGES, state.language) })}>
            {state.language === "en" ? "中文" : "English"}
          </button>
          <button type="button" aria-expanded={helps} onClick={() => setHelps(!helps)}>
            {t("keys")} ?
          </button>
        </p>
      </header>
      {helps && (
        <dl class="keys">
          {KEYS.map(([key, what]) => (
            <div key={key}>
              <dt>
                <kbd>{key}</kbd>
              </dt>
              <dd>{t(what)}</dd>
            </div>
          ))}
          <div>
            <dt>
              <label>
                <input
                  type="checkbox"
                  checked={state.keys}
                  onChange={(event) => change({ keys: event.currentTarget.checked })}
                />{" "}
                {t("single keys")}
              </label>
            </dt>
            <dd>{t("Esc, Enter and the arrows work in any case")}</dd>
          </div>
        </dl>
      )}
      <main>
      <p class="sentence">{report.sentence}</p>
      <Split split={report.split_us} wall={report.wall_us} />
      <Findings
        findings={report.findings}
        wall={report.wall_us}
        chosen={state.finding}
        choose={(code) => change({ finding: code })}
        show={(key) => change({ row: key, tab: "waterfall", filter: "" })}
      />
      <nav class="tabs" role="tablist" aria-label={t("Views")}>
        {TABS.map((tab) => (
          <button
            key={tab}
            type="button"
            role="tab"
            id={`tab-${tab}`}
            aria-selected={tab === state.tab}
            aria-controls="view"
            tabIndex={tab === state.tab ? 0 : -1}
            onClick={() => change({ tab })}
            onKeyDown={(event) => {
              const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
              if (step === undefined) return;
              const tab = next(TABS, state.tab, step);
              change({ tab });
              document.getElementById(`tab-${tab}`)?.focus();
            }}
          >
            {t(tab)}
          </button>
        ))}
      </nav>
      <div id="view" class="panel" role="tabpanel" aria-labelledby={`tab-${state.tab}`}>
        {state.tab === "waterfall" && (
          <>
            <form class="tools" role="search" onSubmit={(event) => event.preventDefault()}>
              <label>
                {t("Filter")}{" "}
                <input
                  ref={input}
                  type="search"
                  value={state.filter}
                  placeholder="host: kind: status:>=400 time:>500ms -probe"
                  spellcheck={false}
                  aria-invalid={error !== null}
                  aria-describedby="filter-says"
                  onInput={(event) => change({ filter: event.currentTarget.value })}
                />
              </label>
              <label>
                {t("Group")}{" "}
                <select
                  value={state.group}
                  onChange={(event) =>
                    change({ group: GROUPS.find((one) => one === event.currentTarget.value) ?? "none" })
                  }
                >
                  {GROUPS.map((group) => (
                    <option key={group} value={group}>
                      {t(group)}
                    </option>
                  ))}
                </select>
              </label>
              {state.zoom && (
                <button
                  type="button"
                  onClick={() => {
                    change({ zoom: null });
                    focus("grid");
                  }}
                >
                  {t("show all the time")}
                </button>
              )}
              <output id="filter-says" class={error ? "bad" : ""}>
                {error
                  ? error.message
                  : t("{0} of {1}", shown.length.toLocaleString("en"), rows.length.toLocaleString("en"))}
              </output>
            </form>
            <Strip rows={shown} span={span} processors={data.processors} zoom={(zoom) => change({ zoom })} />
            <Grid
              lines={all}
              isTree={state.group !== "none"}
              span={span}
              chosen={state.row}
              marked={marked}
              closed={folded}
              choose={(key) => change({ row: key })}
              fold={(name) => {
                const other = new Set(folded);
                if (!other.delete(name)) other.add(name);
                setFolded(other);
              }}
            />
          </>
        )}
        {state.tab === "modules" && (
          <Modules report={report} filter={search} />
        )}
        {state.tab === "hosts" && <Hosts report={report} filter={search} />}
        {state.tab === "why" && <Why report={report} choose={(key) => change({ row: key })} />}
        {state.tab === "compare" && <Compare data={data} rows={rows} />}
      </div>
      {row && <Detail key={row.key} data={data} row={row} close={closeDetail} />}
      </main>
      <footer>
        {t("{0}, recording {1}", data.tool, report.recording)}
      </footer>
    </div>
  );
}

const root = document.getElementById("page");
if (root) {
  let isEmpty = true;
  const show = (shown: Shown) => {
    if (isEmpty) root.textContent = "";
    isEmpty = false;
    render(<Page {...shown} />, root);
    performance.mark("ready");
  };
  const fail = (error: unknown) => {
    const line = document.createElement("p");
    line.textContent = `This page's data cannot be read: ${error instanceof Error ? error.message : String(error)}`;
    root.prepend(line);
  };
  if (document.getElementById("data")?.textContent) {
    embedded().then((data) => show({ data, rows: rowsOf(data) }), fail);
  } else {
    const its = token();
    follow(its, (told: Told) => show({ ...told, save: () => save(its, told.data.report.recording).catch(fail) })).catch(fail);
  }
}

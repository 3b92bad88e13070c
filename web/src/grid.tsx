// The waterfall: a line for each exchange, of which only those that are in sight exist.

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { Bar, type Span, place } from "./bar";
import type { Row } from "./data";
import { t } from "./language";
import type { Line } from "./lines";
import { duration, size } from "./words";

/** On a narrow screen the bars stand below the words. */
const NARROW = matchMedia("(max-width: 599px)");
/** Lines beyond the edges, so that scrolling shows no gap. */
const BEYOND = 10;

export interface Wanted {
  lines: Line[];
  span: Span;
  /** Whether there are groups. */
  isTree: boolean;
  chosen: string;
  marked: ReadonlySet<string>;
  closed: ReadonlySet<string>;
  choose: (key: string) => void;
  fold: (name: string) => void;
}

const glyph = (row: Row): string => {
  switch (row.outcome) {
    case "ok":
      return "";
    case "probe":
    case "fallthrough":
      return "→";
    default:
      return "!";
  }
};

function Status({ row }: { row: Row }) {
  const text = row.status === null ? row.outcome : `${row.status}`;
  return (
    <span class={`status ${row.outcome}`} role="gridcell">
      {text} {glyph(row)}
    </span>
  );
}

const nameOf = (line: Line): string => (line.row ? line.row.key : `group ${line.head.name}`);

export function Grid(wanted: Wanted) {
  const { lines, span, chosen, marked } = wanted;
  const box = useRef<HTMLDivElement>(null);
  // The height of a line, as in page.css.
  const [lineHeight, setLineHeight] = useState(NARROW.matches ? 40 : 24);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(600);
  // The line that keys act on, by its name: others come and go before it.
  const [at, setAt] = useState({ name: "", index: 0 });
  const current = useMemo(() => {
    const named = lines.findIndex((line) => nameOf(line) === at.name);
    return named >= 0 ? named : Math.max(0, Math.min(at.index, lines.length - 1));
  }, [lines, at]);

  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const observer = new ResizeObserver(() => setHeight(element.clientHeight));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  useEffect(() => {
    const onChange = () => setLineHeight(NARROW.matches ? 40 : 24);
    NARROW.addEventListener("change", onChange);
    return () => NARROW.removeEventListener("change", onChange);
  }, []);

  // An exchange that was chosen elsewhere comes into sight.
  useEffect(() => {
    const index = lines.findIndex((line) => line.row?.key === chosen);
    if (index >= 0) goTo(index);
  }, [chosen]);

  const setCurrent = (index: number) => {
    const line = lines[index];
    setAt({ name: line ? nameOf(line) : "", index });
  };
  const goTo = (index: number) => {
    const bounded = Math.max(0, Math.min(lines.length - 1, index));
    setCurrent(bounded);
    const element = box.current;
    if (!element) return;
    const room = element.clientHeight - lineHeight;
    if (bounded * lineHeight < element.scrollTop) element.scrollTop = bounded * lineHeight;
    if (bounded * lineHeight > element.scrollTop + room - lineHeight) element.scrollTop = bounded * lineHeight - room + lineHeight;
  };
  const open = (line: Line | undefined) => {
    if (line?.row) wanted.choose(line.row.key);
    else if (line) wanted.fold(line.head.name);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(height / lineHeight) - 2);
    const steps: Record<string, number> = {
      ArrowDown: current + 1,
      j: current + 1,
      ArrowUp: current - 1,
      k: current - 1,
      PageDown: current + page,
      PageUp: current - page,
      Home: 0,
      End: lines.length - 1,
    };
    const step = steps[event.key];
    if (step !== undefined) goTo(step);
    else if (event.key === "Enter") open(lines[current]);
    else return;
    event.preventDefault();
  };

  const first = Math.max(0, Math.floor(top / lineHeight) - BEYOND);
  const shown = lines.slice(first, first + Math.ceil(height / lineHeight) + 2 * BEYOND);
  const active = lines[current];
  return (
    <div
      ref={box}
      id="grid"
      class="grid"
      role={wanted.isTree ? "treegrid" : "grid"}
      tabIndex={0}
      aria-label={t("Exchanges")}
      aria-rowcount={lines.length + 1}
      aria-colcount={6}
      aria-activedescendant={active && shown.includes(active) ? `line-${current}` : undefined}
      onScroll={(event) => setTop(event.currentTarget.scrollTop)}
      onKeyDown={onKeyDown}
    >
      <div class="line titles" role="row" aria-rowindex={1}>
        <span role="columnheader">{t("ID")}</span>
        <span role="columnheader">{t("What")}</span>
        <span role="columnheader">{t("Status")}</span>
        <span role="columnheader">{t("Time")}</span>
        <span role="columnheader">{t("Size")}</span>
        <span role="columnheader" class="axis" aria-label={t("Time line")}>
          <Ticks span={span} />
        </span>
      </div>
      <div class="space" role="presentation" style={{ height: `${first * lineHeight}px` }} />
      {shown.map((line, index) => {
        const number = first + index;
        const { row, head } = line;
        const common = {
          id: `line-${number}`,
          role: "row" as const,
          "aria-rowindex": number + 2,
          onClick: () => {
            setCurrent(number);
            open(line);
          },
        };
        if (row) {
          return (
            <div
              key={nameOf(line)}
              {...common}
              {...(wanted.isTree ? { "aria-level": 2 } : {})}
              class={`line${number === current ? " current" : ""}${marked.has(row.key) ? " marked" : ""}`}
              aria-selected={row.key === chosen}
            >
              <span role="gridcell" class="id">
                #{row.key}
              </span>
              <span role="gridcell" class="what" title={row.url}>
                {row.what}
              </span>
              <Status row={row} />
              <span role="gridcell" class="number">
                {duration(row.total_us)}
              </span>
              <span role="gridcell" class="number">
                {row.bytes ? size(row.bytes) : ""}
              </span>
              <span role="gridcell" class="axis" aria-label={`from ${duration(row.start_us)} to ${duration(row.end_us)}`}>
                <Bar row={row} span={span} />
              </span>
            </div>
          );
        }
        const isClosed = wanted.closed.has(head.name);
        const left = Math.max(0, place(span, head.start_us));
        const width = Math.min(100, place(span, head.end_us)) - left;
        return (
          <div
            key={nameOf(line)}
            {...common}
            aria-level={1}
            class={`line head${number === current ? " current" : ""}`}
            aria-expanded={!isClosed}
          >
            <span role="gridcell" class="id">
              {isClosed ? "▸" : "▾"}
            </span>
            <span role="gridcell" class="what">
              {head.name}
            </span>
            <span role="gridcell">{head.errors ? `${head.errors} !` : ""}</span>
            <span role="gridcell" class="number">
              {duration(head.busy_us)}
            </span>
            <span role="gridcell" class="number">
              {head.rows.length} req
            </span>
            <span role="gridcell" class="axis">
              {width > 0 && <i class="range" style={{ left: `${left}%`, width: `${width}%` }} />}
            </span>
          </div>
        );
      })}
      <div
        class="space"
        role="presentation"
        style={{ height: `${Math.max(0, lines.length - first - shown.length) * lineHeight}px` }}
      />
    </div>
  );
}

/** Steps are chosen for five to twelve. */
const MOST_TICKS = 13;

/** Times on the axis, at round steps. */
export function Ticks({ span }: { span: Span }) {
  const all = span.to - span.from;
  const wanted = all / 5;
  const power = 10 ** Math.floor(Math.log10(Math.max(1, wanted)));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= wanted) ?? all;
  const first = Math.ceil(span.from / step);
  const number = Math.min(MOST_TICKS, Math.floor(span.to / step) - first + 1);
  const ticks = Array.from({ length: Math.max(0, number) }, (_, index) => (first + index) * step);
  return (
    <>
      {ticks.map((at) => (
        <span key={at} class="tick" style={{ left: `${place(span, at)}%` }}>
          {at === 0 ? "0 s" : duration(at)}
        </span>
      ))}
    </>
  );
}

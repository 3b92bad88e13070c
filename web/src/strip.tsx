// How many requests were in flight over the time; dragging shows a part of it.

import { useMemo, useRef, useState } from "preact/hooks";
import { type Span, place } from "./bar";
import type { Row } from "./data";
import { inFlight, mostInFlight } from "./lines";
import { t } from "./language";
import { duration } from "./words";

/** The height of the drawing, in its own units. */
const HIGH = 40;
/** And its width: parts of the time, each as high as the most that were in flight. */
const PARTS = 1000;

export function Strip(wanted: {
  rows: Row[];
  span: Span;
  processors: number | null;
  zoom: (to: [number, number] | null) => void;
}) {
  const { span, processors } = wanted;
  const steps = useMemo(() => inFlight(wanted.rows), [wanted.rows]);
  const most = useMemo(() => steps.reduce((most, [, number]) => Math.max(most, number), 1), [steps]);
  const high = Math.max(most, processors ?? 0);
  const y = (number: number) => HIGH - (number * (HIGH - 2)) / high;
  const box = useRef<SVGSVGElement>(null);
  const [drag, setDrag] = useState<[number, number] | null>(null);
  const at = (event: PointerEvent) => {
    const edge = box.current?.getBoundingClientRect();
    if (!edge) return span.from;
    const part = Math.min(1, Math.max(0, (event.clientX - edge.left) / edge.width));
    return span.from + part * (span.to - span.from);
  };
  const x = (us: number) => (place(span, us) * PARTS) / 100;
  const path = useMemo(() => {
    const parts = mostInFlight(steps, span.from, span.to, PARTS).map((number) => y(number).toFixed(1));
    return `M0 ${HIGH}${parts.map((at, part) => `L${part} ${at}L${part + 1} ${at}`).join("")}L${PARTS} ${HIGH}Z`;
  }, [steps, span.from, span.to, high]);
  const bound = processors === null ? "" : `; ${t("GOMAXPROCS is {0}", processors)}`;
  const text = t("In flight: {0} at most", most) + bound;
  return (
    <figure class="strip">
      <figcaption>
        {text}
      </figcaption>
      <svg
        ref={box}
        viewBox={`0 0 ${PARTS} ${HIGH}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`${text} (${duration(span.to - span.from)})`}
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          setDrag([at(event), at(event)]);
        }}
        onPointerMove={(event) => drag && setDrag([drag[0], at(event)])}
        onPointerUp={() => {
          if (drag) {
            const [from, to] = [Math.min(...drag), Math.max(...drag)];
            if (to - from > (span.to - span.from) / 200) wanted.zoom([from, to]);
          }
          setDrag(null);
        }}
        onDblClick={() => wanted.zoom(null)}
      >
        <path class="area" d={path} />
        {processors !== null && processors <= high && (
          <line class="bound" x1="0" x2={PARTS} y1={y(processors)} y2={y(processors)} />
        )}
        {drag && <rect class="drag" x={x(Math.min(...drag))} width={Math.abs(x(drag[1]) - x(drag[0]))} y="0" height={HIGH} />}
      </svg>
    </figure>
  );
}

// How many requests were in flight over the time; dragging shows a part of it.

import { useMemo, useRef, useState } from "preact/hooks";
import { type Span, place } from "./bar";
import type { Row } from "./data";
import { inFlight } from "./lines";
import { duration } from "./words";

/** The height of the drawing, in its own units. */
const HIGH = 40;

export function Strip(wanted: {
  rows: Row[];
  span: Span;
  processors: number | null;
  zoom: (to: [number, number] | null) => void;
}) {
  const { span, processors } = wanted;
  const steps = useMemo(() => inFlight(wanted.rows), [wanted.rows]);
  const most = Math.max(1, ...steps.map(([, number]) => number));
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
  const x = (us: number) => place(span, us) * 10;
  let path = `M0 ${HIGH}`;
  let before = 0;
  for (const [us, number] of steps) {
    if (us >= span.from && us <= span.to) {
      path += `L${x(us).toFixed(1)} ${y(before).toFixed(1)}L${x(us).toFixed(1)} ${y(number).toFixed(1)}`;
    } else if (us < span.from) {
      path = `M0 ${HIGH}L0 ${y(number).toFixed(1)}`;
    }
    before = us <= span.to ? number : before;
  }
  path += `L1000 ${y(before).toFixed(1)}L1000 ${HIGH}Z`;
  const bound = processors === null ? "" : `; GOMAXPROCS is ${processors}`;
  return (
    <figure class="strip">
      <figcaption>
        In flight: {most} at most{bound}
      </figcaption>
      <svg
        ref={box}
        viewBox={`0 0 1000 ${HIGH}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`Requests in flight over ${duration(span.to - span.from)}: ${most} at most${bound}`}
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
          <line class="bound" x1="0" x2="1000" y1={y(processors)} y2={y(processors)} />
        )}
        {drag && <rect class="drag" x={x(Math.min(...drag))} width={Math.abs(x(drag[1]) - x(drag[0]))} y="0" height={HIGH} />}
      </svg>
    </figure>
  );
}

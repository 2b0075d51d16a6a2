// Pointer, wheel and keys of the map: lasso, move, pinch, zoom, hover and open.

import { thinned } from "./geometry.js";
import { MOST_CORNERS } from "./state.js";

const CLICK = 4; // CSS pixels that a click may wander
const STEP = 60; // of an arrow key

// `on`: {hover(point, event), lasso(polygon or null), open(point), area(box)}; returns {mode} to set.
export function listenToMap(map, canvas, on) {
  const pointers = new Map();
  const input = { mode: "lasso" };
  let drag = null; // {start: [x, y], moving, far}

  const place = (event) => [event.offsetX, event.offsetY];

  function start(event) {
    if (event.button > 1) return;
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, place(event));
    map.path = null;
    const moving = input.mode === "pan" || event.shiftKey || event.button === 1;
    drag = pointers.size === 1 ? { start: place(event), moving, far: false } : null;
    on.hover(-1);
  }

  function move(event) {
    const before = pointers.get(event.pointerId);
    if (!before) {
      if (event.pointerType !== "touch") on.hover(map.at(...place(event)), event);
      return;
    }
    const now = place(event);
    if (pointers.size === 2) pinch(event.pointerId, before, now);
    pointers.set(event.pointerId, now);
    if (!drag) return;
    drag.far ||= Math.hypot(now[0] - drag.start[0], now[1] - drag.start[1]) > CLICK;
    if (!drag.far) return;
    if (drag.moving) {
      map.panBy(now[0] - before[0], now[1] - before[1]);
    } else {
      map.path ??= [map.toMap(...drag.start)];
      map.path.push(map.toMap(...now));
      map.paintOverlay();
    }
  }

  function pinch(id, before, now) {
    const [other] = [...pointers].filter(([one]) => one !== id).map(([, at]) => at);
    const wide = (a) => Math.hypot(a[0] - other[0], a[1] - other[1]) || 1;
    map.zoomBy(wide(now) / wide(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    map.panBy((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
  }

  function end(event) {
    if (!pointers.delete(event.pointerId) || !drag) return;
    const { far, moving } = drag;
    drag = null;
    const { path } = map;
    map.path = null;
    if (event.type === "pointercancel") return map.paintOverlay();
    if (!far) {
      const point = map.at(...place(event), event.pointerType === "touch" ? 18 : 9);
      if (point >= 0) on.open(point);
      return undefined;
    }
    if (moving) return undefined;
    let step = (3 * map.ratio) / map.frame().scale;
    let polygon = thinned(path, step);
    while (polygon.length > MOST_CORNERS) polygon = thinned(polygon, (step *= 1.5));
    map.paintOverlay();
    if (polygon.length >= 3) on.lasso(polygon);
    return undefined;
  }

  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const acts = {
      ArrowLeft: () => map.panBy(STEP, 0),
      ArrowRight: () => map.panBy(-STEP, 0),
      ArrowUp: () => map.panBy(0, STEP),
      ArrowDown: () => map.panBy(0, -STEP),
      "+": () => map.zoomBy(1.4),
      "=": () => map.zoomBy(1.4),
      "-": () => map.zoomBy(1 / 1.4),
      0: () => map.moveTo(null),
      Enter: () => {
        const [x0, x1, y0, y1] = map.visible();
        on.lasso([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]);
      },
      Escape: () => on.lasso(null),
    };
    if (!acts[event.key]) return;
    event.preventDefault();
    acts[event.key]();
  }

  canvas.addEventListener("pointerdown", start);
  canvas.addEventListener("pointermove", move);
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
  canvas.addEventListener("pointerleave", () => on.hover(-1));
  canvas.addEventListener("keydown", key);
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    map.zoomBy(Math.exp(-event.deltaY / (event.ctrlKey ? 120 : 420)), ...place(event));
  }, { passive: false });
  return input;
}

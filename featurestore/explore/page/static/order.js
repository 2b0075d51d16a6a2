// In which order the wall shows the selection.

import { byId, fillSelect } from "./dom.js";

export function fillOrders(app) {
  const { meta, state } = app;
  const orders = [["", "as found"]];
  for (const { name, kind } of meta.columns) {
    if (kind !== "number" || name === "ImgId") continue;
    orders.push([`-column:${name}`, `${name} ↓`], [`column:${name}`, `${name} ↑`]);
  }
  if (meta.label) orders.push([`column:${meta.label}`, meta.label]);
  if (app.has("wrong")) orders.push(["-wrong", "most heads wrong"]);
  fillSelect(byId("order"), orders, state.get("order"));
}

// `order` (indices of images) by a column, `-` in front of its key for the largest first; what has no value is last.
export async function sorted(app, order, key) {
  const sign = key.startsWith("-") ? -1 : 1;
  const column = await app.column(key.replace(/^-/, ""));
  const values = column.kind === "number" ? column.values : column.codes;
  const missing = (index) => (column.kind === "number" ? Number.isNaN(values[index]) : values[index] < 0);
  return Int32Array.from(order).sort((a, b) => missing(a) - missing(b)
    || (missing(a) ? 0 : sign * (values[a] - values[b])) || a - b);
}

// A table that sorts by a click on a heading: once, the other way round, and back to the order it came in.

import { el, figure } from "./dom.js";

// `columns` [{key, heading, text: row -> string (optional), words: bool}]; rows are objects; returns an element.
export function sortedTable(columns, rows, { caption = "", mark = () => "" } = {}) {
  const body = el("tbody");
  const heads = columns.map((column) => {
    const head = el("th", { scope: "col", className: column.words ? "" : "number" });
    head.append(el("button", { type: "button", onclick: () => sort(column, head) }, column.heading));
    return head;
  });

  function fill(ordered) {
    body.replaceChildren(...ordered.map((row) => el("tr", { className: mark(row) }, columns.map((column, place) => {
      const text = column.text ? column.text(row) : figure(row[column.key]);
      return place
        ? el("td", { className: column.words ? "" : "number" }, text)
        : el("th", { scope: "row" }, text);
    }))));
  }

  function sort(column, head) {
    const first = column.words ? "ascending" : "descending";
    const second = column.words ? "descending" : "ascending";
    const before = head.getAttribute("aria-sort");
    const now = before === first ? second : before === second ? null : first;
    for (const one of heads) one.removeAttribute("aria-sort");
    if (!now) return fill(rows);
    head.setAttribute("aria-sort", now);
    const sign = now === "ascending" ? 1 : -1;
    return fill([...rows].sort((a, b) => compared(a[column.key], b[column.key], sign)));
  }

  fill(rows);
  return el("div", { className: "scroller", tabIndex: 0, role: "region", "aria-label": caption || "Table" },
    el("table", { className: "sorted" }, el("thead", {}, el("tr", {}, heads)), body));
}

// What is missing comes last in both directions; a range is compared by its first figure.
function compared(a, b, sign) {
  const [left, right] = [a, b].map((one) => (Array.isArray(one) ? one[0] : one) ?? null);
  if (left === null || right === null) return (left === null) - (right === null);
  return sign * (typeof left === "number" && typeof right === "number"
    ? left - right
    : String(left).localeCompare(String(right), "en"));
}

// The filters: what values the columns have, how many of them are selected, and a click that narrows to one.
// The counts are made here from the columns, so that a lasso narrows them as the WHERE does.

import { codeOfOthers } from "./columns.js";
import { button, count, el, figure, valueText } from "./dom.js";
import { sourceText } from "./selection.js";
import { facetsText, parseFacets } from "./state.js";

const BINS = 12;
const OPEN = 3; // so many facets are open at first

// The label, columns with few values, and numbers; those with nearly a value of its own for each image say nothing.
export function facetColumns(meta) {
  const label = meta.columns.filter(({ name, distinct }) => name === meta.label && distinct);
  return [...label, ...meta.columns.filter(({ name, kind, distinct }) => name !== "ImgId" && name !== meta.label
    && (kind === "number" || kind === "time"
      ? distinct > 1
      : distinct > 0 && distinct < meta.count && (distinct <= 12 || distinct <= meta.count / 2)))];
}

export class Facets {
  constructor(panel, app) {
    this.panel = panel;
    this.app = app;
    this.parts = [];
  }

  build() {
    const columns = facetColumns(this.app.meta);
    const chosen = parseFacets(this.app.state.get("facets"));
    this.parts = columns.map(({ name, kind }, place) => {
      const body = el("div", { className: "facet" });
      const part = { name, kind, body };
      part.details = el("details", {
        open: chosen.has(name) || place < OPEN, ontoggle: () => this.fill(part),
      }, el("summary", {}, name), body);
      return part;
    });
    this.panel.replaceChildren(
      el("p", { className: "hint" }, "Choose values to narrow the map, the images and these counts."),
      this.saved(),
      ...this.parts.map((part) => part.details),
    );
    if (!columns.length) this.panel.append(el("p", { className: "empty" }, "No column has values to filter by."));
  }

  // Selections and views of the store, each a click away.
  saved() {
    const { selections = [], views = [] } = this.app.meta;
    const names = [...selections.map(({ name }) => ["saved", name]),
      ...views.filter((view) => !selections.some(({ name }) => name === view)).map((view) => ["view", view])];
    if (!names.length) return "";
    return el("details", {}, el("summary", {}, "Saved selections and views"), el("div", { className: "facet saved" },
      names.map(([kind, name]) => button(name, () => this.app.state.change({ source: sourceText(kind, name) })))));
  }

  update() {
    if (this.panel.hidden) return;
    if (!this.parts.length) this.build();
    for (const part of this.parts) this.fill(part);
  }

  async fill(part) {
    if (!part.details.open) return;
    let column;
    try {
      column = await this.app.column(`column:${part.name}`);
    } catch (problem) {
      part.body.replaceChildren(el("p", { className: "problem" }, problem.message));
      return;
    }
    const facet = parseFacets(this.app.state.get("facets")).get(part.name);
    const focused = document.activeElement?.dataset.level;
    const within = part.body.contains(document.activeElement);
    part.body.replaceChildren(...(column.kind === "number"
      ? this.histogram(part, column, facet)
      : this.levels(part, column, facet)));
    if (within && focused) {
      [...part.body.querySelectorAll("[data-level]")].find((one) => one.dataset.level === focused)?.focus();
    }
  }

  set(name, facet) {
    const facets = parseFacets(this.app.state.get("facets"));
    if (facet) facets.set(name, facet);
    else facets.delete(name);
    this.app.state.change({ facets: facetsText(facets) });
  }

  // Add a level to a facet or take it away; the legend of the map does the same.
  toggle(name, level) {
    const before = parseFacets(this.app.state.get("facets")).get(name)?.levels ?? [];
    const after = before.includes(level) ? before.filter((one) => one !== level) : [...before, level];
    this.set(name, after.length ? { levels: after } : null);
  }

  levels({ name, kind }, { levels, codes }, facet) {
    const other = codeOfOthers(levels);
    const size = levels.length;
    const [all, selected] = [new Int32Array(size + 1), new Int32Array(size + 1)];
    const { mask } = this.app.selection;
    for (let i = 0; i < codes.length; i++) {
      const at = codes[i] < 0 ? size : codes[i];
      all[at]++;
      if (!mask || mask[i]) selected[at]++;
    }
    const most = Math.max(1, ...all);
    const note = kind === "list"
      ? [el("p", { className: "hint" }, "Counted by the first value of each list; a filter takes any of them.")]
      : [];
    const lines = levels.map((text, code) => [code === other ? undefined : text, text, code]);
    return [...note, ...[...lines, [null, "none", size]].filter(([, , at]) => all[at])
      .map(([level, text, at]) => {
        const bar = el("span", { className: "bar", "aria-hidden": "true" }, el("i", { className: "all" }), el("i"));
        bar.children[0].style.width = `${(100 * all[at]) / most}%`;
        bar.children[1].style.width = `${(100 * selected[at]) / most}%`;
        const line = [el("span", { className: "name" }, text), bar,
          el("span", { className: "number" }, count(selected[at]))];
        if (level === undefined) return el("div", { className: "level", title: `others: ${count(all[at])}` }, line);
        return el("button", {
          type: "button", className: "level", "aria-pressed": String(Boolean(facet?.levels?.includes(level))),
          "data-level": String(at), "aria-label": `${text}: ${selected[at]} of ${all[at]}`,
          title: `${text}: ${count(selected[at])} of ${count(all[at])}`, onclick: () => this.toggle(name, level),
        }, line);
      })];
  }

  histogram({ name, kind }, { values, days }, facet) {
    let [from, to] = [Infinity, -Infinity];
    for (const value of values) {
      if (value < from) from = value;
      if (value > to) to = value;
    }
    if (from > to) return [el("p", { className: "hint" }, "no figures")];
    const wide = (to - from) / BINS || 1;
    const [all, selected] = [new Int32Array(BINS), new Int32Array(BINS)];
    const { mask } = this.app.selection;
    for (let i = 0; i < values.length; i++) {
      if (Number.isNaN(values[i])) continue;
      const bin = Math.min(BINS - 1, Math.floor((values[i] - from) / wide));
      all[bin]++;
      if (!mask || mask[i]) selected[bin]++;
    }
    const most = Math.max(...all);
    const round = (value) => Number(value.toPrecision(6));
    const bars = Array.from(all, (total, bin) => {
      const range = [round(from + bin * wide), round(from + (bin + 1) * wide)];
      const [low, high] = range.map((value) => valueText(value, days));
      const text = `${low} to ${high}: ${count(selected[bin])} of ${count(total)}`;
      const one = el("button", {
        type: "button", className: "bin", title: text, "aria-label": text, "data-level": String(bin),
        disabled: !total, onclick: () => this.set(name, { range }),
      }, el("i", { className: "all" }), el("i"));
      one.children[0].style.height = `${(100 * total) / most}%`;
      one.children[1].style.height = `${(100 * selected[bin]) / most}%`;
      return one;
    });
    const parts = [el("div", { className: "bins" }, bars)];
    if (kind !== "number") {
      parts.push(el("div", { className: "range hint" }, `${valueText(from, days)} to ${valueText(to, days)}`,
        facet ? button("All", () => this.set(name, null), { className: "quiet" }) : null));
      return parts;
    }
    const box = (place, text, value) => el("label", {}, text, el("input", {
      type: "number", step: "any", placeholder: figure(value), value: facet?.range?.[place] ?? "",
      onchange: (event) => {
        const range = [...(facet?.range ?? [null, null])];
        range[place] = event.target.value === "" ? null : Number(event.target.value);
        this.set(name, range.some((one) => one !== null) ? { range } : null);
      },
    }));
    parts.push(el("div", { className: "range" }, box(0, "from", from), box(1, "to", to),
      facet ? button("All", () => this.set(name, null), { className: "quiet" }) : null));
    return parts;
  }
}

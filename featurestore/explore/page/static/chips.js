// The filters in force, each with a button that takes it away.

import { button, byId, el } from "./dom.js";
import { sourceWords } from "./selection.js";
import { facetText } from "./sql.js";
import { facetsText, parseFacets } from "./state.js";

export function showChips(state, kinds) {
  const chip = (text, patch) => el("span", { className: "chip" }, el("span", {}, text),
    button("×", () => state.change(patch), { "aria-label": `Remove the filter ${text}` }));
  const facets = parseFacets(state.get("facets"));
  const chips = [
    state.get("source") && chip(sourceWords(state.get("source")), { source: "" }),
    state.get("where") && chip(`WHERE ${state.get("where")}`, { where: "" }),
    ...[...facets].map(([column, facet]) => {
      const rest = new Map(facets);
      rest.delete(column);
      return chip(facetText(column, facet, kinds.get(column)), { facets: facetsText(rest) });
    }),
    state.get("lasso") && chip("Lasso", { lasso: "" }),
  ].filter(Boolean);
  byId("chips").replaceChildren(...chips);
  byId("chips").hidden = !chips.length;
}

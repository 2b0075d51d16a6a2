// From a column to colours: one byte for each image and the palette that it points into, for light and dark pages.

import { codeOfOthers } from "./columns.js";

// Okabe and Ito's colours, distinguishable with colour-blind eyes; the dark set is lightened to keep its contrast.
const LEVELS = {
  light: ["#0072b2", "#d55e00", "#009e73", "#b6579a", "#56a5dc", "#d99400", "#7c5ce0", "#8a6d3b", "#2f4b7c", "#a05195",
    "#4f7942", "#c0392b"],
  dark: ["#4ba3e3", "#f2813a", "#2fc597", "#e08cc4", "#8accf5", "#f5bd4f", "#a892f5", "#c2a878", "#8ea6d6", "#d08bc4",
    "#98c088", "#f08a80"],
};
const NONE = { light: "#a3abb3", dark: "#5b646e" };
const DIM = { light: "#c9ced4", dark: "#3d444c" };
// Viridis, nine steps; on a dark page it begins lighter, so that low values are seen.
const RAMP = {
  light: ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#e3d51f"],
  dark: ["#6b4fa0", "#5d6fb8", "#4488b8", "#32a0b0", "#2fb5a0", "#47c98a", "#7bd96b", "#b8e14a", "#fde725"],
};

export const scheme = () => (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
export const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
export const dim = () => rgb(DIM[scheme()]);

// The key of one colour for all points, and that colour.
export const PLAIN = "plain";

export function plain(length) {
  return { codes: new Uint8Array(length), palette: [LEVELS[scheme()][0]], legend: [] };
}

// `column` of `unpackColumn` -> {codes: Uint8Array, palette: [hex], legend}; legend: entries or {ramp, from, to}.
export function scale(column) {
  return column.kind === "number" ? numbers(column) : levels(column);
}

function levels({ levels: names, codes }) {
  const colours = LEVELS[scheme()];
  const other = codeOfOthers(names);
  const at = (code) => (code < 0 || code === other ? colours.length : code % colours.length);
  const legend = names.map((name, code) => ({
    name, level: code === other ? undefined : name, colour: [...colours, NONE[scheme()]][at(code)],
  }));
  if (codes.includes(-1)) legend.push({ name: "none", level: null, colour: NONE[scheme()] });
  return { codes: Uint8Array.from(codes, at), palette: [...colours, NONE[scheme()]], legend };
}

function numbers({ values, days }) {
  const sorted = values.filter((value) => !Number.isNaN(value)).sort();
  const steps = RAMP[scheme()];
  const palette = [...steps, NONE[scheme()]];
  if (!sorted.length) return { codes: new Uint8Array(values.length).fill(steps.length), palette, legend: [] };
  // From the 2nd to the 98th percentile: one extreme value would else give all others one colour.
  const [from, to] = [0.02, 0.98].map((share) => sorted[Math.floor(share * (sorted.length - 1))]);
  const wide = to - from || 1;
  const codes = Uint8Array.from(values, (value) => (Number.isNaN(value)
    ? steps.length
    : Math.max(0, Math.min(steps.length - 1, Math.round(((value - from) / wide) * (steps.length - 1))))));
  return { codes, palette, legend: { ramp: steps, from, to, days } };
}

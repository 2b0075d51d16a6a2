// What images are coloured, sorted and counted by: columns of the store, and what the bench knows of each image.

import { Refused, decode, getJson } from "./api.js";

// `key` is column:NAME, wrong, or predicted:BACKBONE/HEAD.
export async function readColumn(app, key) {
  const [kind] = key.split(":", 1);
  const name = key.slice(kind.length + 1);
  const run = kind === "column" ? null : await app.run();
  const parameters = new Map([["column", { name }], ["wrong", { run }], ["predicted", { run, row: name }]]);
  if (!parameters.has(kind)) throw new Error(`the address names a colour that this page does not know: ${key}`);
  const column = unpackColumn(await getJson(kind, parameters.get(kind)), app.ids.length);
  if (kind !== "predicted" || !app.meta.label) return column;
  return inOrderOf(await app.column(`column:${app.meta.label}`), column);
}

// A column as the page uses it: codes (Int32Array, -1 none) with levels, or values (Float32Array, NaN none), which
// may be days since 1970.
function unpackColumn(answer, length) {
  const column = answer.kind === "number"
    ? { kind: "number", values: decode(answer.values, Float32Array), days: Boolean(answer.unit) }
    : { kind: "levels", levels: answer.levels, codes: Int32Array.from(decode(answer.codes, Int16Array)) };
  if ((column.values ?? column.codes).length === length) return column;
  throw new Refused("The store has other images now: reload the page.", 0);
}

// The same column with the levels of `reference` first, so that a class has one colour whoever names it.
function inOrderOf(reference, column) {
  if (reference.kind !== "levels" || codeOfOthers(column.levels) >= 0) return column;
  const levels = [...new Set([...reference.levels.filter((one) => column.levels.includes(one)), ...column.levels])];
  const places = column.levels.map((one) => levels.indexOf(one));
  return { ...column, levels, codes: column.codes.map((code) => (code < 0 ? code : places[code])) };
}

// The server names so many levels; where there are more, one more stands for all others.
const NAMED = 12;
export const codeOfOthers = (levels) => (levels.length > NAMED ? NAMED : -1);

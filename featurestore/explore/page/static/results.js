// The results of a run: which runs there are, and the comparison table of one.

import { getJson } from "./api.js";
import { button, el, fillSelect, filled } from "./dom.js";
import { benchDialog } from "./save.js";
import { sortedTable } from "./table.js";

// What a column is called; these come first and in this order, others after them under their own names.
const HEADINGS = {
  backbone: "backbone", head: "head", signs: " ", accuracy: "accuracy", interval: "95 %",
  balanced_accuracy: "balanced", f1_macro: "macro F1", roc_auc_ovr: "AUC", log_loss: "log loss", brier: "Brier",
  ece: "ECE", rank: "rank", cost_fit_seconds: "fit, s", predict_ms_p50: "predict, ms", difference: "difference",
};
const FIRST = Object.keys(HEADINGS);
const LEFT_OUT = new Set([
  "protocol", "published", "in_best_set", "reference", "synthetic", "cells", "failed", "failure", "row", "size",
  "splits", "n_train", "n_test", "depends_on_batch", "fit_seconds", "predict_ms", "accuracy_sd", "calibration_limit",
]);

export function runChooser(app, runs) {
  const select = el("select", { onchange: (event) => app.state.change({ run: event.target.value }) });
  fillSelect(select, runs.map((one) => [one.run, one.text]));
  app.run().then((run) => {
    select.value = run;
  });
  return el("label", {}, "Run ", select);
}

export function showResults(panel, app) {
  return filled(panel, (async () => {
    const runs = await app.runs();
    if (!runs.length) {
      const problems = (app.meta.problems).map((text) => el("p", { className: "problem" }, text));
      const first = app.meta.backbones.length ? "" : [el("code", {}, "featurestore embed"), ", then "];
      return [...problems, el("p", { className: "empty" }, "No head has been compared on this store yet: run ", first,
        el("code", {}, "benchmarks run --quick"), again(app) && ", or here", again(app))];
    }
    const run = await app.run();
    const tables = await getJson("results", { run });
    return [el("div", { className: "bar" }, runChooser(app, runs), again(app)), ...tables.flatMap(tableParts)];
  })());
}

const again = (app) => (app.meta.read_only || !app.has("bench") || !app.meta.backbones.length
  ? null
  : button("Run the quick bench…", () => benchDialog(app)));

function tableParts(table) {
  const rows = table.rows.map((row) => ({ ...row, signs: signs(row) }));
  const keys = [...new Set(rows.flatMap(Object.keys))].filter((key) => !LEFT_OUT.has(key) && shownKey(rows, key));
  const place = (key) => (FIRST.includes(key) ? FIRST.indexOf(key) : FIRST.length);
  keys.sort((a, b) => place(a) - place(b));
  const columns = keys.map((key) => ({
    key, heading: HEADINGS[key] ?? key.replaceAll("_", " "), words: rows.some((row) => typeof row[key] === "string"),
  }));
  const { title: caption, notes } = table;
  return [
    el("h3", { className: "caption" }, caption),
    sortedTable(columns, rows, { caption, mark: (row) => (row.in_best_set ? "best" : "") }),
    el("p", { className: "hint" }, "≈ not significantly different from the best; R the reference."),
    ...notes.map((note) => el("p", { className: "hint" }, note)),
  ];
}

// Figures, ranges and words; not records within records.
const shownKey = (rows, key) => rows.some((row) => row[key] !== null && row[key] !== undefined && row[key] !== "")
  && rows.every((row) => typeof row[key] !== "object" || row[key] === null
    || (Array.isArray(row[key]) && row[key].length === 2 && row[key].every((one) => typeof one === "number")));

function signs(row) {
  const failed = row.failed ? `${row.failed} of ${row.cells} failed` : "";
  return [row.in_best_set && "≈", row.reference && "R", failed, row.synthetic && "SYNTHETIC"].filter(Boolean).join(" ");
}

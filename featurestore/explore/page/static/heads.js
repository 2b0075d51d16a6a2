// Two heads side by side: the confusion matrix of each, whether they differ, and the images of a cell.

import { getJson } from "./api.js";
import { button, count, el, fillSelect, filled, images, percent } from "./dom.js";
import { runChooser } from "./results.js";
import { sourceText } from "./selection.js";
import { imageCard } from "./wall.js";

const STRIP = 60; // images of a cell that the strip shows; the wall shows all
const [MATRIX, PAIRS] = [25, 40]; // classes of a matrix that can be read, and pairs that stand for a larger one
const DEEPEST = 78; // per cent of the colour: on all cells the letters have a contrast of 4.5

export function showHeads(panel, app) {
  return filled(panel, (async () => {
    const runs = await app.runs();
    if (!runs.length) return [el("p", { className: "empty" }, "There is no run whose heads could be compared.")];
    const run = await app.run();
    const rows = await app.rowsOf(run);
    if (!rows.length) return [el("p", { className: "empty" }, "This run has no predictions.")];
    const a = rows.includes(app.state.get("headA")) ? app.state.get("headA") : rows[0];
    const b = rows.includes(app.state.get("headB")) ? app.state.get("headB") : rows[Math.min(1, rows.length - 1)];
    const choose = (name, value) => fillSelect(el("select", {
      onchange: (event) => app.state.change({ [name]: event.target.value }),
    }), rows.map((row) => [row, row]), value);
    const found = await getJson("heads", { run, a, b });
    const strip = el("div", { className: "cellimages" });
    const shown = found.classes.length > MATRIX ? pairs : matrix;
    return [
      el("div", { className: "bar" }, runChooser(app, runs), el("label", {}, "A ", choose("headA", a)),
        el("label", {}, "B ", choose("headB", b))),
      verdict(found),
      el("div", { className: "matrices" }, [found.a, found.b].map((one, place) => shown({
        app, run, strip, classes: found.classes, row: place ? b : a, name: place ? "B" : "A", confusion: one.confusion,
      }))),
      strip,
    ];
  })());
}

function verdict({ mcnemar: { only_a: onlyA, only_b: onlyB, p, text } }) {
  const parts = [
    `Right in A alone ${count(onlyA)}, in B alone ${count(onlyB)}`,
    typeof p === "number" ? `McNemar's test: ${p < 0.001 ? "p < 0.001" : `p = ${p.toFixed(3)}`}` : "",
    text,
  ];
  return el("p", { className: "verdict" }, `${parts.filter(Boolean).join("; ")}.`);
}

// A button that opens the images of one cell.
function cell(number, share, { truth, predicted, classes, ...rest }, text = count(number)) {
  const [from, to] = [classes[truth], classes[predicted]];
  const said = `${from} predicted as ${to}: ${count(number)}, ${percent(share)}`;
  return button(text, (event) => openCell(event.currentTarget, { ...rest, truth: from, predicted: to }), {
    disabled: !number, "aria-pressed": "false", "aria-label": said, title: said,
  });
}

const titled = (name, row, ...content) => el("div", { className: "matrix" },
  el("h3", {}, `${name} `, el("span", {}, row)), ...content);

const sumOf = (line) => line.reduce((sum, one) => sum + one, 0);

function matrix({ name, row, confusion, ...rest }) {
  const { classes } = rest;
  const column = (one) => el("th", { scope: "col", title: one }, el("span", {}, one));
  const head = el("tr", {}, el("td"), classes.map(column));
  const lines = confusion.map((line, truth) => {
    const sum = sumOf(line);
    return el("tr", {}, el("th", { scope: "row", title: classes[truth] }, classes[truth]),
      line.map((number, predicted) => {
        const share = sum ? number / sum : 0;
        const one = cell(number, share, { ...rest, row, truth, predicted });
        one.style.setProperty("--share", `${Math.round(DEEPEST * Math.sqrt(share))}%`);
        if (truth === predicted) one.classList.add("right");
        return el("td", {}, one);
      }));
  });
  return titled(name, row, el("p", { className: "hint" }, "True class ↓ predicted as →"),
    el("div", { className: "scroller" }, el("table", { className: classes.length > 6 ? "many" : "" }, head, lines)));
}

// Of many classes the most frequent confusions: a matrix of a thousand classes would be a million buttons.
function pairs({ name, row, confusion, ...rest }) {
  const found = [];
  confusion.forEach((line, truth) => line.forEach((number, predicted) => {
    if (number && truth !== predicted) found.push({ number, truth, predicted });
  }));
  found.sort((a, b) => b.number - a.number || a.truth - b.truth || a.predicted - b.predicted);
  const right = sumOf(confusion.map((line, truth) => line[truth]));
  const { classes } = rest;
  return titled(name, row,
    el("p", { className: "hint" }, `${images(right)} of ${count(sumOf(confusion.map(sumOf)))} right. `,
      found.length > PAIRS ? `The ${PAIRS} most frequent of ${count(found.length)} confusions:` : "The confusions:"),
    el("ul", { className: "pairs" }, found.slice(0, PAIRS).map(({ number, truth, predicted }) => {
      const share = number / sumOf(confusion[truth]);
      const text = [el("span", {}, `${classes[truth]} → ${classes[predicted]}`), el("b", {}, count(number))];
      return el("li", {}, cell(number, share, { ...rest, row, truth, predicted }, text));
    })));
}

async function openCell(pressed, { app, run, row, truth, predicted, strip }) {
  const source = sourceText("cell", run, row, truth, predicted);
  for (const one of pressed.closest(".matrices").querySelectorAll("[aria-pressed=true]")) one.ariaPressed = "false";
  pressed.ariaPressed = "true";
  await filled(strip, (async () => {
    const list = await getJson("cell", { run, row, truth, predicted });
    app.preview(list.map((one) => one.ImgId));
    return [
      el("div", { className: "bar" }, el("h3", {}, `${images(list.length)}: ${truth} predicted as ${predicted}`),
        button("Select them", () => app.state.change({ source, page: "", where: "", facets: "", lasso: "" }))),
      el("div", { className: "cards", role: "list" }, list.slice(0, STRIP).map((one) => imageCard(one.ImgId, {
        row: (id) => app.rows.get(id), note: percent(one.p), labelled: false,
        open: () => app.open(one.ImgId),
      }))),
      list.length > STRIP ? el("p", { className: "hint" }, `${count(list.length - STRIP)} more: select them.`) : "",
    ].filter(Boolean);
  })());
  strip.firstChild?.scrollIntoView({ block: "center" }); // between the matrix and the images
}

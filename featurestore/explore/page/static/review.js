// What a person should look at: surest errors, doubtful labels, duplicates, and the corrections made so far.

import { address, getJson } from "./api.js";
import { button, count, el, filled, images, percent } from "./dom.js";
import { correctButton, undo } from "./labels.js";
import { runChooser } from "./results.js";
import { sourceText } from "./selection.js";
import { imageCard } from "./wall.js";

const MOST = 120; // shown at once of each list
const LISTED = 500; // images of a group that an address can name

const PARTS = [
  ["errors", "Surest errors"], ["doubtful", "Doubtful labels"], ["duplicates", "Duplicates"],
  ["corrections", "Corrections"],
];

export function showReview(panel, app) {
  const parts = PARTS.filter(([name]) => name === "duplicates" || app.has(name));
  const chosen = parts.some(([name]) => name === app.state.get("review")) ? app.state.get("review") : parts[0][0];
  const body = el("div", { className: "reviewed" });
  panel.replaceChildren(el("div", { className: "switch", role: "group", "aria-label": "What to review" },
    parts.map(([name, text]) => button(text, () => app.state.change({ review: name }), {
      "aria-pressed": String(name === chosen),
    }))), body);
  const fill = { errors: ofRun, doubtful: ofRun, duplicates, corrections }[chosen];
  return filled(body, fill(app, chosen));
}

async function ofRun(app, name) {
  const runs = await app.runs();
  if (!runs.length) return [el("p", { className: "empty" }, "They come from the predictions of a run: there is none.")];
  const run = await app.run();
  const { images: list, total, note } = await getJson(name, { run });
  const words = name === "errors"
    ? "Images whose label the heads contradict with the most confidence."
    : "Labels that the predictions contradict, the most doubtful first. A hard image looks the same: "
      + "correct what is wrong.";
  return [
    el("div", { className: "bar" }, runChooser(app, runs)),
    el("p", { className: "hint" }, words, note ? ` ${note}` : ""),
    list.length ? "" : el("p", { className: "empty" }, "None was found."),
    el("div", { className: "cards wide", role: "list" }, list.slice(0, MOST).map((one) => doubt(app, one))),
    total > MOST ? el("p", { className: "hint" }, `${count(total - MOST)} more are not shown.`) : "",
  ].filter(Boolean);
}

function cardOf(app, id, labelled = true) {
  return imageCard(id, { row: (one) => app.rows.get(one), open: () => app.open(id), labelled });
}

// One image with its label, what was predicted instead, and a button that believes the prediction.
function doubt(app, one) {
  const { truth, predicted, column } = one;
  const card = cardOf(app, one.ImgId, false);
  const sure = `, ${percent(one.p)}`;
  card.append(el("p", { className: "doubt" }, el("s", {}, truth), " → ", el("b", {}, predicted), sure));
  if (app.editable().includes(column)) card.append(correctButton(app, one.ImgId, column, predicted));
  return card;
}

function selectButton(app, ids) {
  const words = `Select ${ids.length > LISTED ? `the first ${LISTED} of ` : ""}${images(ids.length)}`;
  const source = sourceText("ids", ids.slice(0, LISTED).join(","));
  const select = () => app.state.change({ source, page: "", where: "", facets: "", lasso: "" });
  return button(words, select, { className: "quiet" });
}

async function duplicates(app) {
  const groups = await getJson("duplicates");
  if (!groups.length) return [el("p", { className: "empty" }, "No duplicates were found.")];
  return [
    el("p", { className: "hint" }, groups.length === 1 ? "One group." : `${count(groups.length)} groups.`),
    ...groups.slice(0, MOST).map(({ ids, kind }) => el("div", { className: "group" },
      el("p", { className: "hint" }, kind),
      el("div", { className: "cards", role: "list" }, ids.slice(0, 12).map((id) => cardOf(app, id))),
      selectButton(app, ids))),
    groups.length > MOST ? el("p", { className: "hint" }, `${count(groups.length - MOST)} more are not shown.`) : "",
  ];
}

async function corrections(app) {
  const list = await getJson("corrections");
  const link = el("a", { href: address("api/corrections.csv"), download: "corrections.csv" }, "corrections.csv");
  if (!list.length) return [el("p", { className: "empty" }, "No label has been corrected.")];
  return [
    el("p", { className: "hint" }, `${count(list.length)} corrected. Download `, link, "."),
    el("div", { className: "cards wide", role: "list" }, list.slice(0, MOST).map((one) => {
      const card = cardOf(app, one.ImgId, false);
      card.append(el("p", { className: "doubt" }, `${one.column}: `, el("s", {}, one.from ?? "none"), " → ",
        el("b", {}, one.to ?? "none")));
      if (app.editable().length) {
        card.append(button("Undo", async () => {
          await undo(app, [one.ImgId], one.column);
          card.remove();
        }));
      }
      return card;
    })),
    list.length > MOST ? el("p", { className: "hint" }, `${count(list.length - MOST)} more are not shown.`) : "",
  ];
}

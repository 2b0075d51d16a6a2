// The dialog of one image: large, its row, its label, its neighbours in each backbone side by side, what every head
// predicted of it, and where its vectors came from.

import { getJson } from "./api.js";
import { button, byId, el, filled, percent, readable, valueText } from "./dom.js";
import { labelForm, undo } from "./labels.js";
import { sourceText } from "./selection.js";
import { imageCard } from "./wall.js";

export class Detail {
  constructor(app) {
    this.app = app;
    this.dialog = byId("detail");
    this.id = null;
    this.before = null; // what had the focus
    this.dialog.addEventListener("close", () => this.closed());
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close(); // beside the sheet
    });
    this.dialog.addEventListener("keydown", (event) => this.key(event));
  }

  // Follow the address: show image `id`, or close.
  follow(id) {
    if (id === this.id) return;
    if (id === null) {
      this.id = null;
      this.dialog.close();
      return;
    }
    if (!this.dialog.open) {
      this.before = document.activeElement;
      this.dialog.showModal();
    }
    this.show(id);
  }

  // Show the image anew: something of it has changed elsewhere. What is being typed is kept.
  again() {
    if (this.id !== null && !this.dialog.querySelector("form.label input")?.value) this.show(this.id);
  }

  closed() {
    this.id = null;
    this.dialog.replaceChildren();
    this.app.state.closeImage();
    const back = this.before?.isConnected ? this.before : byId("run").querySelector("[tabindex='0']");
    back?.focus();
  }

  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || event.target.closest("input, select, textarea")) return;
    event.preventDefault();
    this.step(step);
  }

  // The image before or after this one in the selection.
  step(by) {
    const { selection, state } = this.app;
    const place = selection.order.indexOf(selection.index(this.id));
    const next = selection.order[place + by];
    if (place >= 0 && next !== undefined) state.change({ image: String(selection.ids[next]) }, { replace: true });
  }

  show(id) {
    this.id = id;
    const picture = el("img", { className: "large", src: `large/${id}`, alt: "" });
    const title = el("h2", { id: "detail-title" }, `Image ${id}`);
    const [row, label, neighbours, predictions, lineage] = ["row", "label", "neighbours", "predictions", "lineage"]
      .map((name) => el("section", { className: name }));
    this.dialog.replaceChildren(
      el("div", { className: "detailbar" }, title,
        button("‹", () => this.step(-1), { "aria-label": "The image before", title: "←" }),
        button("›", () => this.step(1), { "aria-label": "The image after", title: "→" }),
        button("Close", () => this.dialog.close(), { autofocus: true })),
      el("div", { className: "sheet" },
        el("div", { className: "picture" }, picture),
        el("div", { className: "facts" }, label, row),
        neighbours, predictions, lineage),
    );
    picture.addEventListener("error", () => picture.replaceWith(el("p", { className: "problem" },
      "The image's file can't be read.")));
    this.dialog.scrollTop = 0;
    this.dialog.querySelector(".detailbar button:last-child").focus();
    this.fill(id, { title, row, label, neighbours, predictions, lineage, picture });
  }

  async fill(id, parts) {
    const answer = getJson("image", { id });
    const known = this.app.rows.get(id).catch(() => ({}));
    known.then((row) => {
      parts.title.textContent = readable(row.title || row.name || `Image ${id}`);
      parts.picture.alt = parts.title.textContent;
    });
    filled(parts.row, answer.then(({ row }) => rowParts(row)));
    filled(parts.label, answer.then(({ row, corrections }) => this.labelParts(id, row, corrections)));
    filled(parts.neighbours, answer.then(({ neighbours }) => this.neighbourParts(id, neighbours)));
    filled(parts.lineage, answer.then(({ lineage }) => lineageParts(lineage)));
    if (this.app.has("predictions")) filled(parts.predictions, this.predictionParts(id));
  }

  labelParts(id, row, corrections) {
    const again = () => {
      if (this.id === id) this.show(id);
    };
    const form = labelForm(this.app, [id], { row, done: again });
    const made = corrections.filter((one) => !one.undone);
    return [
      this.app.meta.label ? el("p", { className: "current" }, `${this.app.meta.label} `,
        el("b", {}, cellText(row[this.app.meta.label]) || "none")) : null,
      form,
      ...made.map((one) => el("p", { className: "corrected" },
        `${one.column} corrected from ${one.from ?? "none"} to ${one.to ?? "none"} `,
        !this.app.editable().length ? null : button("Undo", () => undo(this.app, [id], one.column).then(again), {
          className: "quiet",
        }))),
    ].filter(Boolean);
  }

  neighbourParts(id, found) {
    const byBackbone = Object.entries(found);
    const { app } = this;
    if (!byBackbone.length) return [el("h3", {}, "Neighbours"), el("p", { className: "hint" }, "No vector of it yet.")];
    const columns = byBackbone.map(([backbone, list]) => {
      const others = list.filter((one) => one.ImgId !== id);
      const strip = el("div", { className: "strip", role: "list" }, others.map((one) => imageCard(one.ImgId, {
        row: (other) => app.rows.get(other), note: one.score.toFixed(3),
        open: () => app.state.change({ image: String(one.ImgId) }, { replace: true }),
      })));
      const showAll = () => app.state.change({
        source: sourceText("similar", backbone, id), image: "", page: "", where: "", facets: "", lasso: "",
      });
      return el("div", { className: "backbone" }, el("h4", {}, backbone, button("Show all", showAll, {
        className: "quiet", "aria-label": `Show the images most similar by ${backbone}`,
      })), strip);
    });
    return [el("h3", {}, "Nearest neighbours"), el("div", { className: "sidebyside" }, columns)];
  }

  async predictionParts(id) {
    const run = await this.app.run();
    if (!run) return [];
    const list = await getJson("predictions", { run, id });
    if (!list.length) return [el("h3", {}, "Predictions"), el("p", { className: "hint" }, "Not in this run.")];
    const groups = new Map();
    for (const one of list) {
      groups.set(one.backbone, [...(groups.get(one.backbone) ?? []), one]);
    }
    return [
      el("h3", {}, `Predictions: ${list.filter(isRight).length} of ${list.length} right`),
      el("div", {}, [...groups].map(([backbone, some]) => el("div", {},
        el("h4", {}, backbone, ` ${some.filter(isRight).length}/${some.length}`),
        el("ul", {}, some.map((one) => el("li", { className: isRight(one) ? "right" : "wrong" },
          el("span", {}, one.head), el("b", {}, one.predicted),
          el("small", {}, percent(one.p)))))))),
    ];
  }
}

const isRight = (one) => one.predicted === one.truth;

function rowParts(row) {
  const shown = Object.entries(row).filter(([name, value]) => value !== null && value !== "" && name !== "embedding");
  return [el("dl", {}, shown.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, cellText(value))]))];
}

// ImgIds and years are names, not quantities: no separators in whole numbers.
const cellText = (value) => (Number.isInteger(value) ? String(value)
  : Array.isArray(value) ? value.map(String).join(", ") : valueText(value));

function lineageParts(lineage) {
  if (!lineage) return [];
  const { image = {}, embeddings = [] } = lineage;
  const facts = Object.entries(image).filter(([, value]) => value !== null && value !== "");
  return [el("details", {}, el("summary", {}, "Lineage"),
    el("dl", {}, facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, cellText(value))])),
    ...embeddings.map((one) => el("p", {}, el("b", {}, one.backbone), one.synthetic ? " SYNTHETIC" : "",
      ` · revision ${one.revision} · ${one.embed_dim ?? ""} dimensions · ${one.engine ?? ""}`,
      el("br"), el("small", {}, [one.input, one.at && `computed ${one.at.slice(0, 16).replace("T", " ")}`,
        one.current === false && "not the vector in use"].filter(Boolean).join(" · ")))))];
}

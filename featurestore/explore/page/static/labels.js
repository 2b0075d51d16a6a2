// A label is corrected where it is seen, for one image or several, and a correction is undone the same way.

import { getJson, post } from "./api.js";
import { button, el, images, readable, say } from "./dom.js";
import { askIn } from "./save.js";

const CHOICES = 200; // values that are offered; any other can be typed

// The values that a column has, most frequent first.
async function choices(column) {
  const { levels = [] } = await getJson("column", { name: column, levels: CHOICES });
  return levels.slice(0, CHOICES);
}

// A form that corrects `ids`; `done(sentence, column)` is called after it. Null where nothing may be corrected.
export function labelForm(app, ids, { row = {}, to = "", done }) {
  const columns = app.editable();
  if (!columns.length) return null;
  const problem = el("p", { className: "problem", role: "alert", hidden: true });
  const list = el("datalist", { id: `labels-${ids[0]}-${++formNumber}` });
  const column = el("select", { "aria-label": "Column" }, columns.map((name) => el("option", { value: name }, name)));
  column.value = columns.includes(app.meta.label) ? app.meta.label : columns[0];
  column.hidden = columns.length < 2;
  const value = el("input", {
    "aria-label": "Corrected label", placeholder: "corrected label", maxLength: 200, required: true, value: to,
    autocomplete: "off",
  });
  value.setAttribute("list", list.id);
  const offer = async () => {
    if (!to && ids.length === 1) value.placeholder = String(row[column.value] ?? "corrected label");
    list.replaceChildren(...(await choices(column.value)).map((level) => el("option", { value: level })));
  };
  column.addEventListener("change", () => offer().catch(fail));
  offer().catch(fail);

  function fail(error) {
    problem.textContent = readable(error.message);
    problem.hidden = false;
  }

  return el("form", {
    className: "label",
    onsubmit: (event) => {
      event.preventDefault();
      problem.hidden = true;
      correct(app, ids, column.value, value.value.trim()).then((sentence) => done(sentence, column.value), fail);
    },
  }, column, value, list,
  el("button", { type: "submit" }, ids.length > 1 ? `Correct ${images(ids.length)}` : "Correct"), problem);
}

let formNumber = 0;

export async function correct(app, ids, column, to) {
  const isList = app.selection.kinds.get(column) === "list";
  const { note } = await post("correct", { ids, column, to: isList ? to.split(",").map((one) => one.trim()) : to });
  await app.changed(ids);
  const sentence = `${column} of ${images(ids.length)} corrected to ${to}. ${note}`;
  say(sentence);
  return sentence;
}

export async function undo(app, ids, column) {
  await post("uncorrect", { ids, column });
  await app.changed(ids);
  const sentence = `The correction of ${column} of ${images(ids.length)} is undone`;
  say(sentence);
  return sentence;
}

// Correct the label of all images that are selected, and offer to undo it.
export function relabelDialog(app) {
  const ids = app.selection.selectedIds();
  askIn("Correct the label of the selection", labelForm(app, ids, {
    done: (sentence, column) => askIn("Corrected", el("p", { role: "status" }, sentence), undoButton(app, ids, column)),
  }));
}

// It undoes the corrections of several images at once, and then says so in its place.
function undoButton(app, ids, column) {
  const place = el("p", {});
  const tell = (text, properties) => place.replaceChildren(el("span", properties, text));
  place.append(button(`Undo for ${images(ids.length)}`, () => undo(app, ids, column).then(
    (sentence) => tell(sentence, { role: "status" }),
    (problem) => tell(problem.message, { className: "problem", role: "alert" }),
  )));
  return place;
}

// A button that makes one correction and then offers to undo it.
export function correctButton(app, id, column, to, text = `Correct to ${to}`) {
  const place = el("span", { className: "oneclick" });
  const fail = (problem) => {
    place.querySelector(".problem")?.remove();
    place.append(el("span", { className: "problem", role: "alert" }, problem.message));
  };
  const offer = () => place.replaceChildren(button(text, () => correct(app, [id], column, to).then(made, fail)));
  const made = () => place.replaceChildren(el("span", { className: "good" }, `corrected to ${to}`),
    button("Undo", () => undo(app, [id], column).then(offer, fail), { className: "quiet" }));
  offer();
  return place;
}

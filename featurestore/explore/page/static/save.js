// The loop: a selection is saved as a view, or as a file, and the quick bench runs on it at once.

import { getJson, post } from "./api.js";
import { button, byId, count, el, fillSelect, images } from "./dom.js";

const POLL = 1000; // milliseconds between two questions about a running bench

// The dialog of a question: a title, what is asked, and buttons.
export function askIn(title, ...content) {
  const dialog = byId("ask");
  dialog.replaceChildren(
    el("h2", { id: "ask-title" }, title), ...content,
    el("p", { className: "foot" }, button("Close", () => dialog.close(), { className: "quiet" })),
  );
  if (!dialog.open) dialog.showModal();
  return dialog;
}

export function saveDialog(app) {
  const { selection, state, meta } = app;
  const where = selection.onlyWhere(state) ? selection.where(state) : "";
  const name = el("input", {
    required: true, pattern: "[a-z_][a-z0-9_]*", maxLength: 60, autocomplete: "off", spellcheck: false,
    title: "small letters, digits and _, not beginning with a digit", placeholder: "dark_posters",
  });
  const result = el("div", { "aria-live": "polite" });
  const form = el("form", {
    className: "stack",
    onsubmit: async (event) => {
      event.preventDefault();
      const body = where ? { name: name.value, where } : { name: name.value, ids: selection.selectedIds() };
      result.replaceChildren(el("p", {}, "Saving …"));
      try {
        const saved = await post("selection", body);
        await app.reloadMeta();
        form.hidden = true;
        result.replaceChildren(...savedParts(app, saved));
      } catch (problem) {
        result.replaceChildren(el("p", { className: "problem", role: "alert" }, problem.message));
      }
    },
  },
  el("p", {}, where
    ? `A view of the condition, ${images(selection.size)} now: `
    : `${images(selection.size)}, kept as rows of the table selections, and a view of them.`,
  where ? el("code", {}, where) : null),
  el("label", {}, "Name ", name), el("p", {}, el("button", { type: "submit" }, "Save as view")));
  const link = fileLink(app);
  const dialog = askIn("Save the selection", meta.read_only
    ? el("p", {}, "This explorer was opened to read only: no view is saved.")
    : form, result, el("p", { className: "hint" }, "Or download ", link, "."));
  dialog.addEventListener("close", () => URL.revokeObjectURL(link.href), { once: true });
  if (!meta.read_only) name.focus();
}

function fileLink(app) {
  const text = `ImgId\n${app.selection.selectedIds().join("\n")}\n`;
  return el("a", { download: "selection.csv", href: URL.createObjectURL(new Blob([text], { type: "text/csv" })) },
    `selection.csv, the ${count(app.selection.size)} ImgIds`);
}

function savedParts(app, { name, saved, in_view: rows }) {
  const have = rows === 1 ? "has" : "have";
  const fewer = saved !== rows ? ` ${count(rows)} of them ${have} a label: the view holds those.` : "";
  const backbone = app.state.get("backbone");
  return [
    el("p", { className: "good" }, `Saved the view ${name}: ${images(saved)}.${fewer}`),
    backbone ? el("p", { className: "hint" }, "As files for others: ",
      el("code", {}, `featurestore export --view ${name} --backbone ${backbone} -o ${name}.parquet`)) : "",
    ...(app.has("bench") && app.meta.backbones.length ? [benchForm(app, name)] : []),
  ];
}

// The quick bench on any view: the labelled images, or a selection saved before.
export function benchDialog(app) {
  const views = ["labeled", ...app.meta.views];
  askIn("Run the quick bench", benchForm(app, fillSelect(el("select"), views.map((one) => [one, one]))));
}

// `view` is a name, or a select of names.
function benchForm(app, view) {
  const { meta } = app;
  const few = meta.columns.filter(({ kind, distinct }) => kind === "text" && distinct > 1 && distinct <= 50);
  const labels = [...new Set([meta.label, ...few.map((one) => one.name)])].filter(Boolean);
  const label = fillSelect(el("select"), labels.map((one) => [one, one]), meta.label);
  const backbone = fillSelect(el("select"), meta.backbones.map(({ name }) => [name, name]), app.state.get("backbone"));
  const progress = el("div", { "aria-live": "polite" });
  const start = el("button", { type: "submit" }, "Run");
  const run = async () => {
    start.disabled = true;
    try {
      await post("bench", { view: view.value ?? view, label: label.value, backbone: backbone.value });
      await follow(app, progress);
    } catch (problem) {
      progress.replaceChildren(el("p", { className: "problem", role: "alert" }, problem.message));
    }
    start.disabled = false;
  };
  return el("form", {
    className: "stack bench",
    onsubmit: (event) => {
      event.preventDefault();
      run();
    },
  },
  typeof view === "string" ? el("h3", {}, "Run the quick bench on it") : el("label", {}, "View ", view),
  el("div", { className: "row" }, el("label", {}, "Label ", label), el("label", {}, "Backbone ", backbone), start),
  el("p", { className: "hint" }, "Every head once, by 5-fold cross-validation; it goes on when this is closed."),
  progress);
}

async function follow(app, place) {
  for (;;) {
    const now = await getJson("bench");
    place.replaceChildren(el("p", {}, now.text));
    if (now.state !== "running") {
      if (now.error) throw new Error(now.error);
      await app.newRuns();
      place.append(el("p", {}, button("Show the results", () => {
        byId("ask").close();
        app.state.change({ page: "results", run: now.run ?? "" });
      })));
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL));
  }
}

// The page: it reads what the store is, builds the parts, and lets every change of the address reach those it concerns.

import { Rows, getBytes, getJson, remembered } from "./api.js";
import { showChips } from "./chips.js";
import { byId, count, images, later, readable, say, showError } from "./dom.js";
import { PLAIN } from "./colours.js";
import { readColumn } from "./columns.js";
import { Detail } from "./detail.js";
import { Facets } from "./facets.js";
import { showHeads } from "./heads.js";
import { relabelDialog } from "./labels.js";
import { MapSide } from "./mapside.js";
import { fillOrders, sorted } from "./order.js";
import { showResults } from "./results.js";
import { showReview } from "./review.js";
import { saveDialog } from "./save.js";
import { Selection, sourceText } from "./selection.js";
import { State, parsePolygon } from "./state.js";
import { listenToTabs } from "./tabs.js";
import { Wall } from "./wall.js";

const FILTERS = ["where", "facets", "lasso", "source"];
const AT_ONCE = 200_000; // images whose points and colours are asked for at once
const NO_FILTER = { where: "", facets: "", lasso: "", source: "" };

class Explorer {
  constructor(meta, ids) {
    Object.assign(this, { meta, ids });
    this.state = new State();
    this.rows = new Rows();
    this.selection = new Selection(ids, new Map(meta.columns.map(({ name, kind }) => [name, kind])));
    this.setDefaults();
    this.makeMemories();
    this.facets = new Facets(byId("page-filters"), this);
    this.mapside = new MapSide(this);
    this.detail = new Detail(this);
    this.wall = new Wall(byId("wall"), byId("run"), {
      row: (id) => this.rows.get(id),
      note: (id) => this.scoreOf(id),
      open: (index) => this.open(ids[index]),
      hover: (index) => (index < 0 ? this.mapside.map.hover(-1) : this.mapside.map.hoverRow(index)),
    });
    this.showPage = listenToTabs((page) => this.state.change({ page }));
  }

  setDefaults() {
    const { meta, state } = this;
    const names = meta.backbones.map((one) => one.name);
    if (!names.includes(state.get("backbone"))) state.values.backbone = "";
    const labelled = meta.columns.some(({ name, distinct }) => name === meta.label && distinct);
    state.setDefaults({ backbone: names[0] ?? "", colour: labelled ? `column:${meta.label}` : PLAIN });
  }

  // Answers that are kept: columns, runs and the rows of a run.
  makeMemories() {
    this.column = remembered((key) => readColumn(this, key));
    this.kept = remembered(async (name) => (this.has(name) ? getJson(name) : []));
    this.rowsOf = remembered(async (run) => rowNames(await getJson("results", { run })));
  }

  has(page) {
    return this.meta.pages.includes(page);
  }

  // The columns whose values may be corrected; none where nothing may be changed.
  editable() {
    return this.meta.read_only ? [] : this.meta.columns_editable;
  }

  runs() {
    return this.kept("runs");
  }

  async run() {
    const runs = await this.runs();
    const known = runs.map((one) => one.run);
    return known.includes(this.state.get("run")) ? this.state.get("run") : known[0] ?? null;
  }

  open(id) {
    this.state.change({ image: String(id) });
  }

  scoreOf(id) {
    const found = this.selection.scores.get(id);
    const score = found?.score ?? found?.p;
    return typeof score === "number" ? score.toFixed(3) : "";
  }

  // Mark some images on the map, without selecting them.
  preview(ids) {
    this.mapside.map.setMask(this.selection.maskOf(ids), ids.length);
  }

  // After a label was corrected: what is known of these images, without `ids` of all, is asked for again.
  async changed(ids) {
    if (ids) this.rows.forget(ids);
    else this.rows = new Rows();
    this.column.forget();
    this.selection.forget();
    await this.reloadMeta();
    await this.mapside.loadColours();
    await this.select();
  }

  async newRuns() {
    this.kept.forget();
    this.rowsOf.forget();
    await this.reloadMeta();
    await this.mapside.fillColours();
  }

  async reloadMeta() {
    this.meta = await getJson("meta");
    this.facets.parts = []; // made anew: there may be other views and columns
    this.showMeta();
  }

  showMeta() {
    const { store, state, synthetic } = this.meta;
    byId("facts").textContent = readable(`${store} · ${images(this.ids.length)}`);
    byId("facts").title = readable(`state ${state}`);
    byId("synthetic").hidden = !synthetic;
    byId("relabel").hidden = !this.editable().length;
    byId("words").hidden = !this.meta.backbones.some((one) => one.text);
    document.title = readable(`${store} · featurestore explore`);
    this.stateSeen = state;
  }

  // The store may have changed elsewhere: labels, runs and views are taken over, other images need the page anew.
  async lookForNews() {
    if (document.hidden) return;
    const { state } = await getJson("meta").catch(() => ({ state: this.stateSeen }));
    if (state === this.stateSeen) return;
    const ids = new Int32Array((await getBytes("ids")).bytes);
    const same = ids.length === this.ids.length && ids.every((id, index) => id === this.ids[index]);
    byId("moved").hidden = same;
    if (!same) return;
    await this.changed();
    await this.newRuns();
    this.showPart();
    this.detail.again();
  }

  async select() {
    const label = this.meta.label;
    byId("q").placeholder = label ? `${label} = 'a value'` : "ImgId < 1000";
    try {
      if (!(await this.selection.update(this.state))) return;
      showError(null);
    } catch (problem) {
      showError(problem);
      if (!document.documentElement.dataset.shown) this.showSelection(); // a damaged link: everything
      return;
    }
    const { sampledOf, asked } = this.mapside;
    const partly = sampledOf && parsePolygon(this.state.get("lasso"));
    document.documentElement.dataset.exact = String(!partly);
    this.showSelection(); // of a sampled map what its dots say, at once; then what is so
    if (!partly || !(await this.selection.askForLasso(this.state, asked))) return;
    document.documentElement.dataset.exact = "true";
    this.showSelection();
  }

  showSelection() {
    const { selection, state } = this;
    const filtered = FILTERS.some((name) => state.get(name));
    byId("count").textContent = count(selection.size);
    byId("clear").hidden = !filtered;
    byId("nothing").hidden = selection.size > 0;
    byId("wall").hidden = !selection.size;
    for (const name of ["relabel", "save"]) byId(name).disabled = !selection.size;
    document.body.classList.toggle("filtered", filtered);
    this.mapside.showSelection();
    showChips(this.state, selection.kinds);
    this.showWall();
    this.facets.update();
    say(`${images(selection.size)} selected`);
    document.documentElement.dataset.shown = String(selection.size);
  }

  async showWall() {
    const { selection, state } = this;
    const key = state.get("order");
    let { order } = selection;
    if (key) order = await sorted(this, order, key).catch(() => selection.order);
    if (key === state.get("order")) this.wall.show(this.ids, order);
  }

  showPart() {
    const page = this.showPage(this.state.get("page"));
    const panel = byId(`page-${page}`);
    document.body.dataset.page = page;
    this.mapside.showSelection(); // a cell of the page before may have marked its images
    if (page === "images") this.wall.layout();
    if (page === "filters") this.facets.update();
    if (page === "results") showResults(panel, this);
    if (page === "heads") showHeads(panel, this);
    if (page === "review") showReview(panel, this);
  }

  followImage() {
    const image = this.state.get("image");
    this.detail.follow(/^\d+$/.test(image) ? Number(image) : null);
  }

  // What each changed field of the state concerns.
  async follow(names) {
    const any = (...some) => some.some((name) => names.has(name));
    if (names.has("image")) this.followImage();
    if (names.has("where")) byId("q").value = this.state.get("where");
    if (any("backbone", "map")) {
      if (!names.has("zoom")) this.state.change({ zoom: "" });
      await this.mapside.loadPoints();
    }
    if (any("colour") || (names.has("run") && !this.state.get("colour").startsWith("column:"))) {
      if (names.has("run")) this.column.forget();
      await this.mapside.loadColours();
    }
    if (any(...FILTERS) || (any("backbone", "map") && this.state.get("lasso"))) await this.select();
    if (names.has("zoom")) this.mapside.followZoom();
    if (names.has("order")) {
      byId("order").value = this.state.get("order");
      await this.showWall();
    }
    if (any("page", "run", "headA", "headB", "review")) this.showPart();
  }

  listen() {
    const { state } = this;
    state.listen((names) => this.follow(names).catch(showError));
    byId("where").onsubmit = (event) => {
      event.preventDefault();
      if (state.get("where") === byId("q").value.trim()) this.select();
      else state.change({ where: byId("q").value.trim() });
    };
    byId("clear").onclick = () => {
      state.change(NO_FILTER);
      byId("q").value = "";
      showError(null);
    };
    byId("words").onsubmit = (event) => {
      event.preventDefault();
      const texts = this.meta.backbones.filter((one) => one.text).map((one) => one.name);
      const backbone = texts.includes(state.get("backbone")) ? state.get("backbone") : texts[0];
      const words = byId("t").value.trim();
      state.change({ source: words ? sourceText("text", backbone, words) : "", page: "" });
    };
    byId("order").onchange = (event) => state.change({ order: event.target.value });
    byId("size").oninput = (event) => this.wall.setSize(Number(event.target.value));
    byId("save").onclick = () => saveDialog(this);
    byId("relabel").onclick = () => relabelDialog(this);
    byId("reload").onclick = () => location.reload();
    byId("help").onclick = () => byId("keys").showModal();
    addEventListener("focus", later(() => this.lookForNews().catch(showError), 300));
    document.addEventListener("keydown", (event) => {
      if (event.target.closest("input, select, textarea, dialog") || event.ctrlKey || event.metaKey) return;
      if (event.key === "/") {
        event.preventDefault();
        byId("q").focus();
      }
      if (event.key === "?") byId("keys").showModal();
    });
  }

  async start() {
    byId("q").value = this.state.get("where");
    this.showMeta();
    fillOrders(this);
    this.listen();
    this.showPart();
    const points = this.mapside.loadPoints();
    if (this.ids.length > AT_ONCE) await points; // of many, the points come first: both together would take longer
    const colours = this.mapside.loadColours().catch((problem) => problem);
    await Promise.all([points, colours]);
    await this.select();
    if (await colours) showError(await colours);
    document.documentElement.dataset.ready = String(Math.round(performance.now()));
    this.followImage();
    await this.mapside.fillColours();
  }
}

function rowNames(tables) {
  const rows = tables.flatMap((table) => table.rows).filter((row) => !row.published);
  return [...new Set(rows.map((row) => `${row.backbone}/${row.head}`))];
}

try {
  const [meta, raw] = await Promise.all([getJson("meta"), getBytes("ids")]);
  const explorer = new Explorer(meta, new Int32Array(raw.bytes));
  await explorer.start();
} catch (problem) {
  showError(problem);
  document.documentElement.dataset.ready = "failed";
}

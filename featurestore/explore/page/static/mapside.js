// The map's half of the page: which points, which colours, the legend, the hovered image and the density picture.

import { getBytes, getImage } from "./api.js";
import { PLAIN, plain, scale } from "./colours.js";
import { button, byId, count, el, fillSelect, later, readable, showError, valueText } from "./dom.js";
import { facetColumns } from "./facets.js";
import { ScatterMap } from "./map.js";
import { listenToMap } from "./map_input.js";
import { parseFacets, polygonText } from "./state.js";

export class MapSide {
  constructor(app) {
    this.app = app;
    this.sampledOf = 0; // how many points there are, where only a sample is here
    this.whole = null; // the points of the whole map
    [this.turn, this.look] = [0, 0]; // how often points, and the part of them that is seen, were asked for
    this.viewSoon = later(() => this.viewMoved(), 150);
    this.map = new ScatterMap(byId("map"), byId("overlay"), () => this.viewSoon());
    this.column = null;
    this.legend = [];
    this.hovering = later((point) => this.showTip(point), 25);
    this.input = listenToMap(this.map, byId("map"), {
      hover: (point) => this.hover(point),
      open: (point) => app.open(app.ids[this.map.points.rows[point]]),
      lasso: (polygon) => this.lasso(polygon),
    });
    byId("zin").onclick = () => this.map.zoomBy(1.5);
    byId("zout").onclick = () => this.map.zoomBy(1 / 1.5);
    byId("fit").onclick = () => this.map.moveTo(null);
    for (const mode of ["lasso", "pan"]) byId(mode).onclick = () => this.setMode(mode);
    byId("fold").onclick = () => this.fold();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.paintColours());
    this.fillChoices();
  }

  // A lasso shows its images, unless the counts of the filters are being looked at.
  lasso(polygon) {
    const { state } = this.app;
    const page = state.get("page") === "filters" ? "filters" : "";
    state.change(polygon ? { lasso: polygonText(polygon), page } : { lasso: "", source: "" });
  }

  setMode(mode) {
    this.input.mode = mode;
    for (const one of ["lasso", "pan"]) byId(one).setAttribute("aria-pressed", String(one === mode));
    byId("map").classList.toggle("moving", mode === "pan");
  }

  fold() {
    const folded = document.body.classList.toggle("folded");
    byId("fold").textContent = folded ? "▾" : "▴";
    byId("fold").setAttribute("aria-expanded", String(!folded));
  }

  fillChoices() {
    const { meta, state } = this.app;
    const change = (id, name) => {
      byId(id).onchange = (event) => state.change({ [name]: event.target.value });
    };
    change("backbone", "backbone");
    change("method", "map");
    change("colour", "colour");
    fillSelect(byId("backbone"), meta.backbones.map(({ name, synthetic }) => [
      name, synthetic ? `${name} SYNTHETIC` : name,
    ]));
    byId("mapmark").hidden = !meta.synthetic;
  }

  // The choices of colour: columns, and what the bench knows, once it is known.
  async fillColours() {
    const { app } = this;
    const columns = facetColumns(app.meta).map(({ name }) => [`column:${name}`, name]);
    const choices = [[PLAIN, "one colour"], { group: "Columns", choices: columns }];
    fillSelect(byId("colour"), choices, app.state.get("colour"));
    const run = app.has("wrong") ? await app.run() : null;
    if (!run) return;
    const rows = await app.rowsOf(run);
    choices.push({ group: "Bench", choices: [["wrong", "share of heads wrong"]] });
    if (rows.length) {
      choices.push({ group: "Predicted class by", choices: rows.map((row) => [`predicted:${row}`, row]) });
    }
    fillSelect(byId("colour"), choices, app.state.get("colour"));
  }

  async loadPoints() {
    const { app, map } = this;
    const turn = ++this.turn;
    const backbone = app.state.get("backbone");
    if (!backbone) {
      byId("sampled").hidden = false;
      byId("sampled").textContent = "No backbone has embedded these images yet: run featurestore embed.";
      return;
    }
    const methods = app.meta.maps.filter((one) => one.backbone === backbone).map((one) => one.method);
    const method = methods.includes(app.state.get("map")) ? app.state.get("map") : "pca";
    fillSelect(byId("method"), methods.map((one) => [one, one === "pca" ? "PCA" : one]), method);
    byId("methods").hidden = methods.length < 2;
    byId("backbone").value = backbone;
    this.asked = { backbone, map: method };
    byId("stage").setAttribute("aria-busy", "true");
    const answer = await getBytes("points", this.asked);
    if (turn !== this.turn) return;
    const points = this.unpack(answer.bytes);
    const sampled = /total=(\d+)/.exec(answer.note ?? "");
    this.sampledOf = answer.note?.startsWith("sampled") && sampled ? Number(sampled[1]) : 0;
    this.whole = points;
    map.setDensity(null);
    map.view = parseZoom(app.state.get("zoom"));
    map.setPoints(points, { fit: true });
    app.selection.points = points;
    app.selection.exact = null;
    byId("stage").removeAttribute("aria-busy");
    byId("map").setAttribute("aria-label",
      `Map of the embeddings of ${backbone}, ${count(this.sampledOf || points.x.length)} points`);
    this.viewMoved().catch(showError);
  }

  unpack(bytes) {
    const [length] = new Uint32Array(bytes, 0, 1);
    const ids = new Int32Array(bytes, 4, length);
    const [x, y] = [new Float32Array(bytes, 4 + 4 * length, length), new Float32Array(bytes, 4 + 8 * length, length)];
    const rows = Int32Array.from(ids, (id) => this.app.selection.index(id));
    if (!rows.includes(-1)) return { x, y, rows };
    const known = (_, i) => rows[i] >= 0; // an image that went since the vectors were read
    return { x: x.filter(known), y: y.filter(known), rows: rows.filter((row) => row >= 0) };
  }

  // After the view has moved: keep it in the address; of a sampled map, fetch what is seen.
  async viewMoved() {
    this.app.state.change({ zoom: zoomText(this.map.view) });
    this.tellSample();
    if (this.sampledOf && this.map.width) await this.loadSeen().catch(showError);
    this.tellSample();
  }

  // The address was changed by Back or by hand.
  followZoom() {
    const zoom = this.app.state.get("zoom");
    if (zoom !== zoomText(this.map.view)) this.map.moveTo(parseZoom(zoom));
  }

  async loadSeen() {
    const { app, map } = this;
    const [turn, look] = [this.turn, ++this.look];
    const [x0, x1, y0, y1] = map.visible();
    const seen = { x0, x1, y0, y1 };
    const size = { w: Math.min(1600, map.width), h: Math.min(1600, map.height) };
    const picture = getImage("density", { ...this.asked, ...seen, ...size });
    const zoomed = (map.view?.zoom ?? 1) > 1.2;
    const near = zoomed ? getBytes("points", { ...this.asked, ...seen }) : null;
    const [image, answer] = await Promise.all([picture, near]);
    if (turn !== this.turn || look !== this.look) return image.close(); // the map or the view is another one by now
    map.setDensity({ image, box: [x0, x1, y0, y1] });
    const exact = answer && !answer.note?.startsWith("sampled");
    const points = exact ? this.unpack(answer.bytes) : this.whole;
    if (exact) map.setDensity(null);
    if (points === app.selection.points) return undefined;
    map.setPoints(points, { fit: false });
    app.selection.points = points;
    return undefined;
  }

  tellSample() {
    if (!this.asked) return; // no backbone, which is said there
    const here = this.map.points.x.length;
    byId("sampled").hidden = !this.sampledOf;
    byId("sampled").textContent = this.app.selection.points === this.whole
      ? `${count(this.sampledOf)} points as density, ${count(here)} of them as dots. Zoom in for all.`
      : `Every point in view, ${count(here)} of ${count(this.sampledOf)}.`;
  }

  async loadColours() {
    const { app } = this;
    const key = app.state.get("colour");
    byId("colour").value = key;
    try {
      this.column = key === PLAIN ? null : await app.column(key);
    } catch (problem) {
      this.column = null; // one colour, and the reason
      this.paintColours();
      throw problem;
    }
    if (key === app.state.get("colour")) this.paintColours();
  }

  paintColours() {
    const { legend, ...colours } = this.column ? scale(this.column) : plain(this.app.ids.length);
    this.legend = legend;
    this.map.setColours(colours);
    this.fillLegend();
  }

  fillLegend() {
    const { legend } = this;
    const name = this.app.state.get("colour").replace(/^column:/, "");
    const isColumn = this.app.state.get("colour").startsWith("column:");
    const facet = parseFacets(this.app.state.get("facets")).get(name);
    byId("legend").hidden = !(legend.length || legend.ramp);
    if (legend.ramp) {
      const ramp = el("span", { className: "ramp", "aria-hidden": "true" });
      ramp.style.background = `linear-gradient(90deg, ${legend.ramp.join(", ")})`;
      byId("legend").replaceChildren(el("span", {}, valueText(legend.from, legend.days)), ramp,
        el("span", {}, valueText(legend.to, legend.days)));
      return;
    }
    byId("legend").replaceChildren(...legend.map(({ name: text, level, colour }) => {
      const dot = el("i", { "aria-hidden": "true" });
      dot.style.background = colour;
      const words = el("span", {}, text);
      if (!isColumn || level === undefined) return el("span", { title: text }, dot, words);
      const pressed = Boolean(facet?.levels?.includes(level));
      return button([dot, words], () => this.app.facets.toggle(name, level), {
        "aria-pressed": String(pressed), title: `Only ${text}`,
      });
    }));
  }

  showSelection() {
    const { selection } = this.app;
    this.map.setMask(selection.mask, selection.size);
    this.fillLegend();
  }

  hover(point) {
    this.map.hover(point);
    if (point < 0) byId("tip").hidden = true;
    this.hovering(point);
  }

  async showTip(point) {
    const { app, map } = this;
    if (point < 0 || point !== map.hovered) return;
    const row = map.points.rows[point];
    const id = app.ids[row];
    const [image, words] = byId("tip").children;
    image.src = `thumb/${id}`;
    const [title, value, number] = words.children;
    title.textContent = "";
    value.textContent = readable(this.valueAt(row));
    number.textContent = `ImgId ${id}`;
    this.placeTip(point);
    const known = await app.rows.get(id).catch(() => ({}));
    if (point !== map.hovered) return;
    title.textContent = readable(known.title || known.name || "");
    this.placeTip(point);
  }

  // Beside the point, on the side with more room, so that it hides neither the point nor the edge.
  placeTip(point) {
    const tip = byId("tip");
    tip.hidden = false;
    const { x: xs, y: ys } = this.map.points;
    const [x, y] = this.map.toScreen(xs[point], ys[point]);
    const { clientWidth: width, clientHeight: height } = byId("stage");
    const left = x < width / 2 ? x + 16 : x - 16 - tip.offsetWidth;
    tip.style.left = `${Math.max(6, Math.min(width - tip.offsetWidth - 6, left))}px`;
    tip.style.top = `${Math.max(6, Math.min(height - tip.offsetHeight - 6, y - tip.offsetHeight / 2))}px`;
  }

  valueAt(row) {
    if (!this.column) return "";
    const { kind, values, codes, levels, days } = this.column;
    const value = kind === "number" ? valueText(values[row], days) : levels[codes[row]];
    const name = byId("colour").selectedOptions[0]?.textContent ?? "";
    return `${name}: ${value || "none"}`;
  }
}

const zoomText = (view) => (view
  ? [view.x, view.y, view.zoom].map((one) => Number(one.toPrecision(5))).join(",")
  : "");

// "x,y,zoom" of the address, or null for the whole map.
function parseZoom(text) {
  const [x, y, zoom] = text.split(",").map(Number);
  return text && [x, y, zoom].every(Number.isFinite) && zoom > 0
    ? { x: Math.max(-2, Math.min(2, x)), y: Math.max(-2, Math.min(2, y)), zoom: Math.min(4000, zoom) }
    : null;
}

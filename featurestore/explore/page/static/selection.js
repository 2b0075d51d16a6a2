// Which images are selected: those that are in the WHERE, the facets, the lasso and the source, all at once.
// Images are meant by their index in `ids` (ascending ImgId); a mask has one byte for each.

import { decode, getBytes, getJson } from "./api.js";
import { inside } from "./geometry.js";
import { parseFacets, parsePolygon } from "./state.js";
import { wholeWhere } from "./sql.js";

export class Selection {
  constructor(ids, kinds) {
    this.ids = ids;
    this.kinds = kinds; // column -> kind
    this.mask = null; // none: every image
    this.order = this.ascending(); // indices in the order of the source, or ascending
    this.scores = new Map(); // ImgId -> score of a source that has scores
    this.size = ids.length;
    this.points = null; // {x, y, rows} of the map, for the lasso
    this.exact = null; // {lasso, mask} by the server, where the points are a sample
    this.turn = 0;
    this.forget();
  }

  // What the server said of conditions and sources is asked for again.
  forget() {
    this.kept = { sql: null, sqlMask: null, source: null, list: null };
  }

  index(id) {
    let [low, high] = [0, this.ids.length - 1];
    while (low <= high) {
      const middle = (low + high) >> 1;
      if (this.ids[middle] === id) return middle;
      if (this.ids[middle] < id) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }

  // A mask of some ImgIds: a list in any order, or the server's ascending ones.
  maskOf(someIds) {
    const mask = new Uint8Array(this.ids.length);
    if (someIds instanceof Int32Array) {
      for (let at = 0, i = 0; i < someIds.length && at < this.ids.length;) {
        if (this.ids[at] === someIds[i]) mask[at] = 1;
        if (this.ids[at] < someIds[i]) at++;
        else i++;
      }
      return mask;
    }
    for (const id of someIds) {
      const index = this.index(id);
      if (index >= 0) mask[index] = 1;
    }
    return mask;
  }

  where(state) {
    return wholeWhere(state.get("where"), parseFacets(state.get("facets")), this.kinds);
  }

  // Whether the condition alone says what is selected, so that a view of that condition can stand for it.
  onlyWhere(state) {
    return Boolean(this.where(state)) && !state.get("lasso") && !state.get("source");
  }

  // Ask for what changed; false when a later call has overtaken this one.
  async update(state) {
    const turn = ++this.turn;
    const sql = this.where(state);
    const source = state.get("source");
    const { kept } = this;
    const [sqlMask, list] = await Promise.all([
      sql === kept.sql ? kept.sqlMask : whereIds(sql).then((ids) => this.maskOf(ids)),
      source === kept.source ? kept.list : sourceList(source),
    ]);
    if (turn !== this.turn) return false;
    this.kept = { sql, sqlMask: sql ? sqlMask : null, source, list: source ? list : null };
    this.combine(state);
    return true;
  }

  combine(state) {
    const { sqlMask, list } = this.kept;
    const masks = [sqlMask, list && this.maskOf(list.map((one) => one.ImgId)), this.lassoMask(state)].filter(Boolean);
    this.scores = new Map((list ?? []).map((one) => [one.ImgId, one]));
    this.mask = masks.length ? masks[0].slice() : null;
    for (const mask of masks.slice(1)) for (let i = 0; i < mask.length; i++) this.mask[i] &= mask[i];
    this.order = list
      ? Int32Array.from([...new Set(list.map((one) => this.index(one.ImgId)))].filter((i) => i >= 0 && this.mask[i]))
      : this.ascending();
    this.size = this.order.length;
  }

  ascending() {
    if (!this.mask) return Int32Array.from(this.ids, (_, i) => i);
    const found = new Int32Array(this.mask.reduce((sum, one) => sum + one, 0));
    let place = 0;
    for (let i = 0; i < this.mask.length; i++) if (this.mask[i]) found[place++] = i;
    return found;
  }

  // Of a sampled map the server knows which images are in the lasso; false when it has changed meanwhile.
  async askForLasso(state, map) {
    const lasso = state.get("lasso");
    const { bytes } = await getBytes("inside", { ...map, polygon: lasso });
    if (lasso !== state.get("lasso")) return false;
    this.exact = { lasso, mask: this.maskOf(new Int32Array(bytes)) };
    this.combine(state);
    return true;
  }

  lassoMask(state) {
    const polygon = parsePolygon(state.get("lasso"));
    if (this.exact?.lasso === state.get("lasso")) return this.exact.mask;
    if (!polygon || !this.points) return null;
    const { x, y, rows } = this.points;
    const hit = inside(polygon, x, y);
    const mask = new Uint8Array(this.ids.length);
    for (let i = 0; i < hit.length; i++) if (hit[i]) mask[rows[i]] = 1;
    return mask;
  }

  selectedIds() {
    return Array.from(this.order, (index) => this.ids[index]);
  }
}

async function whereIds(sql) {
  return sql ? decode((await getJson("where", { q: sql })).ids, Int32Array) : [];
}

// A source is an ordered list that the server knows, named in the address: KIND:ARGUMENTS separated by "|".
export const sourceText = (kind, ...parts) => `${kind}:${parts.map(encodeURIComponent).join("|")}`;

export function parseSource(source) {
  const [kind] = source.split(":", 1);
  try {
    return { kind, parts: source.slice(kind.length + 1).split("|").map(decodeURIComponent) };
  } catch {
    return { kind: "", parts: [] };
  }
}

export async function sourceList(source) {
  if (!source) return null;
  const { kind, parts } = parseSource(source);
  if (kind === "similar") {
    const found = await getJson("similar", { backbone: parts[0], id: parts[1], k: 60 });
    return [{ ImgId: Number(parts[1]) }, ...found.filter((one) => one.ImgId !== Number(parts[1]))];
  }
  if (kind === "text") return getJson("similar", { backbone: parts[0], text: parts[1], k: 100 });
  if (kind === "cell") {
    const [run, row, truth, predicted] = parts;
    return getJson("cell", { run, row, truth, predicted });
  }
  if (kind === "saved") {
    const sql = `ImgId IN (SELECT ImgId FROM selections WHERE selection = '${parts[0].replaceAll("'", "''")}')`;
    return Array.from(await whereIds(sql), (id) => ({ ImgId: id }));
  }
  if (kind === "view") {
    const sql = `ImgId IN (SELECT ImgId FROM "${parts[0].replaceAll('"', '""')}")`;
    return Array.from(await whereIds(sql), (id) => ({ ImgId: id }));
  }
  if (kind === "ids") return parts[0].split(",").map((id) => ({ ImgId: Number(id) }));
  throw new Error(`the address names a source that this page does not know: ${kind}`);
}

export function sourceWords(source) {
  const { kind, parts } = parseSource(source);
  const words = {
    similar: () => `Most similar to ${parts[1]} by ${parts[0]}`,
    text: () => `Text “${parts[1]}” by ${parts[0]}`,
    cell: () => `${parts[1]}: ${parts[2]} predicted as ${parts[3]}`,
    saved: () => `Selection ${parts[0]}`,
    view: () => `View ${parts[0]}`,
    ids: () => "Group of duplicates",
  };
  return (words[kind] ?? (() => kind))();
}

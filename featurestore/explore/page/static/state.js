// The view's state lives in the fragment of the address, so that a link shows the same view and Back undoes a step.

const KEYS = {
  backbone: "b", map: "m", colour: "c", where: "q", facets: "f", lasso: "l", source: "s", image: "i",
  page: "p", run: "r", headA: "a", headB: "h", order: "o", zoom: "z", review: "v",
};
// Fields whose change is a step that Back undoes; the others replace the address.
const STEPS = new Set(["where", "facets", "lasso", "source", "page", "image"]);
const EMPTY = Object.fromEntries(Object.keys(KEYS).map((name) => [name, ""]));

export const MOST_CORNERS = 500; // of a lasso, in the address and for the server

// A polygon as text: corners with 4 decimals, "x,y;x,y". Null for anything else.
export function parsePolygon(text) {
  const corners = text.split(";").map((corner) => corner.split(",").map(Number));
  const good = corners.every((corner) => corner.length === 2 && corner.every(Number.isFinite));
  return good && corners.length >= 3 && corners.length <= MOST_CORNERS ? corners : null;
}

export const polygonText = (corners) => corners.map(([x, y]) => `${+x.toFixed(4)},${+y.toFixed(4)}`).join(";");

// Facets as text: JSON of {column: {levels: [text or null]} | {range: [from or null, to or null]}}.
export function parseFacets(text) {
  const found = new Map();
  if (!text) return found;
  let read;
  try {
    read = JSON.parse(text);
  } catch {
    return found; // a damaged link filters by what can be read of it
  }
  const number = (value) => value === null || (typeof value === "number" && Number.isFinite(value));
  for (const [column, facet] of Object.entries(read ?? {})) {
    const { levels, range } = facet ?? {};
    if (Array.isArray(levels) && levels.length && levels.every((one) => one === null || typeof one === "string")) {
      found.set(column, { levels });
    } else if (Array.isArray(range) && range.length === 2 && range.every(number)) {
      found.set(column, { range });
    }
  }
  return found;
}

export const facetsText = (facets) => (facets.size ? JSON.stringify(Object.fromEntries(facets)) : "");

function read() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(Object.entries(KEYS).map(([name, key]) => [name, parameters.get(key) ?? ""]));
}

function write(values) {
  const parameters = new URLSearchParams();
  for (const [name, key] of Object.entries(KEYS)) if (values[name]) parameters.set(key, values[name]);
  return `#${parameters}`;
}

export class State {
  constructor() {
    this.values = { ...EMPTY, ...read() };
    this.defaults = {}; // of fields that an address may leave out
    this.listeners = [];
    addEventListener("hashchange", () => this.adopt(read()));
    addEventListener("popstate", () => this.adopt(read()));
  }

  setDefaults(defaults) {
    this.defaults = defaults;
    for (const [name, value] of Object.entries(defaults)) this.values[name] ||= value;
  }

  get(name) {
    return this.values[name];
  }

  // Called with the set of names that changed.
  listen(listener) {
    this.listeners.push(listener);
  }

  // With `replace`, the step before is not kept for Back.
  change(patch, { replace = false } = {}) {
    const changed = this.differing(patch);
    if (!changed.length) return;
    const opens = Boolean(patch.image) && !this.values.image;
    Object.assign(this.values, patch);
    const step = !replace && changed.some((name) => STEPS.has(name));
    // An entry that opened an image says so, until another step follows it.
    const mark = step ? { opens } : history.state;
    history[step ? "pushState" : "replaceState"](mark, "", write(this.values));
    this.tell(changed);
  }

  // Close the image: by Back where opening it was the last step, so that Back need not be pressed once for each image.
  closeImage() {
    if (!this.values.image) return;
    if (history.state?.opens) history.back();
    else this.change({ image: "" }, { replace: true });
  }

  adopt(found) {
    const values = Object.fromEntries(Object.entries(found).map(([name, value]) => [
      name, value || (this.defaults[name] ?? ""),
    ]));
    const changed = this.differing(values);
    Object.assign(this.values, values);
    if (changed.length) this.tell(changed);
  }

  differing(patch) {
    return Object.keys(patch).filter((name) => this.values[name] !== patch[name]);
  }

  tell(names) {
    for (const listener of this.listeners) listener(new Set(names));
  }
}

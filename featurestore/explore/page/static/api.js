// How the page asks the server. Addresses are relative, so that the token in the path stays in front of them.

export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function ask(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch (problem) {
    if (problem.name === "AbortError") throw problem;
    throw new Refused("The server does not answer: was `featurestore explore` stopped?", 0);
  }
  if (response.ok) return response;
  const text = await response.text();
  let message = `the server answered ${response.status}`;
  try {
    message = JSON.parse(text).error ?? message;
  } catch {
    // An answer that is no JSON has no sentence for us: its status is all we know.
  }
  throw new Refused(message, response.status);
}

export function address(name, parameters = {}) {
  const known = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined);
  return known.length ? `${name}?${new URLSearchParams(known)}` : name;
}

export async function getJson(name, parameters) {
  return (await ask(address(`api/${name}`, parameters))).json();
}

export async function getBytes(name, parameters) {
  const response = await ask(address(`api/${name}`, parameters));
  return { bytes: await response.arrayBuffer(), note: response.headers.get("X-Points") };
}

export async function getImage(name, parameters) {
  return createImageBitmap(await (await ask(address(`api/${name}`, parameters))).blob());
}

export async function post(name, body) {
  const headers = { "Content-Type": "application/json" };
  return (await ask(`api/${name}`, { method: "POST", headers, body: JSON.stringify(body) })).json();
}

// Base64 of little-endian numbers -> a typed array.
export function decode(text, Type) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return new Type(bytes.buffer);
}

// A column as the page uses it: codes (Int32Array, -1 none) with levels, or values (Float32Array, NaN none), which
// may be days since 1970.
export function unpackColumn(answer, length) {
  const column = answer.kind === "number"
    ? { kind: "number", values: decode(answer.values, Float32Array), days: Boolean(answer.unit) }
    : { kind: "levels", levels: answer.levels, codes: Int32Array.from(decode(answer.codes, Int16Array)) };
  if ((column.values ?? column.codes).length === length) return column;
  throw new Refused("The store has other images now: reload the page.", 0);
}

// The same column with the levels of `reference` first, so that a class has one colour whoever names it.
export function inOrderOf(reference, column) {
  if (reference.kind !== "levels" || codeOfOthers(column.levels) >= 0) return column;
  const levels = [...new Set([...reference.levels.filter((one) => column.levels.includes(one)), ...column.levels])];
  const places = column.levels.map((one) => levels.indexOf(one));
  return { ...column, levels, codes: column.codes.map((code) => (code < 0 ? code : places[code])) };
}

// The server names so many levels; where there are more, one more stands for all others.
const NAMED = 12;
export const codeOfOthers = (levels) => (levels.length > NAMED ? NAMED : -1);

// Keep the answers of `fetch(key)`, so that each is asked for once; a failed one is asked for again.
export function remembered(fetchOne) {
  const kept = new Map();
  const get = (key) => {
    if (!kept.has(key)) {
      const promise = fetchOne(key);
      kept.set(key, promise);
      promise.catch(() => kept.delete(key));
    }
    return kept.get(key);
  };
  get.forget = () => kept.clear();
  return get;
}

const AT_ONCE = 200;

// Rows of images by ImgId: what is asked for within a moment goes in one request of at most 200.
export class Rows {
  constructor() {
    this.known = new Map();
    this.waiting = new Map();
    this.timer = 0;
  }

  get(id) {
    if (this.known.has(id)) return Promise.resolve(this.known.get(id));
    if (!this.waiting.has(id)) {
      let settle;
      const promise = new Promise((resolve, reject) => {
        settle = { resolve, reject };
      });
      this.waiting.set(id, { promise, ...settle });
      if (!this.timer) this.timer = setTimeout(() => this.send(), 15);
    }
    return this.waiting.get(id).promise;
  }

  async send() {
    this.timer = 0;
    const asked = [...this.waiting].slice(-AT_ONCE); // the last asked for are those in view
    for (const [id] of asked) this.waiting.delete(id);
    if (this.waiting.size) this.timer = setTimeout(() => this.send(), 15);
    try {
      const rows = await getJson("rows", { ids: asked.map(([id]) => id).join(",") });
      for (const row of rows) this.known.set(row.ImgId, row);
      for (const [id, one] of asked) one.resolve(this.known.get(id) ?? { ImgId: id });
    } catch (problem) {
      for (const [, one] of asked) one.reject(problem);
    }
  }

  forget(ids) {
    for (const id of ids) this.known.delete(id);
  }
}

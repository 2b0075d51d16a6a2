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

const ANSWERS = 32; // the most that are kept of one kind

// Keep the answers of `fetch(key)`, so that each is asked for once; a failed one is asked for again.
export function remembered(fetchOne) {
  const kept = new Map();
  const get = (key) => {
    if (!kept.has(key)) {
      const promise = fetchOne(key);
      kept.set(key, promise);
      promise.catch(() => kept.delete(key));
      if (kept.size > ANSWERS) kept.delete(kept.keys().next().value);
    }
    return kept.get(key);
  };
  get.forget = () => kept.clear();
  return get;
}

const AT_ONCE = 200;
const KEPT = 4000; // rows: of a million images the page would else grow as long as it is scrolled

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
      for (const id of [...this.known.keys()].slice(0, Math.max(0, this.known.size - KEPT))) this.known.delete(id);
    } catch (problem) {
      for (const [, one] of asked) one.reject(problem);
    }
  }

  forget(ids) {
    for (const id of ids) this.known.delete(id);
  }
}

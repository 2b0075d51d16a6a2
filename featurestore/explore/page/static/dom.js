// Small helpers to build the document. Text from strangers (titles, names, labels) only ever becomes text nodes.

export const byId = (id) => document.getElementById(id);

// What would reorder or hide other text, and the marks of one letter beyond the eighth.
const HIDDEN = /(?![\n\t\u200c\u200d])[\p{Cc}\p{Cf}\u034f\u115f\u1160\u17b4\u17b5\u2028\u2029\u3164\uffa0]/gu;
const STORM = /(\p{M}{8})\p{M}+/gu;
const READ = new Set(["textContent", "title", "alt", "aria-label"]);

// Text as a person may read it: such characters are written out, as \u202e for one that turns the direction.
export function readable(text) {
  const code = (one) => `\\u${one.codePointAt(0).toString(16).padStart(4, "0")}`;
  return String(text).replace(HIDDEN, code).replace(STORM, "$1…");
}

// An element with properties and children; children that are strings become text nodes.
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, given] of Object.entries(properties)) {
    const value = READ.has(name) ? readable(given) : given;
    if (name in node && name !== "list") node[name] = value;
    else node.setAttribute(name, value);
  }
  const shown = children.flat().filter((child) => child !== null && child !== undefined && child !== "");
  node.append(...shown.map((child) => (child instanceof Node ? child : readable(child))));
  return node;
}

export function button(text, onclick, properties = {}) {
  return el("button", { type: "button", onclick, ...properties }, text);
}

// A select; `choices` are [value, text] pairs or {group, choices}.
export function fillSelect(select, choices, value) {
  const option = ([one, text]) => el("option", { value: one }, text);
  select.replaceChildren(...choices.map((one) => (Array.isArray(one)
    ? option(one)
    : el("optgroup", { label: one.group }, one.choices.map(option)))));
  if (value !== undefined) select.value = value;
  return select;
}

export const count = (number) => number.toLocaleString("en");
export const images = (number) => `${count(number)} ${number === 1 ? "image" : "images"}`;

// A score or a time with as many digits as help: 0.594, 12.3, 1,234.
export function figure(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) return value.map(figure).join(" – ");
  if (typeof value !== "number") return typeof value === "object" ? JSON.stringify(value) : String(value);
  if (!Number.isFinite(value)) return "";
  if (Number.isInteger(value)) return count(value);
  return Math.abs(value) < 10 ? value.toFixed(3) : value.toLocaleString("en", { maximumFractionDigits: 1 });
}

export const percent = (share) => `${Math.round(100 * share)}\u00a0%`;

// A value of a column: as it is, or the date where it is days since 1970.
export function valueText(value, days) {
  if (!Number.isFinite(value)) return figure(value);
  if (!days) return String(Number(value.toPrecision(6)));
  return new Date(value * 86400000).toISOString().slice(0, 10);
}

// Call `work` once at the next frame, however often it was asked for.
export function eachFrame(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      work();
    });
  };
}

export function later(work, milliseconds) {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...values), milliseconds);
  };
}

// What a screen reader is told about a change elsewhere on the page.
export function say(text) {
  byId("said").textContent = readable(text);
}

export function showError(problem) {
  const place = byId("error");
  place.textContent = problem ? readable(problem.message ?? problem) : "";
  place.hidden = !problem;
}

const turns = new WeakMap(); // element -> how often it was filled

// Fill `node` with what `promise` gives; what fails is one sentence there. A later call overtakes an earlier one.
export async function filled(node, promise) {
  const turn = (turns.get(node) ?? 0) + 1;
  turns.set(node, turn);
  node.setAttribute("aria-busy", "true");
  const slow = setTimeout(() => {
    if (!node.childElementCount) node.replaceChildren(el("p", { className: "empty" }, "Loading …"));
  }, 200);
  let parts;
  try {
    parts = [await promise].flat().filter((one) => one !== null && one !== "");
  } catch (problem) {
    parts = [el("p", { className: "problem", role: "alert" }, problem.message)];
  }
  clearTimeout(slow);
  if (turns.get(node) !== turn) return;
  node.replaceChildren(...parts);
  node.removeAttribute("aria-busy");
}

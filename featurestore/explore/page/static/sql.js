// Facets as SQL, in the form that the WHERE box takes; the server runs it in its sandbox.

import { valueText } from "./dom.js";

const quoted = (name) => `"${name.replaceAll('"', '""')}"`;
const literal = (text) => `'${text.replaceAll("'", "''")}'`;

// `kind` is the column's: of a list, an image counts for each of its values.
export function facetSql(column, facet, kind) {
  const name = quoted(column);
  if (facet.range) {
    const [from, to] = facet.range;
    const value = kind === "time" ? `epoch(${name}::TIMESTAMP) / 86400` : name;
    const parts = [from === null ? "" : `${value} >= ${from}`, to === null ? "" : `${value} <= ${to}`].filter(Boolean);
    return parts.join(" AND ") || "true";
  }
  const texts = facet.levels.filter((level) => level !== null);
  const parts = [];
  if (texts.length) {
    const list = texts.map(literal).join(", ");
    parts.push(kind === "list" ? `list_has_any(${name}, [${list}])` : `CAST(${name} AS VARCHAR) IN (${list})`);
  }
  if (facet.levels.includes(null)) parts.push(kind === "text" ? `coalesce(trim(CAST(${name} AS VARCHAR)), '') = ''`
    : kind === "list" ? `coalesce(len(${name}), 0) = 0` : `${name} IS NULL`);
  return parts.length > 1 ? `(${parts.join(" OR ")})` : parts[0];
}

// The whole condition of a view; a line break before the bracket keeps a comment at the end of `where` harmless.
export function wholeWhere(where, facets, kinds) {
  const parts = [...facets].map(([column, facet]) => facetSql(column, facet, kinds.get(column)));
  const typed = where.trim();
  if (typed) parts.unshift(parts.length ? `(${typed}\n)` : typed);
  return parts.join(" AND ");
}

export function facetText(column, facet, kind) {
  if (facet.levels) return `${column}: ${facet.levels.map((level) => level ?? "none").join(", ")}`;
  const [from, to] = facet.range.map((one) => one !== null && valueText(one, kind === "time"));
  if (from === false) return `${column} ≤ ${to}`;
  return to === false ? `${column} ≥ ${from}` : `${column} ${from} – ${to}`;
}

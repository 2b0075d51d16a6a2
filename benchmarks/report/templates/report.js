"use strict";
// The report is whole without this script. It adds sorting, one tooltip in place of the browser's, and images of cells.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  document.documentElement.classList.add("scripted");

  function element(name, className, text = "") {
    const made = document.createElement(name);
    made.className = className;
    made.textContent = text;
    return made;
  }

  // Tables: the first click sorts best first, the second the other way round, the third restores the order.
  function value(row, column) {
    const text = row.cells[column].textContent.trim();
    const found = text.replaceAll(",", "").match(/^(<?)\s*([-+−]?\d[\d.]*(?:e[-+]?\d+)?)/i);
    if (!found) return text;
    const number = Number(found[2].replace("−", "-").replace("+", ""));
    return found[1] ? number * 0.999 : number;
  }

  function compare(a, b, sign) {
    if (a === "" || b === "") return (a === "") - (b === "");
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return sign * (typeof a === "number" ? a - b : a.localeCompare(b, "en"));
  }

  for (const table of document.querySelectorAll("table")) {
    const body = table.tBodies[0];
    const original = [...body.rows];
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      const numbers = original.some((row) => typeof value(row, column) === "number");
      const first = numbers && !("low" in heading.dataset) ? "descending" : "ascending";
      const second = first === "descending" ? "ascending" : "descending";
      // No element button: Chromium leaves those out where a printed table repeats its headings.
      const button = element("span", "", heading.textContent);
      button.setAttribute("role", "button");
      button.tabIndex = 0;
      heading.replaceChildren(button);
      button.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        button.click();
      });
      button.addEventListener("click", () => {
        const now = heading.getAttribute("aria-sort");
        const next = now === null ? first : now === first ? second : null;
        for (const one of headings) one.removeAttribute("aria-sort");
        if (next) heading.setAttribute("aria-sort", next);
        const sign = next === "ascending" ? 1 : -1;
        const rows = next ? original.toSorted((a, b) => compare(value(a, column), value(b, column), sign)) : original;
        body.append(...rows);
      });
    });
  }

  // One tooltip for the page, at the pointer.
  const tip = element("div", "tip");
  tip.hidden = true;
  document.body.append(tip);
  for (const title of document.querySelectorAll(".panels title")) {
    title.parentElement.dataset.tip = title.textContent;
    title.remove();
  }

  function show(event, ...parts) {
    tip.replaceChildren(...parts);
    tip.hidden = false;
    const right = event.clientX + 14 + tip.offsetWidth > innerWidth - 6;
    const low = event.clientY + 16 + tip.offsetHeight > innerHeight - 6;
    tip.style.left = `${Math.max(6, right ? event.clientX - 12 - tip.offsetWidth : event.clientX + 14)}px`;
    tip.style.top = `${Math.max(6, low ? event.clientY - 12 - tip.offsetHeight : event.clientY + 16)}px`;
  }

  // Where the dots of a map are, read from its paths.
  const maps = new Map();
  for (const chart of document.querySelectorAll("svg[data-map]")) {
    const layers = data.maps[chart.dataset.map];
    const paths = [...chart.querySelectorAll("path")];
    const dots = paths.flatMap((path, layer) =>
      path.getAttribute("d").split("M").slice(1).map((place, number) => {
        const [x, y] = place.split(/[ h]/, 2).map(Number);
        return { x, y, id: layers[layer][number], layer: path.parentElement.dataset.tip };
      }),
    );
    maps.set(chart, { dots, frame: paths[0] });
  }

  function nearest(chart, event) {
    const { dots, frame } = maps.get(chart);
    const matrix = frame.getScreenCTM();
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    let found = null;
    let least = (10 / matrix.a) ** 2;
    for (const dot of dots) {
      const distance = (dot.x - at.x) ** 2 + (dot.y - at.y) ** 2;
      if (distance <= least) [found, least] = [dot, distance];
    }
    return found;
  }

  function picture(id) {
    const src = data.images[id]?.src ?? document.querySelector(`img[data-id="${Number(id)}"]`)?.src;
    if (!src) return null;
    const image = element("img", "");
    image.src = src;
    image.alt = data.images[id]?.title ?? "";
    return image;
  }

  function point(event) {
    const target = event.target instanceof Element ? event.target : null;
    const chart = target?.closest("svg[data-map]");
    const dot = chart ? nearest(chart, event) : null;
    if (dot) {
      const parts = [element("b", "", data.images[dot.id].title), element("div", "", dot.layer.replace(/: [^:]*$/, ""))];
      const image = picture(dot.id);
      show(event, ...(image ? [image, ...parts] : parts));
      return;
    }
    const text = target?.closest("[data-tip]")?.dataset.tip;
    if (text && !chart?.contains(target.closest("path"))) show(event, text);
    else tip.hidden = true;
  }
  document.addEventListener("pointermove", point);
  document.addEventListener("pointerdown", point);
  document.addEventListener("scroll", () => { tip.hidden = true; }, true);

  // Cells: a click or Enter shows the images, again closes them; the arrows go from cell to cell.
  function card(id) {
    const made = element("figure", "");
    const { title, fault } = data.images[id];
    made.append(picture(id) ?? element("div", "none", `no image file (${fault})`), element("figcaption", "", title));
    return made;
  }

  function toggle(cell) {
    const figure = cell.closest("figure");
    const open = cell.getAttribute("aria-pressed") === "true";
    for (const one of figure.querySelectorAll("[aria-pressed]")) one.setAttribute("aria-pressed", "false");
    figure.querySelector(".strip").hidden = open;
    if (open) return;
    cell.setAttribute("aria-pressed", "true");
    const [text, ids] = data.cells[cell.dataset.cell];
    const images = element("div", "images");
    images.append(...ids.map(card));
    figure.querySelector(".strip").replaceChildren(element("p", "", text), ...(ids.length ? [images] : []));
  }

  for (const chart of document.querySelectorAll("svg[data-columns]")) {
    const cells = [...chart.querySelectorAll("[data-cell]")];
    const wide = Number(chart.dataset.columns);
    const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: wide, ArrowUp: -wide };
    const figure = chart.closest("figure");
    if (!figure.querySelector(".strip")) {
      const strip = element("div", "strip");
      strip.hidden = true;
      strip.setAttribute("aria-live", "polite");
      figure.querySelector(".panels").after(strip);
    }
    cells.forEach((cell, place) => {
      cell.setAttribute("role", "button");
      cell.setAttribute("aria-label", cell.dataset.tip);
      cell.setAttribute("aria-pressed", "false");
      cell.setAttribute("tabindex", place ? "-1" : "0");
      cell.addEventListener("click", () => toggle(cell));
      cell.addEventListener("keydown", (event) => {
        const other = cells[place + moves[event.key]];
        if (event.key === "Enter" || event.key === " ") toggle(cell);
        else if (event.key === "Escape" && cell.getAttribute("aria-pressed") === "true") toggle(cell);
        else if (!other) return;
        event.preventDefault();
        if (!other) return;
        cell.setAttribute("tabindex", "-1");
        other.setAttribute("tabindex", "0");
        other.focus();
      });
    });
  }
})();

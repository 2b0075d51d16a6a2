// The wall: a virtual grid of images. Only the rows in view are in the document; images are fitted, never cropped.

import { el, eachFrame, readable } from "./dom.js";

const GAP = 12;
const CAPTION = 38; // CSS pixels below an image: two lines
const SPARE = 1; // rows above and below the view

export class Wall {
  // `on`: {row(id) -> promise of {title, label}, open(index), hover(index), note(id) -> text}
  constructor(frame, run, on) {
    this.frame = frame;
    this.run = run;
    this.on = on;
    this.order = new Int32Array(0); // indices of images
    this.ids = new Int32Array(0); // ImgId by index
    this.cards = new Map(); // place -> card
    this.place = 0; // the one in the tab order
    this.least = 116; // CSS pixels of a card's width
    this.shape = 1; // height of the image's box by its width, from the first images seen
    this.shapes = [];
    this.layoutSoon = eachFrame(() => this.layout());
    frame.addEventListener("scroll", this.layoutSoon, { passive: true });
    frame.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(this.layoutSoon).observe(frame);
  }

  show(ids, order) {
    const same = order.length === this.order.length && order.every((index, place) => index === this.order[place]);
    this.ids = ids;
    this.order = order;
    if (!same) {
      this.place = 0;
      this.frame.scrollTop = 0;
    }
    for (const card of this.cards.values()) card.remove();
    this.cards.clear();
    this.layout();
  }

  setSize(least) {
    this.least = least;
    this.layout();
  }

  measure() {
    const style = getComputedStyle(this.frame);
    const width = this.frame.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    const columns = Math.max(1, Math.floor((width + GAP) / (this.least + GAP)));
    const cardWidth = (width - GAP * (columns - 1)) / columns;
    const imageHeight = Math.round(cardWidth * this.shape);
    return { columns, cardWidth, imageHeight, step: imageHeight + CAPTION + GAP };
  }

  layout() {
    if (!this.frame.clientWidth) return; // not shown
    const { columns, cardWidth, imageHeight, step } = this.measure();
    const rows = Math.ceil(this.order.length / columns);
    this.run.style.height = `${rows * step}px`;
    const first = Math.max(0, Math.floor(this.frame.scrollTop / step) - SPARE);
    const last = Math.min(rows, Math.ceil((this.frame.scrollTop + this.frame.clientHeight) / step) + SPARE);
    const [from, to] = [first * columns, Math.min(this.order.length, last * columns)];
    for (const [place, card] of this.cards) {
      if (place < from || place >= to) {
        card.remove();
        this.cards.delete(place);
      }
    }
    for (let place = from; place < to; place++) {
      const card = this.cards.get(place) ?? this.make(place);
      card.style.width = `${cardWidth}px`;
      const [left, top] = [(place % columns) * (cardWidth + GAP), Math.floor(place / columns) * step];
      card.style.transform = `translate(${left}px, ${top}px)`;
      card.firstChild.firstChild.style.height = `${imageHeight}px`;
    }
    this.frame.dataset.cards = this.cards.size;
  }

  make(place) {
    const index = this.order[place];
    const id = this.ids[index];
    const card = imageCard(id, {
      row: this.on.row, note: this.on.note?.(id), open: () => this.on.open(index), eager: true,
    });
    const inner = card.firstChild;
    inner.tabIndex = place === this.place ? 0 : -1;
    inner.addEventListener("focus", () => {
      this.take(place);
      this.on.hover(index);
    });
    inner.addEventListener("mouseenter", () => this.on.hover(index));
    inner.addEventListener("mouseleave", () => this.on.hover(-1));
    card.setAttribute("aria-setsize", this.order.length);
    card.setAttribute("aria-posinset", place + 1);
    card.dataset.place = place;
    if (this.shapes) card.querySelector("img").addEventListener("load", (event) => this.learnShape(event.target));
    this.cards.set(place, card);
    this.run.append(card);
    return card;
  }

  // The box takes the shape that most images have, so that posters and landscapes both fill it.
  learnShape(image) {
    if (!this.shapes || !image.naturalWidth) return;
    this.shapes.push(image.naturalHeight / image.naturalWidth);
    if (this.shapes.length < Math.min(4, this.order.length)) return;
    const sorted = this.shapes.sort((a, b) => a - b);
    this.shape = Math.max(0.66, Math.min(1.5, sorted[sorted.length >> 1]));
    this.shapes = null;
    this.layoutSoon();
  }

  // Only one card is in the tab order, the last one that had the focus.
  take(place) {
    const before = this.cards.get(this.place);
    if (before) before.firstChild.tabIndex = -1;
    this.place = place;
    const card = this.cards.get(place);
    if (card) card.firstChild.tabIndex = 0;
  }

  focus(place) {
    const { columns, step } = this.measure();
    const top = Math.floor(place / columns) * step;
    if (top < this.frame.scrollTop) this.frame.scrollTop = top;
    const bottom = top + step - this.frame.clientHeight;
    if (bottom > this.frame.scrollTop) this.frame.scrollTop = bottom;
    this.take(place);
    this.layout();
    this.cards.get(place)?.firstChild.focus({ preventScroll: true });
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.order.length) return;
    const { columns, step } = this.measure();
    const page = columns * Math.max(1, Math.floor(this.frame.clientHeight / step));
    const last = this.order.length - 1;
    const to = {
      ArrowLeft: this.place - 1, ArrowRight: this.place + 1, ArrowUp: this.place - columns,
      ArrowDown: this.place + columns, PageUp: this.place - page, PageDown: this.place + page, Home: 0, End: last,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.focus(Math.max(0, Math.min(last, to)));
  }
}

// One image with its caption, as a list item with a button in it. `row(id)` promises {title, label}.
export function imageCard(id, { row, note, open, eager = false, labelled = true }) {
  const image = el("img", { alt: "", src: `thumb/${id}`, decoding: "async", loading: eager ? "eager" : "lazy" });
  const title = el("span", {}, " ");
  const below = el("small", {}, note ?? " ");
  const inner = el("button", { type: "button", onclick: open, "aria-label": `Image ${id}` }, image, title, below);
  image.addEventListener("error", () => {
    const empty = el("span", { className: "noimage" }, "no image file");
    empty.style.height = image.style.height;
    image.replaceWith(empty);
  });
  row(id).then((known) => {
    title.textContent = readable(known.title || known.name || `ImgId ${id}`);
    below.textContent = readable([note, labelled && known.label].filter(Boolean).join(" · ")) || " ";
    inner.title = title.textContent;
    inner.setAttribute("aria-label", `${title.textContent}, ${below.textContent}`);
  }, () => {
    title.textContent = `ImgId ${id}`;
  });
  return el("div", { className: "card", role: "listitem" }, inner);
}

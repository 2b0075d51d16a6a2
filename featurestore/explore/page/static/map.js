// The map: points of a backbone's embeddings, stamped as discs into one ImageData of a plain 2D canvas.
// It knows points, colours, a mask and the view; which images are meant is the page's matter.

import { dim, rgb } from "./colours.js";
import { eachFrame } from "./dom.js";
import { nearest } from "./geometry.js";

const MARGIN = 22; // CSS pixels around the whole map
const FEW = 80; // so many selected points at most get a ring, else nobody would see them
const [FARTHEST, CLOSEST] = [0.5, 4000]; // of the scale that shows all

export class ScatterMap {
  constructor(canvas, overlay, onView) {
    this.canvas = canvas;
    this.overlay = overlay;
    this.onView = onView; // called when the view has moved
    this.context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    this.top = overlay.getContext("2d");
    this.points = { x: new Float32Array(0), y: new Float32Array(0), rows: new Int32Array(0) };
    this.box = [-1, 1, -1, 1];
    this.codes = null;
    this.palette = [];
    this.mask = null;
    this.density = null; // {image: ImageBitmap, bright where dense, box}
    this.path = null; // the lasso while it is drawn, in map coordinates
    this.hovered = -1;
    this.view = null; // {x, y, zoom}: centre, and scale in units of the one that shows all
    this.paintSoon = eachFrame(() => this.paint());
    new ResizeObserver(() => this.resize()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.paintSoon());
  }

  resize() {
    const { width, height } = this.canvas.getBoundingClientRect();
    if (!width || !height) return;
    this.ratio = devicePixelRatio || 1;
    this.width = Math.round(width * this.ratio);
    this.height = Math.round(height * this.ratio);
    for (const canvas of [this.canvas, this.overlay]) {
      canvas.width = this.width;
      canvas.height = this.height;
    }
    this.image = this.context.createImageData(this.width, this.height);
    this.paint(); // at once: an emptied canvas would flash
    this.onView();
  }

  // `points` {x, y, rows}: rows are indices of images. With `fit`, the whole map becomes those points' box.
  setPoints(points, { fit }) {
    this.points = points;
    this.hovered = -1;
    if (fit && points.x.length) {
      const range = (values) => values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
      this.box = [...range(points.x), ...range(points.y)];
    }
    this.paintSoon();
  }

  setColours({ codes, palette }) {
    this.codes = codes;
    this.palette = palette.map(rgb);
    this.paintSoon();
  }

  setMask(mask, size) {
    this.mask = mask;
    this.few = mask && size <= FEW;
    this.paintSoon();
  }

  setDensity(density) {
    this.density?.image.close();
    this.density = density && { ...density, tinted: null };
    this.paintSoon();
  }

  // Device pixels of one unit, and where map coordinates (0, 0) lie.
  frame() {
    const [x0, x1, y0, y1] = this.box;
    const room = 2 * MARGIN * this.ratio;
    const whole = Math.min((this.width - room) / (x1 - x0 || 1), (this.height - room) / (y1 - y0 || 1));
    const { x, y, zoom } = this.view ?? { x: (x0 + x1) / 2, y: (y0 + y1) / 2, zoom: 1 };
    const scale = Math.max(whole, 1) * zoom;
    return { scale, left: this.width / 2 - scale * x, base: this.height / 2 + scale * y, x, y, zoom };
  }

  toMap(px, py) {
    const { scale, left, base } = this.frame();
    return [(px * this.ratio - left) / scale, (base - py * this.ratio) / scale];
  }

  toScreen(x, y) {
    const { scale, left, base } = this.frame();
    return [(left + scale * x) / this.ratio, (base - scale * y) / this.ratio];
  }

  // The part of the map in view: [x0, x1, y0, y1].
  visible() {
    const [x0, y1] = this.toMap(0, 0);
    const [x1, y0] = this.toMap(this.width / this.ratio, this.height / this.ratio);
    return [x0, x1, y0, y1];
  }

  moveTo(view) {
    this.view = view;
    this.paintSoon();
    this.onView();
  }

  // Zoom so that what is under (px, py), CSS pixels, stays there; without a place: the centre.
  zoomBy(factor, px = this.width / this.ratio / 2, py = this.height / this.ratio / 2) {
    const { x, y, zoom } = this.frame();
    const next = Math.max(FARTHEST, Math.min(CLOSEST, zoom * factor));
    const [ax, ay] = this.toMap(px, py);
    const keep = zoom / next;
    this.moveTo({ x: ax + (x - ax) * keep, y: ay + (y - ay) * keep, zoom: next });
  }

  // Move the view by CSS pixels.
  panBy(dx, dy) {
    const { scale, x, y, zoom } = this.frame();
    this.moveTo({ x: x - (dx * this.ratio) / scale, y: y + (dy * this.ratio) / scale, zoom });
  }

  // The point at (px, py), CSS pixels, as an index into points, or -1.
  at(px, py, reach = 9) {
    const [x, y] = this.toMap(px, py);
    return nearest(this.points, x, y, (reach * this.ratio) / this.frame().scale, this.mask);
  }

  hover(point) {
    if (point === this.hovered) return;
    this.hovered = point;
    this.paintOverlay();
  }

  // Show that image among the points, if it is one of them.
  hoverRow(row) {
    this.hover(this.points.rows.indexOf(row));
  }

  radius() {
    const crowd = Math.max(1.25, Math.min(3.4, 430 / Math.sqrt(this.points.x.length || 1)));
    const small = Math.max(0.65, Math.min(1, Math.sqrt(Math.min(this.width, this.height) / this.ratio / 560)));
    return crowd * small * Math.min(2.2, Math.sqrt(Math.max(1, this.frame().zoom))) * this.ratio;
  }

  paint() {
    if (!this.image) return;
    const started = performance.now();
    this.paintGround();
    const crowded = this.points.x.length > 15000;
    if (this.mask) {
      this.stampAll(0, this.density ? 0 : 0.45);
      this.stampAll(1, 0.9);
    } else {
      this.stampAll(2, this.density ? 0.4 : crowded ? 0.65 : 0.85);
    }
    this.context.putImageData(this.image, 0, 0);
    this.paintOverlay();
    this.canvas.dataset.drawn = this.points.x.length;
    this.canvas.dataset.milliseconds = (performance.now() - started).toFixed(1);
  }

  // The background, and the density picture where there are too many points to draw each.
  paintGround() {
    const style = getComputedStyle(this.canvas);
    this.context.fillStyle = style.backgroundColor;
    this.context.fillRect(0, 0, this.width, this.height);
    if (this.density) {
      const [x0, x1, y0, y1] = this.density.box;
      const [left, top] = this.toScreen(x0, y1).map((value) => value * this.ratio);
      const [right, bottom] = this.toScreen(x1, y0).map((value) => value * this.ratio);
      const { tinted: made } = this.density;
      const ink = style.color;
      if (made?.ink !== ink) this.density.tinted = { ink, picture: tinted(this.density.image, ink) };
      this.context.drawImage(this.density.tinted.picture, left, top, right - left, bottom - top);
    }
    this.image = this.context.getImageData(0, 0, this.width, this.height);
  }

  // Offsets of the pixels of one disc and how much of each it covers, 0 to 256.
  disc(radius) {
    const reach = Math.ceil(radius);
    const [dx, dy, cover] = [[], [], []];
    for (let y = -reach; y <= reach; y++) {
      for (let x = -reach; x <= reach; x++) {
        const part = Math.max(0, Math.min(1, radius + 0.5 - Math.hypot(x, y)));
        if (part > 0) {
          dx.push(x);
          dy.push(y);
          cover.push(part);
        }
      }
    }
    return { dx: Int32Array.from(dx), dy: Int32Array.from(dy), cover, reach };
  }

  // Stamp the points outside the mask (which = 0), in it (1), or all (2).
  stampAll(which, alpha) {
    if (!alpha) return;
    const { x, y, rows } = this.points;
    const { scale, left, base } = this.frame();
    const { width, height, codes, palette, mask } = this;
    const pixels = this.image.data;
    const { dx, dy, cover, reach } = this.disc(this.radius());
    const strength = Int32Array.from(cover, (part) => Math.round(part * alpha * 256));
    const grey = dim();
    for (let i = 0; i < x.length; i++) {
      const row = rows[i];
      if (which !== 2 && mask[row] !== which) continue;
      const px = Math.round(left + scale * x[i]);
      const py = Math.round(base - scale * y[i]);
      if (px < -reach || py < -reach || px >= width + reach || py >= height + reach) continue;
      // Before the colours are known all points are grey.
      const [red, green, blue] = which === 0 || !codes ? grey : palette[codes[row]];
      for (let k = 0; k < dx.length; k++) {
        const [qx, qy] = [px + dx[k], py + dy[k]];
        if (qx < 0 || qy < 0 || qx >= width || qy >= height) continue;
        const at = 4 * (qy * width + qx);
        const part = strength[k];
        pixels[at] += ((red - pixels[at]) * part) >> 8;
        pixels[at + 1] += ((green - pixels[at + 1]) * part) >> 8;
        pixels[at + 2] += ((blue - pixels[at + 2]) * part) >> 8;
      }
    }
  }

  paintOverlay() {
    if (!this.image) return;
    const { top, points, ratio } = this;
    const ink = getComputedStyle(this.canvas).color;
    top.clearRect(0, 0, this.width, this.height);
    top.strokeStyle = ink;
    if (this.few) {
      const radius = this.radius() + 2.5 * ratio;
      for (let i = 0; i < points.x.length; i++) if (this.mask[points.rows[i]]) this.ring(i, radius, 1.2);
    }
    if (this.hovered >= 0) this.ring(this.hovered, this.radius() + 4 * ratio, 2);
    if (!this.path) return;
    top.beginPath();
    for (const [x, y] of this.path) top.lineTo(...this.toScreen(x, y).map((value) => value * ratio));
    top.closePath();
    top.globalAlpha = 0.08;
    top.fillStyle = ink;
    top.fill();
    top.globalAlpha = 1;
    top.lineWidth = 1.5 * ratio;
    top.stroke();
  }

  ring(point, radius, line) {
    const [x, y] = this.toScreen(this.points.x[point], this.points.y[point]).map((value) => value * this.ratio);
    this.top.lineWidth = line * this.ratio;
    this.top.beginPath();
    this.top.arc(x, y, radius, 0, 2 * Math.PI);
    this.top.stroke();
  }
}

// The density picture as ink on the page: where it is bright, the ink is strong.
function tinted(image, ink) {
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const picture = context.getImageData(0, 0, image.width, image.height);
  const [red, green, blue] = ink.match(/\d+/g).map(Number);
  for (let at = 0; at < picture.data.length; at += 4) {
    const dense = picture.data[at];
    picture.data.set([red, green, blue, dense * 0.8], at);
  }
  context.putImageData(picture, 0, 0);
  return canvas;
}

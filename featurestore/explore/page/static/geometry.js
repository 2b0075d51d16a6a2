// Plane geometry of the map: which points lie in a polygon, and which is nearest.

// `polygon` [[x, y], …], `x` and `y` Float32Array -> Uint8Array, 1 inside (even-odd rule).
export function inside(polygon, x, y) {
  const corners = polygon.length;
  const hit = new Uint8Array(x.length);
  const xs = polygon.map((corner) => corner[0]);
  const ys = polygon.map((corner) => corner[1]);
  const [left, right] = [Math.min(...xs), Math.max(...xs)];
  const [bottom, top] = [Math.min(...ys), Math.max(...ys)];
  for (let i = 0; i < x.length; i++) {
    const [px, py] = [x[i], y[i]];
    if (px < left || px > right || py < bottom || py > top) continue;
    let odd = 0;
    for (let a = 0, b = corners - 1; a < corners; b = a++) {
      if (ys[a] > py !== ys[b] > py && px < ((xs[b] - xs[a]) * (py - ys[a])) / (ys[b] - ys[a]) + xs[a]) odd ^= 1;
    }
    hit[i] = odd;
  }
  return hit;
}

// The point nearest to (px, py) within `reach`, or -1; where `mask` (by rows) is given, those in it come first.
export function nearest(points, px, py, reach, mask) {
  const { x, y, rows } = points;
  let [best, bestSelected, least, leastSelected] = [-1, -1, reach * reach, reach * reach];
  for (let i = 0; i < x.length; i++) {
    const [dx, dy] = [x[i] - px, y[i] - py];
    const far = dx * dx + dy * dy;
    if (far < least) [best, least] = [i, far];
    if (mask && far < leastSelected && mask[rows[i]]) [bestSelected, leastSelected] = [i, far];
  }
  return bestSelected >= 0 ? bestSelected : best;
}

// A path with few corners: those that are nearer than `step` to the one before are left out.
export function thinned(path, step) {
  const kept = [path[0]];
  for (const point of path) {
    const last = kept[kept.length - 1];
    if (Math.hypot(point[0] - last[0], point[1] - last[1]) >= step) kept.push(point);
  }
  return kept;
}

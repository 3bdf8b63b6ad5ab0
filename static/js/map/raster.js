// Draws the points of a map into the canvas, without the GPU, so that a map looks the same on a laptop, a remote desktop and
// a server. A million points take about one frame.
//
// Zoomed out, many points share a pixel: the pixel's strength grows with their number, and labeled points are drawn above
// others. Zoomed in, a labeled point is a disc with a rim, an unlabeled point a ring.

export const NOWHERE = 65535;
const GONE = 255; // the color index of rows whose image is missing
export const LABELED = 1; // as in tiles.js; all other states are drawn as unlabeled
const PHASES = 4; // the positions of a disc within its pixel, per axis
const LEVELS = 16; // the number of strengths of a pixel
const LABELED_BIT = 256; // the bit of a style for labeled points; the lower bits are the color index
const STYLE_BITS = 9;

export class Raster {
  #coordinates = new Uint16Array(0);
  #colors = new Uint8Array(0);
  #states = new Uint8Array(0);
  #colorOf = new Uint32Array(256); // packed as in the canvas; 0: hidden
  #background = 0xff000000;
  #strengths = new Uint32Array(LEVELS * 512);
  #cells = new Uint32Array(0);
  #buffer = new Uint32Array(0);
  #image = null;

  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
  }

  // Return a raster of the same points on another canvas, still without a palette.
  on(canvas) {
    const copy = new Raster(canvas);
    copy.setCoordinates(this.#coordinates);
    copy.setColors(this.#colors);
    copy.setStates(this.#states);
    return copy;
  }

  get n() {
    return this.#coordinates.length / 2;
  }

  // `coordinates`: x and y of each row, y upwards, as the server sends them. The array is not copied.
  setCoordinates(coordinates) {
    this.#coordinates = coordinates;
    this.#buffer = new Uint32Array(coordinates.length / 2);
  }

  // One palette index per row. Rows beyond the array are hidden.
  setColors(colors) {
    this.#colors = colors;
  }

  setStates(states) {
    this.#states = states;
  }

  // Set the color and state of one row.
  change(row, color, state) {
    if (row < this.#colors.length) this.#colors[row] = color;
    if (row < this.#states.length) this.#states[row] = state;
  }

  colorOf(row) {
    return this.#colors[row];
  }

  stateOf(row) {
    return this.#states[row];
  }

  pointOf(row) {
    const [x, y] = [this.#coordinates[2 * row], this.#coordinates[2 * row + 1]];
    return row < this.n && !(x === NOWHERE && y === NOWHERE) ? { x, y } : null;
  }

  // Return the color of a row in CSS notation.
  cssColor(row) {
    const color = this.#colorOf[this.#colors[row]];
    return `rgb(${color & 255} ${(color >> 8) & 255} ${(color >> 16) & 255})`;
  }

  // Return {bounds: {left, right, bottom, top}, n} of the points that have coordinates.
  extent() {
    const coordinates = this.#coordinates;
    const bounds = { left: NOWHERE, right: 0, bottom: NOWHERE, top: 0 };
    let n = 0;
    for (let at = 0; at < coordinates.length; at += 2) {
      const [x, y] = [coordinates[at], coordinates[at + 1]];
      if (x === NOWHERE && y === NOWHERE) continue;
      n += 1;
      if (x < bounds.left) bounds.left = x;
      if (x > bounds.right) bounds.right = x;
      if (y < bounds.bottom) bounds.bottom = y;
      if (y > bounds.top) bounds.top = y;
    }
    return { bounds, n };
  }

  // Return the row of the nearest visible point within `radius`, or null.
  nearest({ x, y }, radius) {
    const coordinates = this.#coordinates;
    let [nearest, least] = [null, radius * radius];
    for (const row of this.within(x - radius, x + radius, y - radius, y + radius)) {
      const distance = (coordinates[2 * row] - x) ** 2 + (coordinates[2 * row + 1] - y) ** 2;
      if (distance <= least) [nearest, least] = [row, distance];
    }
    return nearest;
  }

  // Return the rows of all points inside a polygon of [x, y], by the even-odd rule.
  inside(corners) {
    const [xs, ys] = [Float64Array.from(corners, ([x]) => x), Float64Array.from(corners, ([, y]) => y)];
    const rows = this.within(Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys), { includeHidden: true });
    return rows.filter((row) => isInside(xs, ys, this.#coordinates[2 * row], this.#coordinates[2 * row + 1]));
  }

  // `palette`: 256 entries [r, g, b], or null for hidden points; `background`: [r, g, b].
  setPalette(palette, background) {
    this.#background = pack(background);
    palette.forEach((color, i) => { this.#colorOf[i] = color ? pack(color) : 0; });
    for (let level = 0; level < LEVELS; level += 1) {
      const share = level / (LEVELS - 1);
      for (let i = 0; i < 256; i += 1) {
        const color = palette[i] ?? background;
        this.#strengths[level * 512 + i] = pack(mix(background, color, 0.34 + 0.51 * share));
        this.#strengths[level * 512 + LABELED_BIT + i] = pack(mix(background, color, 0.88 + 0.12 * share));
      }
    }
  }

  // Draw a view: {x, y} of its center in map units, `scale` in canvas pixels per map unit, and the `radius` of a point in
  // canvas pixels. Return the number of points in view.
  draw(view) {
    const { width, height } = this.canvas;
    if (!width || !height) return 0;
    if (this.#image?.width !== width || this.#image.height !== height) {
      this.#image = this.context.createImageData(width, height);
      this.#cells = new Uint32Array(width * height);
    }
    const pixels = new Uint32Array(this.#image.data.buffer);
    const n = view.radius < 1 ? this.#count(view, pixels) : this.#stamp(view, pixels);
    this.context.putImageData(this.#image, 0, 0);
    return n;
  }

  // Draw points of one or two pixels by counting: each cell is a pixel and holds the number of points above its style. This
  // loop runs over up to a million points, so it contains no work that can be done before it.
  #count({ x, y, scale, radius }, pixels) {
    const { width, height } = this.canvas;
    const [coordinates, colors, states, cells] = [this.#coordinates, this.#colors, this.#states, this.#cells.fill(0)];
    const isHidden = this.#hiddenColors();
    const size = radius < 0.6 ? 1 : 2;
    const [left, top] = [width / 2 - x * scale - (size - 1) / 2, height / 2 + y * scale - (size - 1) / 2];
    const [right, bottom] = [width - size + 1, height - size + 1];
    const n = Math.min(this.n, colors.length);
    let nVisible = 0;
    for (let row = 0; row < n; row += 1) {
      const mapX = coordinates[2 * row];
      const mapY = coordinates[2 * row + 1];
      const across = left + mapX * scale;
      const down = top - mapY * scale;
      if (across < 0 || down < 0 || across >= right || down >= bottom) continue;
      const color = colors[row];
      if (isHidden[color] || (mapX === NOWHERE && mapY === NOWHERE)) continue;
      nVisible += 1;
      const style = states[row] === LABELED ? LABELED_BIT + color : color;
      const at = (down | 0) * width + (across | 0);
      countHit(cells, at, style);
      if (size === 1) continue;
      countHit(cells, at + 1, style);
      countHit(cells, at + width, style);
      countHit(cells, at + width + 1, style);
    }
    const levels = levelsOf(nVisible / (width * height));
    const [background, strengths] = [this.#background, this.#strengths];
    for (let at = 0; at < cells.length; at += 1) {
      const cell = cells[at];
      pixels[at] = cell === 0 ? background : strengths[levels[Math.min(255, cell >>> STYLE_BITS)] * 512 + (cell & 511)];
    }
    return nVisible;
  }

  // Draw points as shapes: unlabeled points first, labeled points above them.
  #stamp(view, pixels) {
    pixels.fill(this.#background);
    const rows = this.#inView(view);
    const { width } = this.canvas;
    const isBig = view.radius >= 2.25;
    const ring = masksOf(view.radius * 0.86, isBig ? Math.max(1, view.radius * 0.34) : 0);
    const [rim, disc] = [masksOf(view.radius + 1, 0), masksOf(view.radius, 0)];
    const left = width / 2 - view.x * view.scale;
    const top = this.canvas.height / 2 + view.y * view.scale;
    for (const isLabeled of [false, true]) {
      for (const row of rows) {
        if ((this.#states[row] === LABELED) !== isLabeled) continue;
        const across = left + this.#coordinates[2 * row] * view.scale;
        const down = top - this.#coordinates[2 * row + 1] * view.scale;
        const color = this.#colorOf[this.#colors[row]];
        if (isLabeled) {
          this.#print(pixels, rim, across, down, this.#background, 215);
          this.#print(pixels, disc, across, down, color, 256);
        } else {
          this.#print(pixels, ring, across, down, color, isBig ? 225 : 160);
        }
      }
    }
    return rows.length;
  }

  #inView({ x, y, scale, radius }) {
    const [halfWidth, halfHeight] = [(this.canvas.width / 2 + radius) / scale, (this.canvas.height / 2 + radius) / scale];
    return this.within(x - halfWidth, x + halfWidth, y - halfHeight, y + halfHeight);
  }

  // Return the rows of the points in a box, without those that the legend hides unless `includeHidden` is true. The next
  // call reuses the array.
  within(low, high, bottom, top, { includeHidden = false } = {}) {
    const [coordinates, colors, buffer] = [this.#coordinates, this.#colors, this.#buffer];
    const isHidden = includeHidden ? Uint8Array.from({ length: 256 }, (_, i) => Number(i === GONE)) : this.#hiddenColors();
    const n = Math.min(this.n, colors.length);
    let count = 0;
    for (let row = 0; row < n; row += 1) {
      const x = coordinates[2 * row];
      if (x < low || x > high) continue;
      const y = coordinates[2 * row + 1];
      if (y < bottom || y > top || isHidden[colors[row]]) continue;
      if (x === NOWHERE && y === NOWHERE) continue;
      buffer[count] = row;
      count += 1;
    }
    return buffer.subarray(0, count);
  }

  // Return 1 for each palette index that is hidden.
  #hiddenColors() {
    return Uint8Array.from(this.#colorOf, (color) => Number(color === 0));
  }

  // Blend `color` into the pixels through a mask. A `strength` of 256 is opaque.
  #print(pixels, { masks, size }, across, down, color, strength) {
    const { width, height } = this.canvas;
    const [left, top] = [Math.floor(across), Math.floor(down)];
    const phase = ((down - top) * PHASES | 0) * PHASES + ((across - left) * PHASES | 0);
    const mask = masks[phase];
    const half = (size - 1) / 2;
    const [redBlue, green] = [color & 0xff00ff, color & 0x00ff00];
    let m = 0;
    for (let y = top - half; y <= top + half; y += 1) {
      if (y < 0 || y >= height) {
        m += size;
        continue;
      }
      for (let x = left - half; x <= left + half; x += 1, m += 1) {
        const share = (mask[m] * strength) >> 8;
        if (share === 0 || x < 0 || x >= width) continue;
        const at = y * width + x;
        const under = pixels[at];
        const [rb, g] = [under & 0xff00ff, under & 0x00ff00];
        const newRb = (rb + (Math.imul(redBlue - rb, share) >>> 8)) & 0xff00ff;
        const newG = (g + (Math.imul(green - g, share) >>> 8)) & 0x00ff00;
        pixels[at] = 0xff000000 | newRb | newG;
      }
    }
  }
}

// Count another point in a cell. The style of a labeled point takes precedence.
function countHit(cells, at, style) {
  const before = cells[at];
  const newStyle = style >= LABELED_BIT || (before & LABELED_BIT) === 0 ? style : before & 511;
  cells[at] = (((before >>> STYLE_BITS) + 1) << STYLE_BITS) | newStyle;
}

function isInside(xs, ys, x, y) {
  let isIn = false;
  for (let i = 0, j = xs.length - 1; i < xs.length; j = i, i += 1) {
    if (ys[i] > y !== ys[j] > y && x < ((xs[j] - xs[i]) * (y - ys[i])) / (ys[j] - ys[i]) + xs[i]) isIn = !isIn;
  }
  return isIn;
}

function pack([r, g, b]) {
  return (0xff000000 | (b << 16) | (g << 8) | r) >>> 0;
}

function mix(from, to, share) {
  return from.map((channel, i) => Math.round(channel + (to[i] - channel) * share));
}

// Return the strength for each number of points on a pixel. The fuller the view, the more points a strength takes.
function levelsOf(density) {
  const most = Math.min(255, Math.max(4, 24 * density));
  return Uint8Array.from({ length: 256 }, (_, hits) => Math.min(LEVELS - 1, Math.round(((LEVELS - 1) * Math.log(Math.max(1, hits))) / Math.log(most))));
}

// Return how much of each pixel a disc of `radius` covers (256: all), for each position of its center within a pixel. With
// `line`, the disc is a ring of that width.
const maskCache = new Map();
function masksOf(radius, line) {
  const key = `${radius.toFixed(2)}:${line.toFixed(2)}`;
  if (!maskCache.has(key)) {
    if (maskCache.size > 60) maskCache.clear();
    maskCache.set(key, computeMasks(radius, line));
  }
  return maskCache.get(key);
}

function computeMasks(radius, line) {
  const half = Math.ceil(radius + 1);
  const size = 2 * half + 1;
  const masks = [];
  for (let phase = 0; phase < PHASES * PHASES; phase += 1) {
    const centerX = half + ((phase % PHASES) + 0.5) / PHASES;
    const centerY = half + (Math.floor(phase / PHASES) + 0.5) / PHASES;
    masks.push(Uint16Array.from({ length: size * size }, (_, i) => {
      const distance = Math.hypot((i % size) + 0.5 - centerX, Math.floor(i / size) + 0.5 - centerY);
      const inside = clamp(radius + 0.5 - distance);
      return Math.round(256 * (line ? Math.min(inside, clamp(distance - (radius - line) + 0.5)) : inside));
    }));
  }
  return { masks, size };
}

function clamp(share) {
  return Math.max(0, Math.min(1, share));
}

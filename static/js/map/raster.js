// The points of a map as pixels, worked out here and handed to the canvas at once. No GPU is asked for, so that a map looks
// the same on a laptop, a remote desktop and a server without one; a million points take about as long as a frame.
//
// Far out, many points share a pixel: each counts, the pixel is the stronger for it, and a labelled point is above one that
// is not. Closer in, a labelled point is a disc with a rim, one without a label a ring.

export const NOWHERE = 65535;
const GONE = 255; // the colour of a row whose image is gone
export const LABELLED = 1; // as in tiles.js; other states are drawn as not labelled
const PHASES = 4; // a disc's place within its pixel, in quarters
const LEVELS = 16; // how many strengths a pixel has
const LIT = 256; // the bit of a style that says: labelled; the bits below are the colour's index
const STYLE_BITS = 9;

export class Raster {
  #places = new Uint16Array(0);
  #colours = new Uint8Array(0);
  #states = new Uint8Array(0);
  #colourOf = new Uint32Array(256); // packed as the canvas has it; 0: not shown
  #ground = 0xff000000;
  #strengths = new Uint32Array(LEVELS * 512);
  #cells = new Uint32Array(0);
  #near = new Uint32Array(0);
  #image = null;

  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
  }

  get n() {
    return this.#places.length / 2;
  }

  // `places` (x and y of each row, y upwards), as the server gives them; they are kept as they are.
  setPlaces(places) {
    this.#places = places;
    this.#near = new Uint32Array(places.length / 2);
  }

  // A byte a row: the index into the palette. Rows beyond it are not shown.
  setColours(colours) {
    this.#colours = colours;
  }

  setStates(states) {
    this.#states = states;
  }

  // One row's new colour and state.
  change(row, colour, state) {
    if (row < this.#colours.length) this.#colours[row] = colour;
    if (row < this.#states.length) this.#states[row] = state;
  }

  colourOf(row) {
    return this.#colours[row];
  }

  stateOf(row) {
    return this.#states[row];
  }

  placeOf(row) {
    const [x, y] = [this.#places[2 * row], this.#places[2 * row + 1]];
    return row < this.n && !(x === NOWHERE && y === NOWHERE) ? { x, y } : null;
  }

  // The colour of a row as CSS writes it.
  cssColour(row) {
    const colour = this.#colourOf[this.#colours[row]];
    return `rgb(${colour & 255} ${(colour >> 8) & 255} ${(colour >> 16) & 255})`;
  }

  // {bounds: {left, right, bottom, top}, n} of the points that have a place.
  extent() {
    const places = this.#places;
    const bounds = { left: NOWHERE, right: 0, bottom: NOWHERE, top: 0 };
    let n = 0;
    for (let at = 0; at < places.length; at += 2) {
      const [x, y] = [places[at], places[at + 1]];
      if (x === NOWHERE && y === NOWHERE) continue;
      n += 1;
      if (x < bounds.left) bounds.left = x;
      if (x > bounds.right) bounds.right = x;
      if (y < bounds.bottom) bounds.bottom = y;
      if (y > bounds.top) bounds.top = y;
    }
    return { bounds, n };
  }

  // The row of the shown point that is nearest to a place, at most `reach` away; null where there is none.
  nearest({ x, y }, reach) {
    const places = this.#places;
    let [found, least] = [null, reach * reach];
    for (const row of this.within(x - reach, x + reach, y - reach, y + reach)) {
      const away = (places[2 * row] - x) ** 2 + (places[2 * row + 1] - y) ** 2;
      if (away <= least) [found, least] = [row, away];
    }
    return found;
  }

  // Rows of all points within a polygon of [x, y], by the even-odd rule.
  inside(corners) {
    const [xs, ys] = [Float64Array.from(corners, ([x]) => x), Float64Array.from(corners, ([, y]) => y)];
    const near = this.within(Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys), { isAll: true });
    return near.filter((row) => isInside(xs, ys, this.#places[2 * row], this.#places[2 * row + 1]));
  }

  // `palette`: 256 of [r, g, b] or null for what is not shown; `ground`: [r, g, b].
  setPalette(palette, ground) {
    this.#ground = packed(ground);
    palette.forEach((colour, i) => { this.#colourOf[i] = colour ? packed(colour) : 0; });
    for (let level = 0; level < LEVELS; level += 1) {
      const share = level / (LEVELS - 1);
      for (let i = 0; i < 256; i += 1) {
        const colour = palette[i] ?? ground;
        this.#strengths[level * 512 + i] = packed(mixed(ground, colour, 0.34 + 0.51 * share));
        this.#strengths[level * 512 + LIT + i] = packed(mixed(ground, colour, 0.88 + 0.12 * share));
      }
    }
  }

  // Draws what `view` shows: {x, y} of the middle, in the units of the places; `scale`, pixels of the canvas per unit;
  // `radius` of a point in those pixels. Answers how many points are in view.
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

  // Points of one or two pixels' width, counted: a cell a pixel, the hits above its style. One loop over a million points,
  // so it holds nothing that could be worked out before.
  #count({ x, y, scale, radius }, pixels) {
    const { width, height } = this.canvas;
    const [places, colours, states, cells] = [this.#places, this.#colours, this.#states, this.#cells.fill(0)];
    const isOff = this.#off();
    const size = radius < 0.6 ? 1 : 2;
    const [left, top] = [width / 2 - x * scale - (size - 1) / 2, height / 2 + y * scale - (size - 1) / 2];
    const [right, bottom] = [width - size + 1, height - size + 1];
    const n = Math.min(this.n, colours.length);
    let seen = 0;
    for (let row = 0; row < n; row += 1) {
      const placeX = places[2 * row];
      const placeY = places[2 * row + 1];
      const across = left + placeX * scale;
      const down = top - placeY * scale;
      if (across < 0 || down < 0 || across >= right || down >= bottom) continue;
      const colour = colours[row];
      if (isOff[colour] || (placeX === NOWHERE && placeY === NOWHERE)) continue;
      seen += 1;
      const style = states[row] === LABELLED ? LIT + colour : colour;
      const at = (down | 0) * width + (across | 0);
      hit(cells, at, style);
      if (size === 1) continue;
      hit(cells, at + 1, style);
      hit(cells, at + width, style);
      hit(cells, at + width + 1, style);
    }
    const levels = levelsOf(seen / (width * height));
    const [ground, strengths] = [this.#ground, this.#strengths];
    for (let at = 0; at < cells.length; at += 1) {
      const cell = cells[at];
      pixels[at] = cell === 0 ? ground : strengths[levels[Math.min(255, cell >>> STYLE_BITS)] * 512 + (cell & 511)];
    }
    return seen;
  }

  // Points with a shape: first those without a label, the labelled ones above them.
  #stamp(view, pixels) {
    pixels.fill(this.#ground);
    const near = this.#inView(view);
    const { width } = this.canvas;
    const isBig = view.radius >= 2.25;
    const ring = masksOf(view.radius * 0.86, isBig ? Math.max(1, view.radius * 0.34) : 0);
    const [rim, disc] = [masksOf(view.radius + 1, 0), masksOf(view.radius, 0)];
    const left = width / 2 - view.x * view.scale;
    const top = this.canvas.height / 2 + view.y * view.scale;
    for (const isLit of [false, true]) {
      for (const row of near) {
        if ((this.#states[row] === LABELLED) !== isLit) continue;
        const across = left + this.#places[2 * row] * view.scale;
        const down = top - this.#places[2 * row + 1] * view.scale;
        const colour = this.#colourOf[this.#colours[row]];
        if (isLit) {
          this.#print(pixels, rim, across, down, this.#ground, 215);
          this.#print(pixels, disc, across, down, colour, 256);
        } else {
          this.#print(pixels, ring, across, down, colour, isBig ? 225 : 160);
        }
      }
    }
    return near.length;
  }

  #inView({ x, y, scale, radius }) {
    const [halfWide, halfHigh] = [(this.canvas.width / 2 + radius) / scale, (this.canvas.height / 2 + radius) / scale];
    return this.within(x - halfWide, x + halfWide, y - halfHigh, y + halfHigh);
  }

  // The rows of the points that are shown in a box, or also of those that the legend hides; the array is used again by
  // the next call.
  within(low, high, bottom, top, { isAll = false } = {}) {
    const [places, colours, near] = [this.#places, this.#colours, this.#near];
    const isOff = isAll ? Uint8Array.from({ length: 256 }, (_, i) => Number(i === GONE)) : this.#off();
    const n = Math.min(this.n, colours.length);
    let found = 0;
    for (let row = 0; row < n; row += 1) {
      const x = places[2 * row];
      if (x < low || x > high) continue;
      const y = places[2 * row + 1];
      if (y < bottom || y > top || isOff[colours[row]]) continue;
      if (x === NOWHERE && y === NOWHERE) continue;
      near[found] = row;
      found += 1;
    }
    return near.subarray(0, found);
  }

  // 1 for each index of the palette that is not shown.
  #off() {
    return Uint8Array.from(this.#colourOf, (colour) => Number(colour === 0));
  }

  // Lays `colour` through a mask onto the pixels; `strength` of 256 is opaque.
  #print(pixels, { masks, size }, across, down, colour, strength) {
    const { width, height } = this.canvas;
    const [left, top] = [Math.floor(across), Math.floor(down)];
    const phase = ((down - top) * PHASES | 0) * PHASES + ((across - left) * PHASES | 0);
    const mask = masks[phase];
    const half = (size - 1) / 2;
    const [redBlue, green] = [colour & 0xff00ff, colour & 0x00ff00];
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

// Another point in a cell, which keeps the style of a labelled one.
function hit(cells, at, style) {
  const before = cells[at];
  const kept = style >= LIT || (before & LIT) === 0 ? style : before & 511;
  cells[at] = (((before >>> STYLE_BITS) + 1) << STYLE_BITS) | kept;
}

function isInside(xs, ys, x, y) {
  let isIn = false;
  for (let i = 0, j = xs.length - 1; i < xs.length; j = i, i += 1) {
    if (ys[i] > y !== ys[j] > y && x < ((xs[j] - xs[i]) * (y - ys[i])) / (ys[j] - ys[i]) + xs[i]) isIn = !isIn;
  }
  return isIn;
}

function packed([r, g, b]) {
  return (0xff000000 | (b << 16) | (g << 8) | r) >>> 0;
}

function mixed(from, to, share) {
  return from.map((one, i) => Math.round(one + (to[i] - one) * share));
}

// Which strength so many points on a pixel have: the fuller the view, the more it takes.
function levelsOf(filled) {
  const most = Math.min(255, Math.max(4, 24 * filled));
  return Uint8Array.from({ length: 256 }, (_, hits) => Math.min(LEVELS - 1, Math.round(((LEVELS - 1) * Math.log(Math.max(1, hits))) / Math.log(most))));
}

// How much of each pixel a disc of `radius` covers (256: all), for each place of its middle within a pixel; with `line`, only
// a ring of that width.
const known = new Map();
function masksOf(radius, line) {
  const key = `${radius.toFixed(2)}:${line.toFixed(2)}`;
  if (!known.has(key)) {
    if (known.size > 60) known.clear();
    known.set(key, madeMasks(radius, line));
  }
  return known.get(key);
}

function madeMasks(radius, line) {
  const half = Math.ceil(radius + 1);
  const size = 2 * half + 1;
  const masks = [];
  for (let phase = 0; phase < PHASES * PHASES; phase += 1) {
    const middleX = half + ((phase % PHASES) + 0.5) / PHASES;
    const middleY = half + (Math.floor(phase / PHASES) + 0.5) / PHASES;
    masks.push(Uint16Array.from({ length: size * size }, (_, i) => {
      const away = Math.hypot((i % size) + 0.5 - middleX, Math.floor(i / size) + 0.5 - middleY);
      const inside = clamped(radius + 0.5 - away);
      return Math.round(256 * (line ? Math.min(inside, clamped(away - (radius - line) + 0.5)) : inside));
    }));
  }
  return { masks, size };
}

function clamped(share) {
  return Math.max(0, Math.min(1, share));
}

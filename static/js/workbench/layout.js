// The number of tiles that fit on the screen at the size that the person chose. Pages are requested with that many.
import { framesInTile } from "../frames.js";
import { classes } from "./classes.js";
import { recall, remember } from "../store.js";

const SIZES = [52, 64, 80, 100, 124, 152, 184, 224, 272, 340]; // target width of a tile's image, in CSS pixels
const DEFAULT_SIZE = 124;
const MAX_TILES = 200;
const BESIDE_NAME = 84; // CSS pixels in a tile's strip for the color, key and probability of the suggested class
const USUAL_NAME = 64; // CSS pixels of a class name, for the time before there are classes
const SMALL_CHANGE = 0.3; // of the stage's height, for which a page keeps its layout

export class Layout {
  #laidOut = new WeakMap(); // grid -> its layout and what it was made for

  constructor(stage) {
    this.stage = stage;
    this.hasBar = false; // whether a sweep's bar is above the tiles
    const target = recall("tile-size", DEFAULT_SIZE);
    this.step = Math.max(0, SIZES.findIndex((size) => size >= target));
  }

  // Return {columns, rows, n, isDense, isTall} that fill the stage with tiles of about the target size.
  fit() {
    const target = SIZES[this.step];
    const isDense = target < 100;
    const gap = isDense ? 4 : 8;
    // With frames side by side, a tile is larger than with one image, but each frame is a little smaller.
    const { across, lines } = framesInTile();
    const side = target * (across * lines) ** -0.25;
    const isTall = !isDense && widestName() > side * across - BESIDE_NAME;
    const strip = isDense ? 18 : isTall ? 38 : 24;
    const width = Math.max(1, this.stage.clientWidth - gap);
    const height = Math.max(1, this.stage.clientHeight - gap - (this.hasBar ? this.#barHeight() : 0));
    let columns = Math.max(across > 1 ? 1 : 2, Math.round(width / (side * across + gap)));
    let rows = Math.max(1, Math.round(height / (side * lines + strip + gap)));
    const space = { width, height, gap, strip, side, across, lines };
    ({ columns, rows } = bestFit(nearbyLayouts(columns, rows, across), space));
    while (columns * rows > MAX_TILES) {
      if (columns > rows) columns -= 1;
      else rows -= 1;
    }
    return { columns, rows, n: columns * rows, isDense, isTall };
  }

  // Lay out a page. The number of columns stays while the side pane opens and closes. The number of rows and the height of
  // the captions stay while the introduction is closed, a text below the tiles takes another line, or classes are added.
  apply(grid) {
    const fit = this.#kept(grid) ?? this.fit();
    this.#remember(grid, fit);
    grid.style.setProperty("--columns", fit.columns);
    grid.style.setProperty("--rows", fit.rows);
    grid.classList.toggle("dense", fit.isDense);
    grid.classList.toggle("tall", fit.isTall);
    grid.dataset.columns = fit.columns;
    return fit;
  }

  #remember(grid, fit) {
    const height = this.#laidOut.get(grid)?.fit === fit ? this.#laidOut.get(grid).height : this.stage.clientHeight;
    this.#laidOut.set(grid, { fit, height, width: this.stage.clientWidth, shape: this.#shape() });
  }

  // Return the page's layout if it was made for tiles of this size and a stage of about this size; else null.
  #kept(grid) {
    const last = this.#laidOut.get(grid);
    if (!last || last.shape !== this.#shape() || last.width !== this.stage.clientWidth) return null;
    return Math.abs(this.stage.clientHeight - last.height) < SMALL_CHANGE * last.height ? last.fit : null;
  }

  #shape() {
    const { across, lines } = framesInTile();
    return `${this.step} ${across} ${lines} ${this.hasBar}`;
  }

  #barHeight() {
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize) || 16;
    return (parseFloat(getComputedStyle(this.stage).getPropertyValue("--bar-height")) || 0) * rem;
  }

  // Change the tile size by one step up (+1) or down (-1). Return false at an end.
  resize(by) {
    const step = Math.max(0, Math.min(SIZES.length - 1, this.step + by));
    if (step === this.step) return false;
    this.step = step;
    remember("tile-size", SIZES[step]);
    return true;
  }
}

// Return the layouts with up to one more or fewer columns and rows.
function nearbyLayouts(columns, rows, across) {
  const nearby = (n, least) => [n, n - 1, n + 1].filter((candidate) => candidate >= least);
  return nearby(columns, across > 1 ? 1 : 2).flatMap((c) => nearby(rows, 1).map((r) => ({ columns: c, rows: r })));
}

// Return the layout whose frames, taken as square, fill their tiles best at about the target size.
function bestFit(layouts, { width, height, gap, strip, side, across, lines }) {
  const score = ({ columns, rows }) => {
    const w = width / columns - gap;
    const h = height / rows - gap - strip;
    const frame = Math.min(w / across, h / lines);
    if (frame <= 0) return 0;
    return ((frame * frame * across * lines) / (w * h)) * Math.min(frame / side, side / frame);
  };
  return layouts.reduce((best, layout) => (score(layout) > score(best) ? layout : best));
}

// Return the width in CSS pixels of the longest class name in a tile's strip; names that are wider than the space take two
// lines.
const pen = document.createElement("canvas").getContext("2d");
const widths = new Map();
function widestName() {
  pen.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  const widthOf = (name) => {
    if (!widths.has(name)) widths.set(name, pen.measureText(name).width);
    return widths.get(name);
  };
  const names = classes.all().map(({ name }) => widthOf(name));
  return names.length ? Math.max(...names) : USUAL_NAME;
}

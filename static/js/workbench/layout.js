// How many tiles fit: the page is asked for as many as the screen shows at the size that the person chose.
import { framesInTile } from "../frames.js";
import { recall, remember } from "../store.js";

const SIZES = [52, 64, 80, 100, 124, 152, 184, 224, 272, 340]; // wished width of a tile's image, CSS pixels
const USUAL = 124;
const MOST = 200;
const BAR = 3.5; // rem, as in sweep.css

export class Layout {
  constructor(stage) {
    this.stage = stage;
    this.hasBar = false; // a sweep's bar above the tiles takes its share of the height
    const wished = recall("tile-size", USUAL);
    this.step = Math.max(0, SIZES.findIndex((size) => size >= wished));
  }

  // {columns, rows, n, isDense} that fill the stage as it is now with tiles of about the wished size.
  fit() {
    const wished = SIZES[this.step];
    const isDense = wished < 100;
    const gap = isDense ? 4 : 8;
    const strip = isDense ? 18 : 24;
    // Frames side by side make a tile wider: each of them a little smaller than one image, all of them larger.
    const { across, lines } = framesInTile();
    const side = wished * (across * lines) ** -0.25;
    const width = Math.max(1, this.stage.clientWidth - gap);
    const height = Math.max(1, this.stage.clientHeight - gap - (this.hasBar ? BAR * remPixels() : 0));
    let columns = Math.max(across > 1 ? 1 : 2, Math.round(width / (side * across + gap)));
    let rows = Math.max(1, Math.round(height / (side * lines + strip + gap)));
    if (across * lines > 1) {
      const room = { width, height, gap, strip, side, across, lines };
      ({ columns, rows } = fullest(neighbours(columns, rows, across), room));
    }
    while (columns * rows > MOST) {
      if (columns > rows) columns -= 1;
      else rows -= 1;
    }
    return { columns, rows, n: columns * rows, isDense };
  }

  // Lays a page out. The columns stay as they are while the side pane opens and closes.
  apply(grid) {
    const fit = this.fit();
    grid.style.setProperty("--columns", fit.columns);
    grid.style.setProperty("--rows", fit.rows);
    grid.classList.toggle("dense", fit.isDense);
    grid.dataset.columns = fit.columns;
    return fit;
  }

  // One size up (+1) or down (-1); false at an end.
  resize(by) {
    const step = Math.max(0, Math.min(SIZES.length - 1, this.step + by));
    if (step === this.step) return false;
    this.step = step;
    remember("tile-size", SIZES[step]);
    return true;
  }
}

// One more and one less of each.
function neighbours(columns, rows, across) {
  const near = (n, least) => [n, n - 1, n + 1].filter((one) => one >= least);
  return near(columns, across > 1 ? 1 : 2).flatMap((c) => near(rows, 1).map((r) => ({ columns: c, rows: r })));
}

// Of these the one whose frames (square, as most are) fill their tiles best at about the wished size.
function fullest(choices, { width, height, gap, strip, side, across, lines }) {
  const worth = ({ columns, rows }) => {
    const w = width / columns - gap;
    const h = height / rows - gap - strip;
    const frame = Math.min(w / across, h / lines);
    if (frame <= 0) return 0;
    return ((frame * frame * across * lines) / (w * h)) * Math.min(frame / side, side / frame);
  };
  return choices.reduce((best, one) => (worth(one) > worth(best) ? one : best));
}

function remPixels() {
  return parseFloat(getComputedStyle(document.documentElement).fontSize) || 16;
}

// Draws the map as it is on the screen for print: on white, with title, captions and legend.
import { Camera } from "./camera.js";
import { placeCaptions, widthOf, wrapped } from "./captions.js";
import { FONT } from "./paper.js";
import { LABELED } from "./raster.js";

export const MAX_VECTOR_POINTS = 5000; // with more points in view, an SVG has an embedded image of them
export const PIXELS = 3; // per unit, of a PNG and of an embedded image: 300 per inch at 20 cm
const WIDTH = 800; // of the plot
const EDGE = 24;
const [TITLE, TEXT, CAPTION] = [20, 12, 12]; // font sizes
const LINE = 18;
const INK = { text: "#1a1a1a", muted: "#555555", line: "#8a8a8a", gap: "#8a5200", none: "#9a9a9a", paper: "#ffffff", region: "#0b57d0" };
const [WHITE, GRAY] = [[255, 255, 255], [154, 154, 154]]; // INK.paper and INK.none

// Return the parts of a picture: its size, texts, and legend. `facts`: lines under the title.
export function layOut({ camera, title, facts, legend }) {
  const plot = { left: EDGE, width: WIDTH, height: (WIDTH * camera.height) / camera.width };
  const lines = facts.flatMap((fact) => wrapped(fact, fontOf(TEXT), WIDTH));
  plot.top = EDGE + TITLE + LINE * lines.length + 14;
  const entries = flow(legend, plot.top + plot.height + 2 * LINE);
  const height = (entries.at(-1)?.top ?? plot.top + plot.height + LINE) + LINE + EDGE - 6;
  return { title, lines, plot, entries, legend, width: WIDTH + 2 * EDGE, height };
}

// Draw on `paper`. Points are drawn one by one if `isVector` is true and there are few, otherwise as an image.
export async function drawPicture(paper, layout, { camera, raster, points, marks, isVector }) {
  const { title, lines, plot, width, height } = layout;
  paper.rect({ left: 0, top: 0, width, height, fill: INK.paper });
  paper.text({ left: EDGE, top: EDGE + TITLE - 4, text: wrapped(title, fontOf(TITLE, 600), WIDTH).join(" "), size: TITLE, weight: 600, fill: INK.text });
  lines.forEach((text, i) => paper.text({ left: EDGE, top: EDGE + TITLE + LINE * (i + 1) - 2, text, size: TEXT, fill: INK.muted }));
  const view = viewOf(camera, plot);
  await paper.clipped(plot, async () => {
    await drawPoints(paper, plot, view, { raster, points, isVector });
    drawOutlines(paper, plot, view, marks);
    drawCaptions(paper, plot, view, marks);
  });
  paper.rect({ ...plot, stroke: INK.line });
  drawLegend(paper, layout);
}

// Return a camera on the same part of the map for the plot.
function viewOf(camera, plot) {
  const { x, y, bounds, n } = camera;
  const factor = plot.width / camera.width;
  const view = Object.assign(new Camera(), { width: plot.width, height: plot.height, x, y, bounds, n, scale: camera.scale * factor });
  return { camera: view, radius: camera.radius * factor };
}

async function drawPoints(paper, plot, { camera, radius }, { raster, points, isVector }) {
  const canvas = new OffscreenCanvas(Math.round(plot.width * PIXELS), Math.round(plot.height * PIXELS));
  const copy = raster.on(canvas);
  const palette = points.palette(GRAY);
  copy.setPalette(palette, WHITE);
  const [low, high] = [camera.toMap({ left: 0, top: camera.height }), camera.toMap({ left: camera.width, top: 0 })];
  const rows = isVector ? copy.within(low.x, high.x, low.y, high.y) : [];
  if (isVector && rows.length <= MAX_VECTOR_POINTS) return drawCircles(paper, plot, { camera, radius }, copy, rows);
  copy.draw({ x: camera.x, y: camera.y, scale: camera.scale * PIXELS, radius: radius * PIXELS });
  await paper.image({ ...plot, canvas });
}

// Unlabeled points are rings; labeled points are discs above them, as on the screen.
function drawCircles(paper, plot, { camera, radius }, raster, rows) {
  for (const isLabeled of [false, true]) {
    for (const row of rows) {
      if ((raster.stateOf(row) === LABELED) !== isLabeled) continue;
      const at = camera.toScreen(raster.pointOf(row));
      const [position, color] = [{ left: plot.left + at.left, top: plot.top + at.top }, raster.cssColor(row)];
      if (isLabeled) paper.circle({ ...position, radius, fill: color, stroke: INK.paper, line: 0.6 });
      else paper.circle({ ...position, radius: radius * 0.8, stroke: color, line: Math.max(0.5, radius * 0.34) });
    }
  }
}

function drawOutlines(paper, plot, { camera }, marks) {
  const cornersOf = (outline) => outline.map(([x, y]) => camera.toScreen({ x, y })).map(({ left, top }) => ({ left: plot.left + left, top: plot.top + top }));
  for (const { outline, isGap } of marks.clusters) paper.polygon({ corners: cornersOf(outline), stroke: isGap ? INK.gap : INK.line, dash: isGap ? [5, 3] : null });
  if (marks.region) paper.polygon({ corners: cornersOf(marks.region), stroke: INK.region, line: 2 });
}

function drawCaptions(paper, plot, { camera }, marks) {
  const captions = marks.clusters.map(({ title, facts, isGap, bounds }) => {
    const lines = [...wrapped(title, fontOf(CAPTION, 600)).map((text) => ({ text, weight: 600 })), ...wrapped(facts, fontOf(CAPTION)).map((text) => ({ text, weight: 400 }))];
    const [first, last] = [camera.toScreen({ x: bounds.left, y: bounds.top }), camera.toScreen({ x: bounds.right, y: bounds.bottom })];
    return {
      lines, isGap,
      width: 6 + Math.max(...lines.map(({ text, weight }) => widthOf(text, fontOf(CAPTION, weight)))),
      height: CAPTION * 1.2 * lines.length + 3,
      around: { left: first.left, right: last.left, top: first.top, bottom: last.top },
    };
  });
  placeCaptions(captions, plot).forEach((box, i) => {
    if (!box) return;
    captions[i].lines.forEach(({ text, weight }, line) => paper.text({
      left: plot.left + (box.left + box.right) / 2, top: plot.top + box.top + CAPTION * (1.2 * line + 1), text, weight,
      size: CAPTION, fill: captions[i].isGap ? INK.gap : INK.text, anchor: "middle", halo: INK.paper,
    }));
  });
}

function drawLegend(paper, { plot, entries, legend }) {
  const top = plot.top + plot.height + LINE;
  paper.text({ left: EDGE, top, text: legend.title, size: TEXT, weight: 600, fill: INK.text });
  drawSigns(paper, plot.left + plot.width, top);
  for (const { left, top: baseline, text, color } of entries) {
    paper.circle({ left: left + 5, top: baseline - 4, radius: 5, fill: color ?? INK.none, stroke: INK.muted, line: 0.5 });
    paper.text({ left: left + 15, top: baseline, text, size: TEXT, fill: INK.text });
  }
}

// The signs of labeled and unlabeled points, at the right.
function drawSigns(paper, right, top) {
  let left = right;
  for (const [text, isDisc] of [["unlabeled", false], ["labeled", true]]) {
    left -= widthOf(text, fontOf(TEXT)) + 4;
    paper.text({ left, top, text, size: TEXT, fill: INK.muted });
    left -= 10;
    paper.circle({ left, top: top - 4, radius: 4, ...(isDisc ? { fill: INK.muted } : { stroke: INK.muted, line: 1.5 }) });
    left -= 16;
  }
}

// Return the entries of a legend with their places, in lines from `top` on.
function flow(legend, top) {
  let [left, line] = [EDGE, 0];
  return legend.entries.map(({ name, count, color }) => {
    const [text] = wrapped(`${name}  ${count}`, fontOf(TEXT), WIDTH - 20);
    const width = widthOf(text, fontOf(TEXT)) * 1.05 + 34;
    if (left > EDGE && left + width > EDGE + WIDTH) [left, line] = [EDGE, line + 1];
    const entry = { left, top: top + line * LINE, text, color };
    left += width;
    return entry;
  });
}

function fontOf(size, weight = 400) {
  return `${weight} ${size}px ${FONT}`;
}

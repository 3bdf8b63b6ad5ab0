// The overlays of the map: outlines of clusters and gaps with captions, the region, rings, the crosshair, thumbnails.
import { candidates, isApart, placeCaptions, widthOf, wrapped } from "./captions.js";

const SVG = "http://www.w3.org/2000/svg";
const THUMB = 40; // px
const MAX_THUMBS = 200;
const THUMB_AREA = 1500; // px² of the map for each point in view; with less, thumbnails would hide the points
const LINE_HEIGHT = 1.2; // of captions, relative to the font size
const TITLE_WEIGHT = 600; // as in map.css

export class Marks {
  #clusters = [];
  #highlighted = null; // the id of a cluster
  #thumbs = new Map(); // row -> {image, point}
  #dots = []; // points of the images in the grid
  #hovered = null;
  #focused = null;
  #region = null;
  #crosshair = null;
  #drawing = [];

  constructor({ view, camera }) {
    this.camera = camera;
    this.svg = view.querySelector("#map-marks");
    this.thumbs = view.querySelector("#map-thumbs");
    this.part = Object.fromEntries([...this.svg.querySelectorAll("[data-part]")].map((node) => [node.dataset.part, node]));
    this.hatch = this.svg.querySelector("pattern");
  }

  get region() {
    return this.#region;
  }

  // `clusters`: [{id, outline: [[x, y], …], title and facts (of the caption), isGap}], the most important first.
  setClusters(clusters) {
    const { fontFamily, fontSize } = getComputedStyle(this.svg);
    const [size, fonts] = [parseFloat(fontSize), { title: `${TITLE_WEIGHT} ${fontSize} ${fontFamily}`, facts: `${fontSize} ${fontFamily}` }];
    this.#clusters = clusters.map((cluster) => {
      const outline = svgElement("path", { d: pathOf(cluster.outline), class: cluster.isGap ? "cluster gap" : "cluster", "data-cluster": cluster.id });
      const lines = linesOf(cluster, fonts);
      const caption = svgElement("text", { class: cluster.isGap ? "caption gap" : "caption", "data-cluster": cluster.id });
      caption.append(...lines.map(({ text, isTitle }, i) => {
        const line = svgElement("tspan", { x: 0, y: size * (LINE_HEIGHT * i + 1), class: isTitle ? "title" : "facts" });
        line.textContent = text;
        return line;
      }));
      const width = 4 + Math.max(...lines.map(({ text, isTitle }) => widthOf(text, isTitle ? fonts.title : fonts.facts)));
      return { ...cluster, caption, width, height: size * LINE_HEIGHT * lines.length + 2, path: outline, bounds: boundsOf(cluster.outline) };
    });
    this.part.clusters.replaceChildren(...this.#clusters.map(({ path }) => path));
    this.part.captions.replaceChildren(...this.#clusters.map(({ caption }) => caption));
    this.draw();
  }

  // Highlight the outline of a cluster and show its caption; null for none.
  highlight(id) {
    this.#highlighted = id;
    for (const { path, id: clusterId } of this.#clusters) path.classList.toggle("highlighted", clusterId === id);
    this.#drawCaptions();
  }

  // The clusters and gaps as set, the most important first.
  get clusters() {
    return this.#clusters;
  }

  setRegion(corners) {
    this.#region = corners;
    this.draw();
  }

  // Show the polygon being drawn, given by its corners on the screen.
  setDrawing(positions) {
    this.#drawing = positions;
    this.part.drawing.setAttribute("d", positions.length ? `M${positions.map(({ left, top }) => `${left} ${top}`).join("L")}Z` : "");
  }

  setDots(points) {
    this.#dots = points;
    this.draw();
  }

  setHovered(point) {
    this.#hovered = point;
    this.draw();
  }

  setFocused(point) {
    this.#focused = point;
    this.draw();
  }

  // {left, top, radius} on the screen, or null.
  setCrosshair(crosshair) {
    this.#crosshair = crosshair;
    this.draw();
  }

  draw() {
    const { camera, part } = this;
    const { left, top } = camera.toScreen({ x: 0, y: 0 });
    part.world.setAttribute("transform", `translate(${left} ${top}) scale(${camera.scale} ${-camera.scale})`);
    this.hatch.setAttribute("patternTransform", `scale(${1 / camera.scale}) rotate(45)`);
    part.region.setAttribute("d", this.#region ? pathOf(this.#region) : "");
    part.shade.setAttribute("d", this.#region ? `M-1e6 -1e6H1e6V1e6H-1e6Z${pathOf(this.#region)}` : "");
    part.dots.setAttribute("d", this.#dots.map((point) => ring(camera.toScreen(point), camera.radius + 2.5)).join(""));
    part.focused.setAttribute("d", this.#focused ? ring(camera.toScreen(this.#focused), camera.radius + 6) : "");
    part.hovered.setAttribute("d", this.#hovered ? ring(camera.toScreen(this.#hovered), camera.radius + 4) : "");
    part.crosshair.setAttribute("d", this.#crosshair ? crosshairPath(this.#crosshair) : "");
    this.#drawCaptions();
    this.#drawThumbs();
  }

  // Hide the captions for which there is no room.
  #drawCaptions() {
    const { camera } = this;
    const captions = this.#clusters.map(({ width, height, bounds }) => ({ width, height, around: screenBox(bounds, camera) }));
    const boxes = placeCaptions(captions, { width: camera.width, height: camera.height, obstacles: this.#obstacles() });
    this.#showHighlighted(captions, boxes);
    boxes.forEach((box, i) => {
      const { caption } = this.#clusters[i];
      caption.style.display = box ? "" : "none";
      if (box) caption.setAttribute("transform", `translate(${(box.left + box.right) / 2} ${box.top})`);
    });
  }

  // The caption of the highlighted cluster is shown in place of those that it would cover.
  #showHighlighted(captions, boxes) {
    const at = this.#clusters.findIndex(({ id }) => id === this.#highlighted);
    if (at < 0 || boxes[at]) return;
    const [best] = candidates(captions[at], this.camera);
    if (!best) return;
    boxes.forEach((box, i) => { if (box && !isApart(box, best)) boxes[i] = null; });
    boxes[at] = best;
  }

  // Return the boxes of the notices and thumbnails on the map, which captions must not cover.
  #obstacles() {
    const view = this.svg.getBoundingClientRect();
    const thumbs = [...this.#thumbs.values()].map(({ point }) => this.#thumbBox(point));
    const notices = [...this.svg.parentElement.querySelectorAll(".map-region:not([hidden]), .map-quick")].map((notice) => {
      const { left, right, top, bottom } = notice.getBoundingClientRect();
      return { left: left - view.left, right: right - view.left, top: top - view.top, bottom: bottom - view.top };
    });
    return [...notices, ...thumbs];
  }

  #thumbBox(point) {
    const { left, top } = this.camera.toScreen(point);
    return { left: left - THUMB / 2, right: left + THUMB / 2, top: top - THUMB / 2, bottom: top + THUMB / 2 };
  }

  // With more points in view, no thumbnails are shown.
  get maxThumbs() {
    return Math.min(MAX_THUMBS, Math.floor((this.camera.width * this.camera.height) / THUMB_AREA));
  }

  // Show thumbnails on `points`, [{row, point}], leaving out those that would overlap. `load(rows)` resolves to URLs by row,
  // or null if the view moved on.
  async showThumbs(points, load, colorOf) {
    if (points.length > this.maxThumbs || !points.length) return this.hideThumbs();
    const taken = [];
    const free = points.filter(({ point }) => {
      const box = this.#thumbBox(point);
      return taken.every((other) => isApart(box, other)) && taken.push(box);
    });
    const rows = free.map(({ row }) => row).filter((row) => !this.#thumbs.has(row));
    const urls = rows.length ? await load(rows) : {};
    if (urls === null) return;
    const thumbs = new Map();
    for (const { row, point } of free) {
      const image = this.#thumbs.get(row)?.image ?? thumbImage(urls[row]);
      if (!image) continue;
      image.style.setProperty("--c", colorOf(row));
      thumbs.set(row, { image, point });
    }
    this.#thumbs = thumbs;
    this.thumbs.replaceChildren(...[...thumbs.values()].map(({ image }) => image));
    this.#drawThumbs();
    this.#drawCaptions();
  }

  hideThumbs() {
    if (!this.#thumbs.size) return;
    this.#thumbs.clear();
    this.thumbs.replaceChildren();
    this.#drawCaptions();
  }

  #drawThumbs() {
    for (const { image, point } of this.#thumbs.values()) {
      const { left, top } = this.#thumbBox(point);
      image.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
    }
  }
}

function svgElement(name, attributes) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

function thumbImage(url) {
  if (!url) return null;
  const image = new Image(THUMB, THUMB);
  image.src = url;
  image.alt = "";
  image.draggable = false;
  return image;
}

function pathOf(corners) {
  return `M${corners.map(([x, y]) => `${x} ${y}`).join("L")}Z`;
}

function ring({ left, top }, radius) {
  return `M${left - radius} ${top}a${radius} ${radius} 0 1 0 ${2 * radius} 0a${radius} ${radius} 0 1 0 ${-2 * radius} 0Z`;
}

function crosshairPath({ left, top, radius }) {
  return `${ring({ left, top }, radius)}M${left - 7} ${top}h14M${left} ${top - 7}v14`;
}

function linesOf({ title, facts }, fonts) {
  return [...wrapped(title, fonts.title).map((text) => ({ text, isTitle: true })), ...wrapped(facts, fonts.facts).map((text) => ({ text, isTitle: false }))];
}

function boundsOf(corners) {
  const [xs, ys] = [corners.map(([x]) => x), corners.map(([, y]) => y)];
  return { left: Math.min(...xs), right: Math.max(...xs), bottom: Math.min(...ys), top: Math.max(...ys) };
}

// Convert bounds on the map, y upwards, to a box on the screen.
function screenBox({ left, right, bottom, top }, camera) {
  const [first, last] = [camera.toScreen({ x: left, y: top }), camera.toScreen({ x: right, y: bottom })];
  return { left: first.left, right: last.left, top: first.top, bottom: last.top };
}

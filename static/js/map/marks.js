// The overlays of the map: outlines of clusters and gaps with captions, the region, rings, the crosshair, thumbnails.
const SVG = "http://www.w3.org/2000/svg";
const THUMB = 40; // px
const MAX_THUMBS = 200; // with more points in view, thumbnails would hide each other

export class Marks {
  #clusters = [];
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

  // `clusters`: [{id, outline: [[x, y], …], lines (of the caption), isGap}], the most important first.
  setClusters(clusters) {
    this.#clusters = clusters.map((cluster) => {
      const outline = svgElement("path", { d: pathOf(cluster.outline), class: cluster.isGap ? "cluster gap" : "cluster", "data-cluster": cluster.id });
      const caption = svgElement("text", { class: cluster.isGap ? "caption gap" : "caption", "data-cluster": cluster.id });
      cluster.lines.forEach((text, i) => {
        const line = svgElement("tspan", { x: 0, dy: i ? "1.15em" : 0 });
        line.textContent = text;
        caption.append(line);
      });
      return { ...cluster, outline, caption, top: topOf(cluster.outline) };
    });
    this.part.clusters.replaceChildren(...this.#clusters.map(({ outline }) => outline));
    this.part.captions.replaceChildren(...this.#clusters.map(({ caption }) => caption));
    this.draw();
  }

  // Highlight the outline of a cluster; null for none.
  highlight(id) {
    for (const { outline, id: clusterId } of this.#clusters) outline.classList.toggle("highlighted", clusterId === id);
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

  // Hide each caption that would overlap a more important one.
  #drawCaptions() {
    const taken = [];
    for (const { caption, top, lines } of this.#clusters) {
      const anchor = this.camera.toScreen(top);
      const width = 4 + 6.6 * Math.max(...lines.map((line) => line.length));
      const height = 15 * lines.length;
      const left = Math.max(width / 2, Math.min(this.camera.width - width / 2, anchor.left));
      const box = { left: left - width / 2, right: left + width / 2, top: anchor.top - height, bottom: anchor.top };
      if (box.top < 0 && box.bottom > 0) [box.top, box.bottom] = [2, 2 + height];
      const isFree = box.bottom > 0 && box.top < this.camera.height && anchor.left > -width && anchor.left < this.camera.width + width && taken.every((other) => isApart(box, other));
      caption.style.display = isFree ? "" : "none";
      if (!isFree) continue;
      taken.push(box);
      caption.setAttribute("transform", `translate(${left} ${box.top + 11})`);
    }
  }

  // Show thumbnails on `points`, [{row, point}], leaving out those that would overlap. `load(rows)` resolves to URLs by row,
  // or null if the view moved on.
  async showThumbs(points, load, colorOf) {
    if (points.length > MAX_THUMBS || !points.length) return this.hideThumbs();
    const taken = [];
    const free = points.filter(({ point }) => {
      const { left, top } = this.camera.toScreen(point);
      const box = { left: left - THUMB / 2, right: left + THUMB / 2, top: top - THUMB / 2, bottom: top + THUMB / 2 };
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
  }

  hideThumbs() {
    this.#thumbs.clear();
    this.thumbs.replaceChildren();
  }

  #drawThumbs() {
    for (const { image, point } of this.#thumbs.values()) {
      const { left, top } = this.camera.toScreen(point);
      image.style.transform = `translate(${Math.round(left - THUMB / 2)}px, ${Math.round(top - THUMB / 2)}px)`;
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

// Return where a cluster's caption goes: above its highest corner.
function topOf(corners) {
  const [, y] = corners.reduce((best, corner) => (corner[1] > best[1] ? corner : best));
  const xs = corners.map(([x]) => x);
  return { x: (Math.min(...xs) + Math.max(...xs)) / 2, y };
}

function isApart(a, b) {
  return a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
}

// What lies over the points: outlines of clusters and gaps with their words, the region, rings, the cross, thumbnails.
const SVG = "http://www.w3.org/2000/svg";
const THUMB = 40; // px
const MOST_THUMBS = 200; // points in view; with more, thumbnails would hide each other

export class Marks {
  #clusters = [];
  #thumbs = new Map(); // row -> {image, place}
  #dots = []; // places of the images in the grid
  #hovered = null;
  #focused = null;
  #region = null;
  #cross = null;
  #drawing = [];

  constructor({ view, camera }) {
    this.camera = camera;
    this.svg = view.querySelector("#map-marks");
    this.thumbs = view.querySelector("#map-thumbs");
    this.part = Object.fromEntries([...this.svg.querySelectorAll("[data-part]")].map((node) => [node.dataset.part, node]));
    this.hatch = this.svg.querySelector("pattern");
  }

  // `clusters`: [{id, outline: [[x, y], …], words: lines of a caption, isGap}], the most important first.
  setClusters(clusters) {
    this.#clusters = clusters.map((one) => {
      const outline = made("path", { d: pathOf(one.outline), class: one.isGap ? "cluster gap" : "cluster", "data-cluster": one.id });
      const caption = made("text", { class: one.isGap ? "caption gap" : "caption", "data-cluster": one.id });
      one.words.forEach((words, i) => {
        const line = made("tspan", { x: 0, dy: i ? "1.15em" : 0 });
        line.textContent = words;
        caption.append(line);
      });
      return { ...one, outline, caption, top: topOf(one.outline) };
    });
    this.part.clusters.replaceChildren(...this.#clusters.map(({ outline }) => outline));
    this.part.captions.replaceChildren(...this.#clusters.map(({ caption }) => caption));
    this.draw();
  }

  // The outline of a cluster that is pointed at or focused in the list; null for none.
  light(id) {
    for (const one of this.#clusters) one.outline.classList.toggle("lit", one.id === id);
  }

  setRegion(corners) {
    this.#region = corners;
    this.draw();
  }

  // What is being drawn: corners on the screen.
  setDrawing(spots) {
    this.#drawing = spots;
    this.part.drawing.setAttribute("d", spots.length ? `M${spots.map(({ left, top }) => `${left} ${top}`).join("L")}Z` : "");
  }

  setDots(places) {
    this.#dots = places;
    this.draw();
  }

  setHovered(place) {
    this.#hovered = place;
    this.draw();
  }

  setFocused(place) {
    this.#focused = place;
    this.draw();
  }

  // {left, top, radius} on the screen, or null.
  setCross(cross) {
    this.#cross = cross;
    this.draw();
  }

  draw() {
    const { camera, part } = this;
    const { left, top } = camera.toScreen({ x: 0, y: 0 });
    part.world.setAttribute("transform", `translate(${left} ${top}) scale(${camera.scale} ${-camera.scale})`);
    this.hatch.setAttribute("patternTransform", `scale(${1 / camera.scale}) rotate(45)`);
    part.region.setAttribute("d", this.#region ? pathOf(this.#region) : "");
    part.shade.setAttribute("d", this.#region ? `M-1e6 -1e6H1e6V1e6H-1e6Z${pathOf(this.#region)}` : "");
    part.dots.setAttribute("d", this.#dots.map((place) => ring(camera.toScreen(place), camera.radius + 2.5)).join(""));
    part.focused.setAttribute("d", this.#focused ? ring(camera.toScreen(this.#focused), camera.radius + 6) : "");
    part.hovered.setAttribute("d", this.#hovered ? ring(camera.toScreen(this.#hovered), camera.radius + 4) : "");
    part.cross.setAttribute("d", this.#cross ? crossed(this.#cross) : "");
    this.#drawCaptions();
    this.#drawThumbs();
  }

  // A caption that would lie on another one waits until there is room.
  #drawCaptions() {
    const taken = [];
    for (const { caption, top, words } of this.#clusters) {
      const spot = this.camera.toScreen(top);
      const wide = 4 + 6.6 * Math.max(...words.map((one) => one.length));
      const high = 15 * words.length;
      const left = Math.max(wide / 2, Math.min(this.camera.width - wide / 2, spot.left));
      const box = { left: left - wide / 2, right: left + wide / 2, top: spot.top - high, bottom: spot.top };
      if (box.top < 0 && box.bottom > 0) [box.top, box.bottom] = [2, 2 + high];
      const isFree = box.bottom > 0 && box.top < this.camera.height && spot.left > -wide && spot.left < this.camera.width + wide && taken.every((other) => isApart(box, other));
      caption.style.display = isFree ? "" : "none";
      if (!isFree) continue;
      taken.push(box);
      caption.setAttribute("transform", `translate(${left} ${box.top + 11})`);
    }
  }

  // At rest: thumbnails on their points, none on another. `found`: [{row, place}]; `ask(rows)` gives addresses by row.
  async showThumbs(found, ask, colourOf) {
    if (found.length > MOST_THUMBS || !found.length) return this.hideThumbs();
    const taken = [];
    const free = found.filter(({ place }) => {
      const { left, top } = this.camera.toScreen(place);
      const box = { left: left - THUMB / 2, right: left + THUMB / 2, top: top - THUMB / 2, bottom: top + THUMB / 2 };
      return taken.every((other) => isApart(box, other)) && taken.push(box);
    });
    const rows = free.map(({ row }) => row).filter((row) => !this.#thumbs.has(row));
    const addresses = rows.length ? await ask(rows) : {};
    if (addresses === null) return; // the view moved on meanwhile
    const kept = new Map();
    for (const { row, place } of free) {
      const image = this.#thumbs.get(row)?.image ?? pictured(addresses[row]);
      if (!image) continue;
      image.style.setProperty("--c", colourOf(row));
      kept.set(row, { image, place });
    }
    this.#thumbs = kept;
    this.thumbs.replaceChildren(...[...kept.values()].map(({ image }) => image));
    this.#drawThumbs();
  }

  hideThumbs() {
    this.#thumbs.clear();
    this.thumbs.replaceChildren();
  }

  #drawThumbs() {
    for (const { image, place } of this.#thumbs.values()) {
      const { left, top } = this.camera.toScreen(place);
      image.style.transform = `translate(${Math.round(left - THUMB / 2)}px, ${Math.round(top - THUMB / 2)}px)`;
    }
  }
}

function made(name, attributes) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

function pictured(address) {
  if (!address) return null;
  const image = new Image(THUMB, THUMB);
  image.src = address;
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

function crossed({ left, top, radius }) {
  return `${ring({ left, top }, radius)}M${left - 7} ${top}h14M${left} ${top - 7}v14`;
}

// Where a cluster's words go: above its highest corner.
function topOf(corners) {
  const [, y] = corners.reduce((best, corner) => (corner[1] > best[1] ? corner : best));
  const xs = corners.map(([x]) => x);
  return { x: (Math.min(...xs) + Math.max(...xs)) / 2, y };
}

function isApart(one, other) {
  return one.right <= other.left || other.right <= one.left || one.bottom <= other.top || other.bottom <= one.top;
}

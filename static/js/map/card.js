// The card of one point: its picture, file name, label or suggestion, and cluster. It appears after a short delay beside the
// point and never covers the pointer.
const DELAY = 150; // ms
const MAX_CARDS = 200; // in memory
const REACH = 14; // px around the pointer and the point that the card leaves free
const EDGE = 4; // px to the edge of the map

export class Card {
  #html = new Map(); // row -> the card's HTML
  #timer = null;
  #row = null;
  #isPinned = false;
  #pointer = null;

  // `element`: of the card; `load(row)` resolves to its HTML or null; `clusterOf(row)` returns {text, show()} or null;
  // `pointOf(row)` returns the point on the map; `onMark(point)` is called with the marked point or null.
  constructor({ element, camera, load, clusterOf, pointOf, onMark }) {
    Object.assign(this, { element, camera, load, clusterOf, pointOf, onMark });
  }

  get row() {
    return this.#row;
  }

  get isPinned() {
    return this.#isPinned;
  }

  // Mark the point of a row and show its card; null for none. `pointer` is where the mouse, finger or crosshair is. With `pin`,
  // both stay until another point is marked.
  mark(row, { pin = false, pointer = null } = {}) {
    this.#pointer = pointer;
    if (row === this.#row && pin === this.#isPinned) return this.place();
    this.#row = row;
    this.#isPinned = pin;
    this.onMark(row === null ? null : this.pointOf(row));
    this.element.hidden = true;
    clearTimeout(this.#timer);
    if (row !== null) this.#timer = setTimeout(() => this.#show(row), pin ? 0 : DELAY);
  }

  // Keep the card off a pointer that moves while the card is shown.
  avoid(pointer) {
    this.#pointer = pointer;
    this.place();
  }

  hide() {
    this.mark(null);
  }

  async #show(row) {
    if (!this.#html.has(row)) {
      const html = await this.load(row);
      if (html === null) return;
      if (this.#html.size >= MAX_CARDS) this.#html.clear();
      this.#html.set(row, html);
    }
    if (row !== this.#row) return;
    this.element.innerHTML = this.#html.get(row);
    this.#addCluster(row);
    this.element.hidden = false;
    this.place();
  }

  #addCluster(row) {
    const cluster = this.clusterOf(row);
    if (!cluster) return;
    const line = document.createElement("p");
    line.className = "in-cluster";
    line.textContent = cluster.text;
    this.element.firstElementChild?.append(line);
    if (!this.#isPinned) return;
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "link", textContent: "Show its images" });
    button.addEventListener("click", () => { this.hide(); cluster.show(); });
    line.append(" ", button);
  }

  // Place the card beside the point, where it covers neither the point nor the pointer.
  place() {
    if (this.element.hidden) return;
    const at = this.camera.toScreen(this.pointOf(this.#row));
    const { width, height } = this.element.getBoundingClientRect();
    const { left, top } = placeCard({ width, height }, this.camera, [at, this.#pointer ?? at]);
    this.element.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  }
}

// Return {left, top} of a card of a size in a view, beside the first of `spots` and REACH away from all; in a view without such
// a place, the corner farthest from the last of them.
export function placeCard({ width, height }, view, spots) {
  const [right, bottom] = [Math.max(EDGE, view.width - width - EDGE), Math.max(EDGE, view.height - height - EDGE)];
  const within = ({ left, top }) => ({ left: Math.max(EDGE, Math.min(right, left)), top: Math.max(EDGE, Math.min(bottom, top)) });
  const isFree = ({ left, top }) => spots.every((spot) => spot.left + REACH <= left || spot.left - REACH >= left + width || spot.top + REACH <= top || spot.top - REACH >= top + height);
  const [low, high] = [(name) => Math.min(...spots.map((spot) => spot[name])) - REACH, (name) => Math.max(...spots.map((spot) => spot[name])) + REACH];
  const [at, pointer] = [spots[0], spots.at(-1)];
  const beside = [
    { left: high("left"), top: at.top - height / 2 }, { left: low("left") - width, top: at.top - height / 2 },
    { left: at.left - width / 2, top: high("top") }, { left: at.left - width / 2, top: low("top") - height },
  ].map(within);
  return beside.find(isFree) ?? { left: pointer.left < view.width / 2 ? right : EDGE, top: pointer.top < view.height / 2 ? bottom : EDGE };
}

// What part of the map the pane shows. Places are in the units of the server's points (0 to 65534, y upwards), the screen is
// in CSS pixels of the pane (y downwards).
const EDGE = 28; // pixels left free around everything
const CLOSEST = 4; // pixels per unit
const FILLED = 0.07; // the share of the pane that all points together may cover at first
const [SMALLEST, LARGEST] = [0.3, 7]; // a point's radius
const FLIGHT = 110; // ms

export class Camera extends EventTarget {
  #flight = null;

  constructor() {
    super();
    Object.assign(this, { width: 1, height: 1, x: 32767, y: 32767, scale: 0.01, bounds: { left: 0, right: 65534, bottom: 0, top: 65534 }, n: 1 });
  }

  // The pane's size; what was in its middle stays there.
  resize(width, height) {
    if (width === this.width && height === this.height) return;
    const isAll = this.isAll;
    Object.assign(this, { width: Math.max(1, width), height: Math.max(1, height) });
    if (isAll) this.#set(this.#all());
    else this.#moved();
  }

  // What there is to show: its box and how many points.
  setBounds(bounds, n) {
    Object.assign(this, { bounds, n: Math.max(1, n) });
    this.#set(this.#all());
  }

  get isAll() {
    const all = this.#all();
    return Math.abs(this.scale / all.scale - 1) < 0.01 && Math.abs(this.x - all.x) * this.scale < 2 && Math.abs(this.y - all.y) * this.scale < 2;
  }

  // How much closer the map is than when all of it is shown: 1 for all.
  get closeness() {
    return this.scale / this.#all().scale;
  }

  // A point's radius: as large as the pane has room for, growing as one comes closer.
  get radius() {
    const first = Math.min(5, Math.sqrt((this.width * this.height * FILLED) / (this.n * Math.PI)));
    const closer = Math.max(1, this.scale / this.#all().scale) ** 0.8;
    return Math.max(SMALLEST, Math.min(LARGEST, first * closer));
  }

  toScreen({ x, y }) {
    return { left: this.width / 2 + (x - this.x) * this.scale, top: this.height / 2 - (y - this.y) * this.scale };
  }

  toPlace({ left, top }) {
    return { x: this.x + (left - this.width / 2) / this.scale, y: this.y - (top - this.height / 2) / this.scale };
  }

  pan(across, down) {
    this.#set({ x: this.x - across / this.scale, y: this.y + down / this.scale, scale: this.scale });
  }

  // Closer (factor above 1) or farther, while the place at `spot` stays where it is.
  zoom(factor, spot = { left: this.width / 2, top: this.height / 2 }) {
    const scale = Math.max(this.#all().scale / 2, Math.min(CLOSEST, this.scale * factor));
    const fixed = this.toPlace(spot);
    this.#set({ x: fixed.x - (spot.left - this.width / 2) / scale, y: fixed.y + (spot.top - this.height / 2) / scale, scale });
  }

  showAll() {
    this.#fly(this.#all());
  }

  // The place comes to the middle, at least `closer` times as large as when all is shown.
  show({ x, y }, closer = 1) {
    this.#fly({ x, y, scale: Math.max(this.scale, this.#all().scale * closer) });
  }

  #all() {
    const { left, right, bottom, top } = this.bounds;
    const wide = (this.width - 2 * EDGE) / Math.max(1, right - left);
    const high = (this.height - 2 * EDGE) / Math.max(1, top - bottom);
    return { x: (left + right) / 2, y: (bottom + top) / 2, scale: Math.max(1e-4, Math.min(CLOSEST, wide, high)) };
  }

  #set(view) {
    cancelAnimationFrame(this.#flight);
    this.#flight = null;
    Object.assign(this, view);
    this.#moved();
  }

  #fly(view) {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return this.#set(view);
    cancelAnimationFrame(this.#flight);
    const from = { x: this.x, y: this.y, scale: this.scale };
    const began = performance.now();
    const step = (now) => {
      const share = Math.min(1, Math.max(0, now - began) / FLIGHT);
      const eased = 1 - (1 - share) ** 3;
      this.x = from.x + (view.x - from.x) * eased;
      this.y = from.y + (view.y - from.y) * eased;
      this.scale = from.scale * (view.scale / from.scale) ** eased;
      this.#moved();
      this.#flight = share < 1 ? requestAnimationFrame(step) : null;
    };
    this.#flight = requestAnimationFrame(step);
  }

  #moved() {
    this.dispatchEvent(new CustomEvent("moved"));
  }
}

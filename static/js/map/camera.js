// The visible part of the map. Map coordinates are those of the server's points (0 to 65534, y upwards); screen coordinates
// are CSS pixels of the pane (y downwards).
const EDGE = 28; // free pixels around the points
const MAX_SCALE = 4; // pixels per map unit
const COVERAGE = 0.07; // the share of the pane that all points cover when the map fits
const [MIN_RADIUS, MAX_RADIUS] = [0.3, 7]; // of a point, in pixels
const ANIMATION = 110; // ms

export class Camera extends EventTarget {
  #animation = null;

  constructor() {
    super();
    Object.assign(this, { width: 1, height: 1, x: 32767, y: 32767, scale: 0.01, bounds: { left: 0, right: 65534, bottom: 0, top: 65534 }, n: 1 });
  }

  // Set the size of the pane, keeping its center in place.
  resize(width, height) {
    if (width === this.width && height === this.height) return;
    const isFitted = this.isFitted;
    Object.assign(this, { width: Math.max(1, width), height: Math.max(1, height) });
    if (isFitted) this.#set(this.#fitted());
    else this.#notify();
  }

  // Set the bounding box of the points and their number, and fit the map.
  setBounds(bounds, n) {
    Object.assign(this, { bounds, n: Math.max(1, n) });
    this.#set(this.#fitted());
  }

  get isFitted() {
    const fitted = this.#fitted();
    return Math.abs(this.scale / fitted.scale - 1) < 0.01 && Math.abs(this.x - fitted.x) * this.scale < 2 && Math.abs(this.y - fitted.y) * this.scale < 2;
  }

  // The scale relative to the fitted map.
  get zoomFactor() {
    return this.scale / this.#fitted().scale;
  }

  // The radius of a point in pixels. It depends on the number of points and grows with the zoom.
  get radius() {
    const fittedRadius = Math.min(5, Math.sqrt((this.width * this.height * COVERAGE) / (this.n * Math.PI)));
    const growth = Math.max(1, this.zoomFactor) ** 0.8;
    return Math.max(MIN_RADIUS, Math.min(MAX_RADIUS, fittedRadius * growth));
  }

  toScreen({ x, y }) {
    return { left: this.width / 2 + (x - this.x) * this.scale, top: this.height / 2 - (y - this.y) * this.scale };
  }

  toMap({ left, top }) {
    return { x: this.x + (left - this.width / 2) / this.scale, y: this.y - (top - this.height / 2) / this.scale };
  }

  pan(across, down) {
    this.#set({ x: this.x - across / this.scale, y: this.y + down / this.scale, scale: this.scale });
  }

  // Zoom in (factor above 1) or out, keeping the point at `position` in place.
  zoom(factor, position = { left: this.width / 2, top: this.height / 2 }) {
    const scale = Math.max(this.#fitted().scale / 2, Math.min(MAX_SCALE, this.scale * factor));
    const fixed = this.toMap(position);
    this.#set({ x: fixed.x - (position.left - this.width / 2) / scale, y: fixed.y + (position.top - this.height / 2) / scale, scale });
  }

  fit() {
    this.#animate(this.#fitted());
  }

  // Center a point of the map, at a zoom factor of at least `factor`.
  show({ x, y }, factor = 1) {
    this.#animate({ x, y, scale: Math.max(this.scale, this.#fitted().scale * factor) });
  }

  #fitted() {
    const { left, right, bottom, top } = this.bounds;
    const horizontal = (this.width - 2 * EDGE) / Math.max(1, right - left);
    const vertical = (this.height - 2 * EDGE) / Math.max(1, top - bottom);
    return { x: (left + right) / 2, y: (bottom + top) / 2, scale: Math.max(1e-4, Math.min(MAX_SCALE, horizontal, vertical)) };
  }

  #set(view) {
    cancelAnimationFrame(this.#animation);
    this.#animation = null;
    Object.assign(this, view);
    this.#notify();
  }

  #animate(view) {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return this.#set(view);
    cancelAnimationFrame(this.#animation);
    const from = { x: this.x, y: this.y, scale: this.scale };
    const start = performance.now();
    const step = (now) => {
      const share = Math.min(1, Math.max(0, now - start) / ANIMATION);
      const eased = 1 - (1 - share) ** 3;
      this.x = from.x + (view.x - from.x) * eased;
      this.y = from.y + (view.y - from.y) * eased;
      this.scale = from.scale * (view.scale / from.scale) ** eased;
      this.#notify();
      this.#animation = share < 1 ? requestAnimationFrame(step) : null;
    };
    this.#animation = requestAnimationFrame(step);
  }

  #notify() {
    this.dispatchEvent(new CustomEvent("moved"));
  }
}

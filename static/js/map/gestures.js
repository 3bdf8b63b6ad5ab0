// Mouse, touch and keyboard input on the map, dispatched as events with these details:
// "hover" position or null, "click" position, "draw" and "drawn" positions, "crosshair" {left, top, radius} or null, "select", "leave".
import { keyOf } from "../keys.js";

const CLICK_TOLERANCE = 4; // px
const ZOOM_STEP = 1.6; // per key press
const STEP = 24; // px per arrow key, four times as far with Shift
const [MIN_RADIUS, MAX_RADIUS] = [8, 400]; // of the crosshair's circle, in px
const OVERLAYS = ".map-card, .map-region, .map-quick"; // elements on the map that handle their own clicks
const LASSO_STEP = 3; // px between the corners of a lasso

export class Gestures extends EventTarget {
  #pointers = new Map(); // id of a pressed pointer -> its position
  #start = null;
  #drawn = [];
  #isDrawing = false;
  #crosshair = null;
  #pinchDistance = 0;

  constructor({ view, camera }) {
    super();
    Object.assign(this, { view, camera, tool: "move" });
    view.addEventListener("pointerdown", (event) => this.#handleDown(event));
    view.addEventListener("pointermove", (event) => this.#handleMove(event));
    view.addEventListener("pointerup", (event) => this.#handleUp(event));
    view.addEventListener("pointercancel", (event) => this.#handleUp(event, { isCancelled: true }));
    view.addEventListener("pointerleave", () => this.#emit("hover", null));
    view.addEventListener("wheel", (event) => this.#handleWheel(event), { passive: false });
    view.addEventListener("dblclick", (event) => { if (!event.target.closest(`${OVERLAYS}, [data-cluster]`)) this.camera.zoom(2, this.#position(event)); });
    view.addEventListener("keydown", (event) => this.#handleKey(event));
    view.addEventListener("blur", () => this.#setCrosshair(null));
  }

  get crosshair() {
    return this.#crosshair;
  }

  // -- Mouse and touch
  #handleDown(event) {
    if (event.button !== 0 || event.target.closest(OVERLAYS)) return;
    const position = this.#position(event);
    this.#pointers.set(event.pointerId, position);
    this.#setCrosshair(null);
    if (this.#pointers.size > 1) {
      this.#endDrawing();
      this.#pinchDistance = this.#pointerDistance();
      return;
    }
    this.#start = { ...position, target: event.target };
    this.#isDrawing = false;
    this.#drawn = [];
  }

  #handleMove(event) {
    const position = this.#position(event);
    const before = this.#pointers.get(event.pointerId);
    if (!before) return this.#emit("hover", event.target.closest(OVERLAYS) ? null : { ...position, target: event.target });
    this.#pointers.set(event.pointerId, position);
    if (this.#pointers.size > 1) return this.#pinch();
    if (!this.#start) return;
    const isFar = Math.hypot(position.left - this.#start.left, position.top - this.#start.top) >= CLICK_TOLERANCE;
    const tool = this.#isDrawing || this.tool !== "move" ? this.tool : event.shiftKey ? "lasso" : "move";
    if (!isFar && !this.#start.isFar) return;
    if (!this.#start.isFar) {
      this.#start.isFar = true;
      this.#start.tool = tool;
      this.view.setPointerCapture(event.pointerId);
      this.#emit("hover", null);
    }
    if (this.#start.tool === "move") return this.camera.pan(position.left - before.left, position.top - before.top);
    this.#isDrawing = true;
    if (this.#start.tool === "box") this.#drawn = boxCorners(this.#start, position);
    else if (!this.#drawn.length || Math.hypot(position.left - this.#drawn.at(-1).left, position.top - this.#drawn.at(-1).top) >= LASSO_STEP) this.#drawn.push(position);
    this.#emit("draw", this.#drawn);
  }

  #handleUp(event, { isCancelled = false } = {}) {
    if (!this.#pointers.delete(event.pointerId)) return;
    const [start, drawn] = [this.#start, this.#drawn];
    const wasDrawing = this.#isDrawing;
    this.#endDrawing();
    if (isCancelled || !start) return;
    if (wasDrawing) this.#emit("drawn", drawn);
    else if (!start.isFar) this.#emit("click", { ...this.#position(event), target: start.target, isTouch: event.pointerType === "touch" });
  }

  // Discard the drawing. Return whether there was one.
  #endDrawing() {
    const wasDrawing = this.#isDrawing;
    this.#isDrawing = false;
    this.#drawn = [];
    this.#start = null;
    this.#emit("draw", []);
    return wasDrawing;
  }

  #pointerDistance() {
    const [first, second] = [...this.#pointers.values()];
    return Math.max(1, Math.hypot(first.left - second.left, first.top - second.top));
  }

  #pinch() {
    const [first, second] = [...this.#pointers.values()];
    const distance = this.#pointerDistance();
    this.camera.zoom(distance / this.#pinchDistance, { left: (first.left + second.left) / 2, top: (first.top + second.top) / 2 });
    this.#pinchDistance = distance;
  }

  #handleWheel(event) {
    if (event.target.closest(OVERLAYS)) return;
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY / 100 : event.deltaY / 3;
    this.camera.zoom(1.25 ** -Math.max(-3, Math.min(3, lines)), this.#position(event));
  }

  // -- Keys, while the map has the focus
  #handleKey(event) {
    if (event.target !== this.view || event.ctrlKey || event.metaKey || event.altKey) return;
    const isHandled = this.#runCommand(event);
    if (isHandled) event.preventDefault();
  }

  #runCommand(event) {
    const { shiftKey } = event;
    const key = keyOf(event);
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (key in arrows) return this.#step(...arrows[key].map((direction) => direction * STEP * (shiftKey ? 4 : 1)));
    const center = this.#crosshair ?? undefined;
    switch (key) {
      case "+": case "=": this.camera.zoom(ZOOM_STEP, center); break;
      case "-": case "_": this.camera.zoom(1 / ZOOM_STEP, center); break;
      case "Home": this.camera.fit(); break;
      case "[": this.#resizeCircle(1 / 1.25); break;
      case "]": this.#resizeCircle(1.25); break;
      case "Enter": case " ": if (this.#crosshair) this.#emit("select"); else this.#step(0, 0); break;
      case "Escape": if (!this.#endDrawing()) this.#emit("leave"); break;
      default: return false;
    }
    return true;
  }

  // Move the crosshair. At the edge of the pane, move the map instead.
  #step(across, down) {
    const { width, height } = this.camera;
    const from = this.#crosshair ?? { left: width / 2, top: height / 2, radius: 40 };
    const to = { left: from.left + across, top: from.top + down };
    const [left, top] = [Math.max(32, Math.min(width - 32, to.left)), Math.max(32, Math.min(height - 32, to.top))];
    if (left !== to.left || top !== to.top) this.camera.pan(left - to.left, top - to.top);
    this.#setCrosshair({ left, top, radius: from.radius });
    return true;
  }

  #resizeCircle(factor) {
    const from = this.#crosshair ?? { left: this.camera.width / 2, top: this.camera.height / 2, radius: 40 };
    this.#setCrosshair({ ...from, radius: Math.max(MIN_RADIUS, Math.min(MAX_RADIUS, from.radius * factor)) });
  }

  #setCrosshair(crosshair) {
    if (crosshair === null && this.#crosshair === null) return;
    this.#crosshair = crosshair;
    this.#emit("crosshair", crosshair);
  }

  #position(event) {
    const box = this.view.getBoundingClientRect();
    return { left: event.clientX - box.left, top: event.clientY - box.top };
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

// Return the corners of a polygon around a circle, so that it can be a region.
export function circleCorners({ left, top, radius }) {
  return Array.from({ length: 24 }, (_, i) => {
    const angle = (i / 24) * 2 * Math.PI;
    return { left: left + radius * Math.cos(angle), top: top + radius * Math.sin(angle) };
  });
}

function boxCorners(from, to) {
  return [from, { left: to.left, top: from.top }, to, { left: from.left, top: to.top }].map(({ left, top }) => ({ left, top }));
}

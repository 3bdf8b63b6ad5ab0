// Hands on the map: the mouse, fingers and the keyboard, told as events.
// "hover" {spot | null}, "point" {spot}, "draw" {spots}, "drawn" {spots}, "cross" {left, top, radius} | null, "take", "leave".
import { keyOf } from "../keys.js";

const STILL = 4; // px: less is a click
const CLOSER = 1.6; // by a key or a button
const STEP = 24; // px by an arrow key, four times as far with Shift
const [NARROWEST, WIDEST] = [8, 400]; // the cross's circle
const AWAY = ".map-card, .map-region, .map-quick"; // what lies on the map and has clicks of its own
const FINEST = 3; // px between the corners of a lasso

export class Hand extends EventTarget {
  #fingers = new Map(); // pointers that are down, by id: where they are
  #began = null;
  #drawn = [];
  #isDrawing = false;
  #cross = null;
  #pinched = 0;

  constructor({ view, camera }) {
    super();
    Object.assign(this, { view, camera, tool: "move" });
    view.addEventListener("pointerdown", (event) => this.#down(event));
    view.addEventListener("pointermove", (event) => this.#moved(event));
    view.addEventListener("pointerup", (event) => this.#up(event));
    view.addEventListener("pointercancel", (event) => this.#up(event, { isOff: true }));
    view.addEventListener("pointerleave", () => this.#tell("hover", null));
    view.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    view.addEventListener("dblclick", (event) => { if (!event.target.closest(`${AWAY}, [data-cluster]`)) this.camera.zoom(2, this.#spot(event)); });
    view.addEventListener("keydown", (event) => this.#key(event));
    view.addEventListener("blur", () => this.#setCross(null));
  }

  get cross() {
    return this.#cross;
  }

  // -- Mouse and fingers
  #down(event) {
    if (event.button !== 0 || event.target.closest(AWAY)) return;
    const spot = this.#spot(event);
    this.#fingers.set(event.pointerId, spot);
    this.#setCross(null);
    if (this.#fingers.size > 1) {
      this.#endDrawing();
      this.#pinched = this.#spread();
      return;
    }
    this.#began = { ...spot, target: event.target };
    this.#isDrawing = false;
    this.#drawn = [];
  }

  #moved(event) {
    const spot = this.#spot(event);
    const before = this.#fingers.get(event.pointerId);
    if (!before) return this.#tell("hover", event.target.closest(AWAY) ? null : { ...spot, target: event.target });
    this.#fingers.set(event.pointerId, spot);
    if (this.#fingers.size > 1) return this.#pinch();
    if (!this.#began) return;
    const isFar = Math.hypot(spot.left - this.#began.left, spot.top - this.#began.top) >= STILL;
    const tool = this.#isDrawing || this.tool !== "move" ? this.tool : event.shiftKey ? "lasso" : "move";
    if (!isFar && !this.#began.isFar) return;
    if (!this.#began.isFar) {
      this.#began.isFar = true;
      this.#began.tool = tool;
      this.view.setPointerCapture(event.pointerId);
      this.#tell("hover", null);
    }
    if (this.#began.tool === "move") return this.camera.pan(spot.left - before.left, spot.top - before.top);
    this.#isDrawing = true;
    if (this.#began.tool === "box") this.#drawn = boxed(this.#began, spot);
    else if (!this.#drawn.length || Math.hypot(spot.left - this.#drawn.at(-1).left, spot.top - this.#drawn.at(-1).top) >= FINEST) this.#drawn.push(spot);
    this.#tell("draw", this.#drawn);
  }

  #up(event, { isOff = false } = {}) {
    if (!this.#fingers.delete(event.pointerId)) return;
    const [began, drawn] = [this.#began, this.#drawn];
    const wasDrawing = this.#isDrawing;
    this.#endDrawing();
    if (isOff || !began) return;
    if (wasDrawing) this.#tell("drawn", drawn);
    else if (!began.isFar) this.#tell("point", { ...this.#spot(event), target: began.target });
  }

  // Takes back what is being drawn; true when there was something.
  #endDrawing() {
    const had = this.#isDrawing;
    this.#isDrawing = false;
    this.#drawn = [];
    this.#began = null;
    this.#tell("draw", []);
    return had;
  }

  #spread() {
    const [one, other] = [...this.#fingers.values()];
    return Math.max(1, Math.hypot(one.left - other.left, one.top - other.top));
  }

  #pinch() {
    const [one, other] = [...this.#fingers.values()];
    const spread = this.#spread();
    this.camera.zoom(spread / this.#pinched, { left: (one.left + other.left) / 2, top: (one.top + other.top) / 2 });
    this.#pinched = spread;
  }

  #wheel(event) {
    if (event.target.closest(AWAY)) return;
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY / 100 : event.deltaY / 3;
    this.camera.zoom(1.25 ** -Math.max(-3, Math.min(3, lines)), this.#spot(event));
  }

  // -- Keys, while the map has the focus
  #key(event) {
    if (event.target !== this.view || event.ctrlKey || event.metaKey || event.altKey) return;
    const done = this.#command(event);
    if (done) event.preventDefault();
  }

  #command(event) {
    const { shiftKey } = event;
    const key = keyOf(event);
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (key in arrows) return this.#step(...arrows[key].map((one) => one * STEP * (shiftKey ? 4 : 1)));
    const middle = this.#cross ?? undefined;
    switch (key) {
      case "+": case "=": this.camera.zoom(CLOSER, middle); break;
      case "-": case "_": this.camera.zoom(1 / CLOSER, middle); break;
      case "Home": this.camera.showAll(); break;
      case "[": this.#widen(1 / 1.25); break;
      case "]": this.#widen(1.25); break;
      case "Enter": case " ": if (this.#cross) this.#tell("take"); else this.#step(0, 0); break;
      case "Escape": if (!this.#endDrawing()) this.#tell("leave"); break;
      default: return false;
    }
    return true;
  }

  // The cross goes on; at the edge the map moves under it.
  #step(across, down) {
    const { width, height } = this.camera;
    const from = this.#cross ?? { left: width / 2, top: height / 2, radius: 40 };
    const to = { left: from.left + across, top: from.top + down };
    const [left, top] = [Math.max(32, Math.min(width - 32, to.left)), Math.max(32, Math.min(height - 32, to.top))];
    if (left !== to.left || top !== to.top) this.camera.pan(left - to.left, top - to.top);
    this.#setCross({ left, top, radius: from.radius });
    return true;
  }

  #widen(factor) {
    const from = this.#cross ?? { left: this.camera.width / 2, top: this.camera.height / 2, radius: 40 };
    this.#setCross({ ...from, radius: Math.max(NARROWEST, Math.min(WIDEST, from.radius * factor)) });
  }

  #setCross(cross) {
    if (cross === null && this.#cross === null) return;
    this.#cross = cross;
    this.#tell("cross", cross);
  }

  #spot(event) {
    const box = this.view.getBoundingClientRect();
    return { left: event.clientX - box.left, top: event.clientY - box.top };
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

// A circle as corners, so that it can be a region.
export function circled({ left, top, radius }) {
  return Array.from({ length: 24 }, (_, i) => {
    const angle = (i / 24) * 2 * Math.PI;
    return { left: left + radius * Math.cos(angle), top: top + radius * Math.sin(angle) };
  });
}

function boxed(one, other) {
  return [one, { left: other.left, top: one.top }, other, { left: one.left, top: other.top }].map(({ left, top }) => ({ left, top }));
}

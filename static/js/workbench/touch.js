// Fingers on the tiles and on the large image: swipe left for the next page or image, right to undo; a long press selects;
// a pinch changes the size of the tiles. The sheet with the queue and its filters.
const SWIPE = 60; // CSS pixels
const SWIPE_TIME = 600; // ms
const LONG = 500; // ms
const STILL = 10; // CSS pixels that a finger may move during a long press
const PINCH = 1.3; // ratio of distances for one step of the tiles' size

export class Touch {
  // `run(name)` runs a command, `select(tile)` adds a tile to the selection or removes it, `nextImage()` shows the next one.
  constructor({ stage, side, run, select, nextImage }) {
    Object.assign(this, { stage, side, run, select, nextImage, fingers: new Map(), start: null, pinched: 0 });
    for (const area of [stage, side]) {
      area.addEventListener("pointerdown", (event) => this.#down(event));
      area.addEventListener("pointermove", (event) => this.#move(event));
      area.addEventListener("pointerup", (event) => this.#up(event));
      area.addEventListener("pointercancel", (event) => this.#end(event));
    }
    stage.addEventListener("contextmenu", (event) => { if (this.start) event.preventDefault(); });
    // A long press or a swipe is no tap.
    stage.addEventListener("click", (event) => {
      if (!this.isHandled) return;
      this.isHandled = false;
      event.preventDefault();
      event.stopPropagation();
    }, true);
  }

  #down(event) {
    if (event.pointerType !== "touch") return;
    this.isHandled = false;
    this.fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (this.fingers.size > 1) {
      this.start = null;
      this.pinched = this.#distance();
      return;
    }
    const start = { x: event.clientX, y: event.clientY, at: event.timeStamp, target: event.target, hasMoved: false };
    this.start = start;
    const tile = event.target.closest("#grid .tile");
    if (!tile) return;
    // While the page is busy, the timer may fire before events that are older. They arrive before the next frame.
    setTimeout(() => requestAnimationFrame(() => { if (this.start === start && !start.hasMoved) this.#press(tile); }), LONG);
  }

  #press(tile) {
    this.isHandled = true;
    this.start = null;
    navigator.vibrate?.(10);
    this.select(tile);
  }

  #move(event) {
    const finger = this.fingers.get(event.pointerId);
    if (!finger) return;
    Object.assign(finger, { x: event.clientX, y: event.clientY });
    if (this.start && Math.hypot(event.clientX - this.start.x, event.clientY - this.start.y) > STILL) this.start.hasMoved = true;
    if (this.fingers.size === 2 && this.stage.contains(event.target)) this.#pinch();
  }

  #distance() {
    const [a, b] = [...this.fingers.values()];
    return Math.max(1, Math.hypot(a.x - b.x, a.y - b.y));
  }

  #pinch() {
    const ratio = this.#distance() / this.pinched;
    if (ratio < PINCH && ratio > 1 / PINCH) return;
    this.isHandled = true;
    this.pinched = this.#distance();
    this.run(ratio > 1 ? "bigger" : "smaller");
  }

  #up(event) {
    const { start } = this;
    this.#end(event);
    if (!start || event.timeStamp - start.at > SWIPE_TIME) return;
    const [x, y] = [event.clientX - start.x, event.clientY - start.y];
    if (Math.abs(x) < SWIPE || Math.abs(x) < 2 * Math.abs(y)) return;
    const isInSide = this.side.contains(start.target);
    if (isInSide && !start.target.closest(".zoom:not(.zoomed)")) return;
    this.isHandled = !isInSide;
    if (x > 0) this.run("undo");
    else if (isInSide) this.nextImage();
    else this.run("next");
  }

  #end(event) {
    this.fingers.delete(event.pointerId);
    this.start = null;
  }
}

// Open or close the sheet with the queue's form. It closes by a tap beside it and by Escape.
export function toggleSheet(isOpen = !document.body.classList.contains("sheet-open")) {
  const wasOpen = document.body.classList.contains("sheet-open");
  document.body.classList.toggle("sheet-open", isOpen);
  document.getElementById("open-filters").setAttribute("aria-expanded", String(isOpen));
  if (isOpen) document.getElementById("queues-slot").querySelector("select, input:not([type=hidden]), button")?.focus();
  return wasOpen;
}

document.addEventListener("click", (event) => {
  if (document.body.classList.contains("sheet-open") && !event.target.closest("#queues-slot, #open-filters")) toggleSheet(false);
}, true);

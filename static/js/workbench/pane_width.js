// The handle between the class pane and the tiles: drag it, or use the arrow keys. The width is stored in this browser.
import { recall, remember } from "../store.js";

const NARROWEST = 9; // rem
const WIDEST = 26;
const DEFAULT = 13;

export function followHandle(handle, bench) {
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize) || 16;
  let width = DEFAULT;
  const set = (wanted) => {
    width = Math.min(WIDEST, Math.max(NARROWEST, wanted));
    bench.style.setProperty("--pane-width", `${width}rem`);
    handle.setAttribute("aria-valuenow", String(Math.round(width * rem)));
  };
  handle.setAttribute("aria-valuemin", String(NARROWEST * rem));
  handle.setAttribute("aria-valuemax", String(WIDEST * rem));
  const stored = recall("pane-width", DEFAULT);
  set(typeof stored === "number" ? stored : DEFAULT);
  const keep = () => remember("pane-width", width);
  handle.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    handle.setPointerCapture(event.pointerId);
    handle.classList.add("dragged");
  });
  handle.addEventListener("pointermove", (event) => {
    if (handle.hasPointerCapture(event.pointerId)) set((event.clientX - bench.getBoundingClientRect().left) / rem);
  });
  handle.addEventListener("lostpointercapture", () => {
    handle.classList.remove("dragged");
    keep();
  });
  handle.addEventListener("dblclick", () => {
    set(DEFAULT);
    keep();
  });
  handle.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step && event.key !== "Home") return;
    event.preventDefault();
    set(step ? width + step : DEFAULT);
    keep();
  });
}

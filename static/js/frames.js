// Layouts of items with several frames: side by side, blinking or as one color image. The chosen layout is stored in this
// browser. All frames are in the page, so changing the layout requests nothing.
import { recall, remember } from "./store.js";
import { say, toast } from "./toast.js";

const NAMES = { side: "side by side", blink: "blinking", rgb: "as one color image" };
const STORED_NAMES = { ...NAMES, rgb: "as one colour image" }; // the spelling in stored labels
const CYCLE = Object.keys(NAMES);
const BLINK = 500; // ms per frame

// Set if the dataset has roles. data-layout is the current layout, data-own-layout that of the dataset.
const host = document.querySelector("[data-own-layout]");
const setting = `layout:${host?.dataset.slug ?? ""}`;
const isStill = matchMedia("(prefers-reduced-motion: reduce)");
let isManual = false; // the person steps through frames: nothing blinks until another tile has the focus
let at = 0;
let hovered = null;

export const layout = () => host?.dataset.layout ?? "";

// Return how many frames lie side by side in one tile, and in how many rows.
export function framesInTile() {
  if (layout() !== "side") return { across: 1, lines: 1 };
  return { across: Number(host.dataset.across), lines: Number(host.dataset.lines) };
}

// Describe the current layout for the provenance of labels; "" for the dataset's own layout.
export function describeLayout() {
  return layout() === (host?.dataset.ownLayout ?? "") ? "" : `frames ${STORED_NAMES[layout()]}`;
}

// Switch to the next layout in this browser. Return whether there is one.
export function cycleLayout() {
  if (!host) {
    toast("Each item of this dataset is one image: there are no frames to lay out.");
    return false;
  }
  const next = CYCLE[(CYCLE.indexOf(layout()) + 1) % CYCLE.length];
  remember(setting, next === host.dataset.ownLayout ? "" : next);
  host.dataset.layout = next;
  isManual = false;
  for (const box of document.querySelectorAll(".frames.alone")) showAll(box);
  const hint = next === "blink" && isStill.matches ? " Press , and . to step, because motion is reduced." : "";
  const message = `Frames ${NAMES[next]}${next === host.dataset.ownLayout ? " (default)" : ""}.`;
  toast(message + hint, "", "layout");
  say(message);
  show();
  document.dispatchEvent(new CustomEvent("hoshina:layout"));
  return true;
}

// Show the next (1) or previous (-1) frame. In the side-by-side layout, the detail shows only that frame.
export function stepFrame(by) {
  if (!host) return toast("Each item of this dataset is one image: there are no frames to step through.");
  if (layout() === "rgb") return toast("The frames are shown as one color image. Press V to show them side by side.");
  const detail = document.querySelector(".zoom.frames");
  if (layout() === "side" && !detail) return toast("To see one frame at a time, open the detail, or press V to let the frames blink.");
  isManual = true;
  const wasAlone = detail?.classList.contains("alone");
  if (layout() === "side") {
    at = wasAlone ? at + by : by > 0 ? 0 : -1;
    detail.classList.add("alone");
  } else at += by;
  show();
}

function showAll(box) {
  box.classList.remove("alone");
  for (const button of box.querySelectorAll("[data-alone]")) button.setAttribute("aria-pressed", "false");
  notifyZoom(box);
}

// Tell the zoom that the visible frames changed.
function notifyZoom(box) {
  if (box.matches("[data-zoom]")) box.dispatchEvent(new CustomEvent("hoshina:frames", { bubbles: true }));
}

const framesOf = (box) => [...box.querySelectorAll(":scope > .frame:not(.color)")];

function showFrame(box, number) {
  const frames = framesOf(box);
  if (!frames.length) return;
  const index = ((number % frames.length) + frames.length) % frames.length;
  frames.forEach((frame, place) => {
    frame.classList.toggle("on", place === index);
    const isAlone = box.classList.contains("alone") && place === index;
    frame.querySelector("[data-alone]")?.setAttribute("aria-pressed", String(isAlone));
  });
}

// Return the boxes whose frames change: of the focused tile, the hovered tile and the detail.
function activeBoxes() {
  const boxes = [document.querySelector(".tile.here .frames"), hovered, document.querySelector(".zoom.frames")];
  return new Set(boxes.filter((box) => box?.isConnected));
}

function show() {
  for (const box of activeBoxes()) {
    if (layout() === "blink" || box.classList.contains("alone")) {
      showFrame(box, at);
      notifyZoom(box);
    }
  }
}

function blink() {
  if (layout() !== "blink" || isManual || isStill.matches || document.hidden) return;
  at += 1;
  show();
}

if (host) {
  const chosen = recall(setting, "");
  if (CYCLE.includes(chosen)) host.dataset.layout = chosen;
  setInterval(blink, BLINK);

  let before = null;
  document.body.addEventListener("hoshina:tile", ({ detail }) => {
    if (before) showFrame(before, 0);
    before = detail.tile?.querySelector(".frames") ?? null;
    isManual = false;
    at = 0;
  });
  document.addEventListener("pointerover", ({ target }) => {
    const box = target.closest?.(".tile")?.querySelector(".frames") ?? null;
    if (box === hovered) return;
    if (hovered) showFrame(hovered, 0);
    hovered = box;
  });
  // A click on a caption shows only its frame; a second click shows all frames.
  document.addEventListener("click", ({ target }) => {
    const button = target.closest?.("[data-alone]");
    if (!button) return;
    const box = button.closest(".frames");
    if (layout() === "side" && button.getAttribute("aria-pressed") === "true") return showAll(box);
    isManual = true;
    at = framesOf(box).indexOf(button.closest(".frame"));
    if (layout() === "side") box.classList.add("alone");
    showFrame(box, at);
    notifyZoom(box);
  });
}

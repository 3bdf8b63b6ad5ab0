// Items of several frames: side by side, blinking or as one colour image. What is looked at for now is this browser's
// affair; the frames themselves are all in the page, so that nothing is asked for again.
import { recall, remember } from "./store.js";
import { say, toast } from "./toast.js";

const WORDS = { side: "side by side", blink: "blinking", rgb: "as one colour image" };
const CYCLE = Object.keys(WORDS);
const BLINK = 500; // ms for which each frame is seen

// The page's own, where its dataset has roles: data-layout is what is shown now, data-own-layout the dataset's.
const host = document.querySelector("[data-own-layout]");
const setting = `layout:${host?.dataset.slug ?? ""}`;
const isStill = matchMedia("(prefers-reduced-motion: reduce)");
let isByHand = false; // frames are stepped by keys: nothing blinks until another tile has the focus
let at = 0;
let pointed = null;

export const layout = () => host?.dataset.layout ?? "";

// Frames beside each other in one tile, and rows of them.
export function framesInTile() {
  if (layout() !== "side") return { across: 1, lines: 1 };
  return { across: Number(host.dataset.across), lines: Number(host.dataset.lines) };
}

// How frames are seen just now, in words for labels; "" for the dataset's usual way.
export function layoutWords() {
  return layout() === (host?.dataset.ownLayout ?? "") ? "" : `frames ${WORDS[layout()]}`;
}

// The next layout, for looking only. True: there is one.
export function cycleLayout() {
  if (!host) {
    toast("Each item of this dataset is one image: there are no frames to lay out.");
    return false;
  }
  const next = CYCLE[(CYCLE.indexOf(layout()) + 1) % CYCLE.length];
  remember(setting, next === host.dataset.ownLayout ? "" : next);
  host.dataset.layout = next;
  isByHand = false;
  for (const box of document.querySelectorAll(".frames.alone")) showAll(box);
  const how = next === "blink" && isStill.matches ? " Step with , and . as motion is reduced." : "";
  const words = `Frames ${WORDS[next]}${next === host.dataset.ownLayout ? ", as usual" : ""}.`;
  toast(words + how, "", "layout");
  say(words);
  show();
  document.dispatchEvent(new CustomEvent("hoshina:layout"));
  return true;
}

// The frame after (1) or before (-1) the one that is seen. Side by side, the detail shows it alone.
export function stepFrame(by) {
  if (!host) return toast("Each item of this dataset is one image: there are no frames to step through.");
  if (layout() === "rgb") return toast("The frames are one colour image now. V shows them side by side again.");
  const detail = document.querySelector(".zoom.frames");
  if (layout() === "side" && !detail) return toast("Open the detail to see one frame alone, or let them blink with V.");
  isByHand = true;
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
  changed(box);
}

// Zoom follows the size of what is seen.
function changed(box) {
  if (box.matches("[data-zoom]")) box.dispatchEvent(new CustomEvent("hoshina:frames", { bubbles: true }));
}

const framesOf = (box) => [...box.querySelectorAll(":scope > .frame:not(.colour)")];

function turnTo(box, wanted) {
  const frames = framesOf(box);
  if (!frames.length) return;
  const index = ((wanted % frames.length) + frames.length) % frames.length;
  frames.forEach((frame, place) => {
    frame.classList.toggle("on", place === index);
    const isAlone = box.classList.contains("alone") && place === index;
    frame.querySelector("[data-alone]")?.setAttribute("aria-pressed", String(isAlone));
  });
}

// What turns: the tile in focus, the one under the pointer, and the detail.
function turning() {
  const boxes = [document.querySelector(".tile.here .frames"), pointed, document.querySelector(".zoom.frames")];
  return new Set(boxes.filter((box) => box?.isConnected));
}

function show() {
  for (const box of turning()) {
    if (layout() === "blink" || box.classList.contains("alone")) {
      turnTo(box, at);
      changed(box);
    }
  }
}

function blink() {
  if (layout() !== "blink" || isByHand || isStill.matches || document.hidden) return;
  at += 1;
  show();
}

if (host) {
  const chosen = recall(setting, "");
  if (CYCLE.includes(chosen)) host.dataset.layout = chosen;
  setInterval(blink, BLINK);

  let before = null;
  document.body.addEventListener("hoshina:tile", ({ detail }) => {
    if (before) turnTo(before, 0);
    before = detail.tile?.querySelector(".frames") ?? null;
    isByHand = false;
    at = 0;
  });
  document.addEventListener("pointerover", ({ target }) => {
    const box = target.closest?.(".tile")?.querySelector(".frames") ?? null;
    if (box === pointed) return;
    if (pointed) turnTo(pointed, 0);
    pointed = box;
  });
  // A caption shows its frame alone, and pressed again all of them.
  document.addEventListener("click", ({ target }) => {
    const button = target.closest?.("[data-alone]");
    if (!button) return;
    const box = button.closest(".frames");
    if (layout() === "side" && button.getAttribute("aria-pressed") === "true") return showAll(box);
    isByHand = true;
    at = framesOf(box).indexOf(button.closest(".frame"));
    if (layout() === "side") box.classList.add("alone");
    turnTo(box, at);
    changed(box);
  });
}

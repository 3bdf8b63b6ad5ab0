// Zoom and pan of the large image: wheel, buttons, drag, pinch, double click, and keys while it has the focus.
// Everything is delegated from the document, so that a swapped-in fragment works without being told.

const MOST = 40; // times the size at which all of the image is seen
const STEP = 1.5;
const views = new WeakMap(); // the box -> how it is looked at: scale (1: all of it), and the shift in CSS pixels

const imageOf = (box) => box.querySelector("img");

function viewOf(box) {
  if (!views.has(box)) views.set(box, { scale: 1, x: 0, y: 0 });
  return views.get(box);
}

// CSS pixels of the screen for one pixel of the image, when all of it is seen.
function fitOf(box) {
  const image = imageOf(box);
  const width = image.naturalWidth || image.width;
  const height = image.naturalHeight || image.height;
  return Math.min(box.clientWidth / width, box.clientHeight / height) || 1;
}

function show(box) {
  const image = imageOf(box);
  const view = viewOf(box);
  const fit = fitOf(box);
  view.scale = Math.min(Math.max(view.scale, 1), Math.max(MOST, 2 / fit));
  const size = fit * view.scale;
  const spareX = Math.max(0, ((image.naturalWidth || image.width) * size - box.clientWidth) / 2);
  const spareY = Math.max(0, ((image.naturalHeight || image.height) * size - box.clientHeight) / 2);
  view.x = Math.min(Math.max(view.x, -spareX), spareX);
  view.y = Math.min(Math.max(view.y, -spareY), spareY);
  image.style.transform = view.scale === 1 ? "" : `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
  image.classList.toggle("pixels", size >= 2);
  box.classList.toggle("zoomed", view.scale > 1);
  const level = box.querySelector("[data-zoom-level]");
  if (level) level.textContent = `${Math.round(size * 100)} %`;
}

// Zoom by a factor so that what lies under (clientX, clientY), or the middle, stays where it is.
function zoom(box, factor, clientX, clientY) {
  const view = viewOf(box);
  const frame = box.getBoundingClientRect();
  const x = clientX === undefined ? 0 : clientX - frame.left - frame.width / 2;
  const y = clientY === undefined ? 0 : clientY - frame.top - frame.height / 2;
  const before = view.scale;
  view.scale = Math.min(Math.max(before * factor, 1), Math.max(MOST, 2 / fitOf(box)));
  const grown = view.scale / before;
  view.x = x - (x - view.x) * grown;
  view.y = y - (y - view.y) * grown;
  show(box);
}

function pan(box, x, y) {
  const view = viewOf(box);
  view.x += x;
  view.y += y;
  show(box);
}

function showAll(box) {
  Object.assign(viewOf(box), { scale: 1, x: 0, y: 0 });
  show(box);
}

const boxOf = (event) => (event.target instanceof Element ? event.target.closest("[data-zoom]") : null);
const onButton = (event) => event.target.closest("button, output") !== null;

document.addEventListener("wheel", (event) => {
  const box = boxOf(event);
  if (!box) return;
  event.preventDefault();
  const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
  // A pinch on a touchpad arrives as a wheel with Ctrl, in smaller steps.
  zoom(box, Math.exp(-event.deltaY * unit * (event.ctrlKey ? 0.01 : 0.002)), event.clientX, event.clientY);
}, { passive: false });

document.addEventListener("dblclick", (event) => {
  const box = boxOf(event);
  if (!box || onButton(event)) return;
  if (viewOf(box).scale > 1) showAll(box);
  else zoom(box, Math.max(1 / fitOf(box), 3), event.clientX, event.clientY);
});

document.addEventListener("click", (event) => {
  const button = event.target instanceof Element ? event.target.closest("[data-zoom-by]") : null;
  if (!button) return;
  const box = button.closest("[data-zoom]");
  const by = Number(button.dataset.zoomBy);
  if (by === 0) showAll(box);
  else zoom(box, STEP ** by);
});

// Drag with one pointer, pinch with two.
const pointers = new Map();
let held = null;

document.addEventListener("pointerdown", (event) => {
  const box = boxOf(event);
  if (!box || onButton(event) || (event.pointerType === "mouse" && event.button !== 0)) return;
  if (held !== box) pointers.clear();
  held = box;
  pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  if (viewOf(box).scale > 1) {
    box.setPointerCapture(event.pointerId);
    box.classList.add("dragging");
  }
});

document.addEventListener("pointermove", (event) => {
  const was = pointers.get(event.pointerId);
  if (!held || !was) return;
  const now = { x: event.clientX, y: event.clientY };
  if (pointers.size === 1) {
    if (viewOf(held).scale > 1) pan(held, now.x - was.x, now.y - was.y);
  } else if (pointers.size === 2) {
    const [, other] = [...pointers].find(([id]) => id !== event.pointerId);
    const apart = (a) => Math.max(1, Math.hypot(a.x - other.x, a.y - other.y));
    zoom(held, apart(now) / apart(was), (now.x + other.x) / 2, (now.y + other.y) / 2);
  }
  pointers.set(event.pointerId, now);
});

function release(event) {
  pointers.delete(event.pointerId);
  if (held && pointers.size === 0) {
    held.classList.remove("dragging");
    held = null;
  }
}
document.addEventListener("pointerup", release);
document.addEventListener("pointercancel", release);

const MOVES = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

// Keys of the image, while it has the focus. True: the key was for it.
function keyOnImage(box, event) {
  if (event.key === "+" || event.key === "=") zoom(box, STEP);
  else if (event.key === "-") zoom(box, 1 / STEP);
  else if (event.key === "Home") showAll(box);
  else if (MOVES[event.key] && viewOf(box).scale > 1) {
    const [x, y] = MOVES[event.key];
    pan(box, (x * box.clientWidth) / 5, (y * box.clientHeight) / 5);
  } else return false;
  return true;
}

// In the capture phase: on the image, + and the arrows are the image's and not the grid's.
document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  const box = boxOf(event);
  if (box && event.target === box && keyOnImage(box, event)) {
    event.preventDefault();
    event.stopPropagation();
  }
}, true);

// The share of an image is known once it is there, and changes with the window.
document.addEventListener("load", (event) => {
  const box = event.target instanceof HTMLImageElement ? boxOf(event) : null;
  if (box) show(box);
}, true);
window.addEventListener("resize", () => document.querySelectorAll("[data-zoom]").forEach(show));
document.querySelectorAll("[data-zoom]").forEach((box) => { if (imageOf(box).complete) show(box); });

// The header of a FITS file: only the cards that hold what is typed.
document.addEventListener("input", ({ target }) => {
  if (!target.matches?.("[data-cards-find]")) return;
  const wanted = target.value.trim().toLowerCase();
  for (const row of target.closest("[data-cards]").querySelectorAll("tbody tr")) {
    row.hidden = ![...row.cells].some((cell) => cell.textContent.toLowerCase().includes(wanted));
  }
});

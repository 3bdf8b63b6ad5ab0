// Zoom and pan of the large image by wheel, buttons, drag, pinch, double click, and keys while it has the focus.
// All listeners are on the document, so swapped-in fragments need no setup.

import { showScale } from "./scale_bar.js";

const MAX_SCALE = 40; // relative to the scale at which the image fits
const STEP = 1.5;
const views = new WeakMap(); // box -> view: the scale (1: the image fits) and the shift in CSS pixels

// All visible images of a box: one, or the frames of an item, which move together.
const imagesOf = (box) => [...box.querySelectorAll("img")].filter((image) => image.clientWidth > 0);
const imageOf = (box) => imagesOf(box)[0] ?? box.querySelector("img");
// The element that an image fills: the box, or its frame.
const cellOf = (box, image = imageOf(box)) => image?.closest(".frame") ?? box;
const widthOf = (image) => image.naturalWidth || image.width;
const heightOf = (image) => image.naturalHeight || image.height;

function viewOf(box) {
  if (!views.has(box)) views.set(box, { scale: 1, x: 0, y: 0 });
  return views.get(box);
}

// Return the CSS pixels per image pixel at which the image fits.
function fitOf(box, image = imageOf(box)) {
  const cell = cellOf(box, image);
  return Math.min(cell.clientWidth / widthOf(image), cell.clientHeight / heightOf(image)) || 1;
}

// Return how far an image can be moved to each side before its edge shows, in CSS pixels.
function marginOf(box, image, scale) {
  const cell = cellOf(box, image);
  const size = fitOf(box, image) * scale;
  return [widthOf(image) * size - cell.clientWidth, heightOf(image) * size - cell.clientHeight].map((overflow) => Math.max(0, overflow / 2));
}

function show(box) {
  const images = imagesOf(box);
  if (!images.length) return;
  const view = viewOf(box);
  const fit = fitOf(box);
  view.scale = Math.min(Math.max(view.scale, 1), Math.max(MAX_SCALE, 2 / fit));
  const margins = images.map((image) => marginOf(box, image, view.scale));
  const marginX = Math.max(...margins.map(([x]) => x));
  const marginY = Math.max(...margins.map(([, y]) => y));
  view.x = Math.min(Math.max(view.x, -marginX), marginX);
  view.y = Math.min(Math.max(view.y, -marginY), marginY);
  for (const image of images) {
    image.style.transform = view.scale === 1 ? "" : `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
    image.classList.toggle("pixels", fitOf(box, image) * view.scale >= 2);
  }
  box.classList.toggle("zoomed", view.scale > 1);
  const level = box.querySelector("[data-zoom-level]");
  if (level) level.textContent = `${Math.round(fit * view.scale * 100)} %`;
  // The image may be smaller than the file; its attribute has the file's width.
  showScale(box, images[0], (fit * view.scale * widthOf(images[0])) / (Number(images[0].getAttribute("width")) || widthOf(images[0])));
}

// Return the cell at a point of the screen, or the first one.
function cellAt(box, clientX, clientY) {
  const cells = imagesOf(box).map((image) => cellOf(box, image));
  return cells.find((cell) => {
    const { left, right, top, bottom } = cell.getBoundingClientRect();
    return clientX >= left && clientX < right && clientY >= top && clientY < bottom;
  }) ?? cells[0] ?? box;
}

// Zoom by a factor, keeping the point at (clientX, clientY), or the center, in place.
function zoom(box, factor, clientX, clientY) {
  const view = viewOf(box);
  const frame = cellAt(box, clientX, clientY).getBoundingClientRect();
  const x = clientX === undefined ? 0 : clientX - frame.left - frame.width / 2;
  const y = clientY === undefined ? 0 : clientY - frame.top - frame.height / 2;
  const before = view.scale;
  view.scale = Math.min(Math.max(before * factor, 1), Math.max(MAX_SCALE, 2 / fitOf(box)));
  const growth = view.scale / before;
  view.x = x - (x - view.x) * growth;
  view.y = y - (y - view.y) * growth;
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
let draggedBox = null;

document.addEventListener("pointerdown", (event) => {
  const box = boxOf(event);
  if (!box || onButton(event) || (event.pointerType === "mouse" && event.button !== 0)) return;
  if (draggedBox !== box) pointers.clear();
  draggedBox = box;
  pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  if (viewOf(box).scale > 1) {
    box.setPointerCapture(event.pointerId);
    box.classList.add("dragging");
  }
});

document.addEventListener("pointermove", (event) => {
  const before = pointers.get(event.pointerId);
  if (!draggedBox || !before) return;
  const now = { x: event.clientX, y: event.clientY };
  if (pointers.size === 1) {
    if (viewOf(draggedBox).scale > 1) pan(draggedBox, now.x - before.x, now.y - before.y);
  } else if (pointers.size === 2) {
    const [, other] = [...pointers].find(([id]) => id !== event.pointerId);
    const distance = (point) => Math.max(1, Math.hypot(point.x - other.x, point.y - other.y));
    zoom(draggedBox, distance(now) / distance(before), (now.x + other.x) / 2, (now.y + other.y) / 2);
  }
  pointers.set(event.pointerId, now);
});

function release(event) {
  pointers.delete(event.pointerId);
  if (draggedBox && pointers.size === 0) {
    draggedBox.classList.remove("dragging");
    draggedBox = null;
  }
}
document.addEventListener("pointerup", release);
document.addEventListener("pointercancel", release);

const MOVES = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

// Handle a key while the image has the focus. Return whether it was handled.
function handleKey(box, event) {
  if (event.key === "+" || event.key === "=") zoom(box, STEP);
  else if (event.key === "-") zoom(box, 1 / STEP);
  else if (event.key === "Home") showAll(box);
  else if (MOVES[event.key] && viewOf(box).scale > 1) {
    const [x, y] = MOVES[event.key];
    pan(box, (x * cellOf(box).clientWidth) / 5, (y * cellOf(box).clientHeight) / 5);
  } else return false;
  return true;
}

// In the capture phase, so that + and the arrow keys act on the image and not on the grid.
document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  const box = boxOf(event);
  if (box && event.target === box && handleKey(box, event)) {
    event.preventDefault();
    event.stopPropagation();
  }
}, true);

// The scale depends on the image's size, known once it is loaded, and on the window's size.
document.addEventListener("load", (event) => {
  const box = event.target instanceof HTMLImageElement ? boxOf(event) : null;
  if (box) show(box);
}, true);
document.addEventListener("hoshina:frames", ({ target }) => show(target));
document.addEventListener("hoshina:layout", () => document.querySelectorAll("[data-zoom]").forEach(show));
window.addEventListener("resize", () => document.querySelectorAll("[data-zoom]").forEach(show));
document.querySelectorAll("[data-zoom]").forEach((box) => { if (imageOf(box)?.complete) show(box); });

// Show only the cards of a FITS header that contain the search text.
document.addEventListener("input", ({ target }) => {
  if (!target.matches?.("[data-cards-find]")) return;
  const text = target.value.trim().toLowerCase();
  for (const row of target.closest("[data-cards]").querySelectorAll("tbody tr")) {
    row.hidden = ![...row.cells].some((cell) => cell.textContent.toLowerCase().includes(text));
  }
});

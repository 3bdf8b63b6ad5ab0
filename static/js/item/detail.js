// Zoom and pan of the large image: wheel, buttons, drag, pinch, double click, and keys while it has the focus.
// Everything is delegated from the document, so that a swapped-in fragment works without being told.

const MOST = 40; // times the size at which all of the image is seen
const STEP = 1.5;
const views = new WeakMap(); // the box -> how it is looked at: scale (1: all of it), and the shift in CSS pixels

// All pictures that are seen in the box: one, or the frames of an item, which move together.
const imagesOf = (box) => [...box.querySelectorAll("img")].filter((image) => image.clientWidth > 0);
const imageOf = (box) => imagesOf(box)[0] ?? box.querySelector("img");
// Where a picture lies: the box itself, or its own cell of it.
const cellOf = (box, image = imageOf(box)) => image?.closest(".frame") ?? box;
const widthOf = (image) => image.naturalWidth || image.width;
const heightOf = (image) => image.naturalHeight || image.height;

function viewOf(box) {
  if (!views.has(box)) views.set(box, { scale: 1, x: 0, y: 0 });
  return views.get(box);
}

// CSS pixels of the screen for one pixel of the image, when all of it is seen.
function fitOf(box, image = imageOf(box)) {
  const cell = cellOf(box, image);
  return Math.min(cell.clientWidth / widthOf(image), cell.clientHeight / heightOf(image)) || 1;
}

// How far an image may be moved to each side until its edge is seen.
function spareOf(box, image, scale) {
  const cell = cellOf(box, image);
  const size = fitOf(box, image) * scale;
  return [widthOf(image) * size - cell.clientWidth, heightOf(image) * size - cell.clientHeight].map((spare) => Math.max(0, spare / 2));
}

function show(box) {
  const images = imagesOf(box);
  if (!images.length) return;
  const view = viewOf(box);
  const fit = fitOf(box);
  view.scale = Math.min(Math.max(view.scale, 1), Math.max(MOST, 2 / fit));
  const spares = images.map((image) => spareOf(box, image, view.scale));
  const spareX = Math.max(...spares.map(([x]) => x));
  const spareY = Math.max(...spares.map(([, y]) => y));
  view.x = Math.min(Math.max(view.x, -spareX), spareX);
  view.y = Math.min(Math.max(view.y, -spareY), spareY);
  for (const image of images) {
    image.style.transform = view.scale === 1 ? "" : `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
    image.classList.toggle("pixels", fitOf(box, image) * view.scale >= 2);
  }
  box.classList.toggle("zoomed", view.scale > 1);
  const level = box.querySelector("[data-zoom-level]");
  if (level) level.textContent = `${Math.round(fit * view.scale * 100)} %`;
}

// The cell under a place of the screen, or the first.
function cellAt(box, clientX, clientY) {
  const cells = imagesOf(box).map((image) => cellOf(box, image));
  return cells.find((cell) => {
    const { left, right, top, bottom } = cell.getBoundingClientRect();
    return clientX >= left && clientX < right && clientY >= top && clientY < bottom;
  }) ?? cells[0] ?? box;
}

// Zoom by a factor so that what lies under (clientX, clientY), or the middle, stays where it is.
function zoom(box, factor, clientX, clientY) {
  const view = viewOf(box);
  const frame = cellAt(box, clientX, clientY).getBoundingClientRect();
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
    pan(box, (x * cellOf(box).clientWidth) / 5, (y * cellOf(box).clientHeight) / 5);
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
document.addEventListener("hoshina:frames", ({ target }) => show(target));
document.addEventListener("hoshina:layout", () => document.querySelectorAll("[data-zoom]").forEach(show));
window.addEventListener("resize", () => document.querySelectorAll("[data-zoom]").forEach(show));
document.querySelectorAll("[data-zoom]").forEach((box) => { if (imageOf(box)?.complete) show(box); });

// The header of a FITS file: only the cards that hold what is typed.
document.addEventListener("input", ({ target }) => {
  if (!target.matches?.("[data-cards-find]")) return;
  const wanted = target.value.trim().toLowerCase();
  for (const row of target.closest("[data-cards]").querySelectorAll("tbody tr")) {
    row.hidden = ![...row.cells].some((cell) => cell.textContent.toLowerCase().includes(wanted));
  }
});

// Zoom and pan of a large image: any element with data-zoom around one <img>. Wheel, drag, double click, + - 0.
const views = new WeakMap();

function viewOf(box) {
  if (!views.has(box)) views.set(box, { scale: 1, x: 0, y: 0 });
  return views.get(box);
}

function draw(box, view) {
  const image = box.querySelector("img");
  if (!image) return;
  const limitX = (box.clientWidth * (view.scale - 1)) / 2;
  const limitY = (box.clientHeight * (view.scale - 1)) / 2;
  view.x = Math.max(-limitX, Math.min(limitX, view.x));
  view.y = Math.max(-limitY, Math.min(limitY, view.y));
  image.style.transform = view.scale === 1 ? "" : `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
  box.classList.toggle("is-zoomed", view.scale > 1);
}

// Zooms by `factor` so that the point (clientX, clientY) stays where it is.
function zoom(box, factor, clientX, clientY) {
  const view = viewOf(box);
  const scale = Math.max(1, Math.min(32, view.scale * factor));
  const area = box.getBoundingClientRect();
  const fromX = (clientX ?? area.left + area.width / 2) - area.left - area.width / 2;
  const fromY = (clientY ?? area.top + area.height / 2) - area.top - area.height / 2;
  view.x = fromX - ((fromX - view.x) * scale) / view.scale;
  view.y = fromY - ((fromY - view.y) * scale) / view.scale;
  view.scale = scale;
  draw(box, view);
}

function reset(box) {
  views.set(box, { scale: 1, x: 0, y: 0 });
  draw(box, viewOf(box));
}

document.addEventListener("wheel", (event) => {
  const box = event.target.closest?.("[data-zoom]");
  if (!box) return;
  event.preventDefault();
  zoom(box, Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.clientX, event.clientY);
}, { passive: false });

document.addEventListener("pointerdown", (event) => {
  const box = event.target.closest?.("[data-zoom]");
  if (!box || event.button !== 0 || event.target.closest("button, a")) return;
  const view = viewOf(box);
  if (view.scale === 1) return;
  event.preventDefault();
  const start = { x: event.clientX - view.x, y: event.clientY - view.y };
  const move = (moved) => {
    view.x = moved.clientX - start.x;
    view.y = moved.clientY - start.y;
    draw(box, view);
  };
  const end = () => {
    box.removeEventListener("pointermove", move);
    box.removeEventListener("pointerup", end);
    box.removeEventListener("pointercancel", end);
  };
  box.setPointerCapture(event.pointerId);
  box.addEventListener("pointermove", move);
  box.addEventListener("pointerup", end);
  box.addEventListener("pointercancel", end);
});

document.addEventListener("dblclick", (event) => {
  const box = event.target.closest?.("[data-zoom]");
  if (!box) return;
  if (viewOf(box).scale > 1) reset(box);
  else zoom(box, 3, event.clientX, event.clientY);
});

// Buttons beside the image, and keys while the image has the focus.
document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-zoom-by]");
  const box = button?.closest("[data-zoom-area]")?.querySelector("[data-zoom]") ?? (button && document.querySelector("[data-zoom]"));
  if (!box) return;
  const factor = Number(button.dataset.zoomBy);
  if (factor) zoom(box, factor);
  else reset(box);
});

document.addEventListener("keydown", (event) => {
  const box = event.target.closest?.("[data-zoom]");
  if (!box || event.ctrlKey || event.metaKey || event.altKey) return;
  const view = viewOf(box);
  const step = 60;
  const pan = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] }[event.key];
  if (event.key === "+" || event.key === "=") zoom(box, 1.4);
  else if (event.key === "-") zoom(box, 1 / 1.4);
  else if (event.key === "0" && view.scale > 1) reset(box);
  else if (pan && view.scale > 1) {
    view.x += pan[0];
    view.y += pan[1];
    draw(box, view);
  } else return;
  event.preventDefault();
});

// Interactive plots: the nearest point by mouse or arrow keys, a crosshair, and lines that the legend hides. The server draws
// the plots (templates/charts/_plot.html). All listeners are on the document, so a plot can be swapped at any time.
const hidden = new Map(); // plot -> numbers of the hidden lines
const selected = new Map(); // plot -> the point selected by keyboard: {series, at}

const areaOf = (plot) => plot.querySelector(".plot-area");

// Return the visible lines with their dots from left to right.
function linesOf(plot) {
  return [...plot.querySelectorAll(".series:not(.off)")]
    .map((series) => ({ series: series.dataset.series, dots: [...series.querySelectorAll(".dot")].sort((a, b) => a.dataset.x - b.dataset.x) }))
    .filter(({ dots }) => dots.length);
}

// -- Showing --------------------------------------------------------------------------------------
function show(plot, dot) {
  const area = areaOf(plot);
  const { x, y, tooltip: text, href } = dot.dataset;
  area.style.setProperty("--x", `${x}%`);
  area.style.setProperty("--y", `${y}%`);
  area.querySelector(".plot-cross").hidden = false;
  area.querySelector(".plot-ring").hidden = false;
  area.classList.toggle("has-link", Boolean(href));
  const tip = area.querySelector(".plot-tip");
  tip.classList.toggle("at-start", x < 25);
  tip.classList.toggle("at-end", x > 75);
  tip.classList.toggle("below", y < 40);
  if (tip.textContent !== text) tip.textContent = text;
  for (const other of partnersOf(plot)) showCrosshair(other, x);
}

function hide(plot) {
  const area = areaOf(plot);
  for (const part of area.querySelectorAll(".plot-cross, .plot-ring")) part.hidden = true;
  area.querySelector(".plot-tip").textContent = "";
  area.classList.remove("has-link");
  for (const other of partnersOf(plot)) areaOf(other).querySelector(".plot-cross").hidden = true;
}

function partnersOf(plot) {
  if (!plot.dataset.group) return [];
  return [...document.querySelectorAll("[data-plot][data-group]")].filter((other) => other !== plot && areaOf(other) && other.dataset.group === plot.dataset.group);
}

function showCrosshair(plot, x) {
  areaOf(plot).style.setProperty("--x", `${x}%`);
  areaOf(plot).querySelector(".plot-cross").hidden = false;
}

// -- Mouse and touch ------------------------------------------------------------------------------
function nearest(plot, event) {
  const box = areaOf(plot).getBoundingClientRect();
  let closest = null;
  let least = Infinity;
  for (const { dots } of linesOf(plot)) {
    for (const dot of dots) {
      const across = (dot.dataset.x / 100) * box.width + box.left - event.clientX;
      const down = (dot.dataset.y / 100) * box.height + box.top - event.clientY;
      const distance = across ** 2 + down ** 2 / 4; // the horizontal distance counts more, as lines are read from left to right
      if (distance < least) [closest, least] = [dot, distance];
    }
  }
  return closest;
}

document.addEventListener("pointermove", (event) => {
  const plot = event.target.closest?.(".plot-area")?.closest("[data-plot]");
  if (!plot) return;
  const dot = nearest(plot, event);
  if (dot) show(plot, dot);
});

document.addEventListener("pointerout", (event) => {
  const area = event.target.closest?.(".plot-area");
  if (!area || area.contains(event.relatedTarget)) return;
  const plot = area.closest("[data-plot]");
  if (document.activeElement === area && selected.has(plot.dataset.plot)) show(plot, current(plot).dot);
  else hide(plot);
});

document.addEventListener("click", (event) => {
  const key = event.target.closest(".plot-key");
  if (key) return toggleLine(key.closest("[data-plot]"), key.dataset.series);
  const plot = event.target.closest(".plot-area")?.closest("[data-plot]");
  const dot = plot && nearest(plot, event);
  if (dot?.dataset.href && isOn(plot, dot, event)) location.assign(dot.dataset.href);
});

// Return whether a click is close enough to a point to follow its link.
function isOn(plot, dot, event) {
  const box = areaOf(plot).getBoundingClientRect();
  const across = (dot.dataset.x / 100) * box.width + box.left - event.clientX;
  const down = (dot.dataset.y / 100) * box.height + box.top - event.clientY;
  return Math.hypot(across, down) < 24;
}

// -- Keys -----------------------------------------------------------------------------------------
// Return the point selected by keyboard; at first, the newest one.
function current(plot) {
  const lines = linesOf(plot);
  const stored = selected.get(plot.dataset.plot);
  const line = lines.find(({ series }) => series === stored?.series) ?? lines[0];
  if (!line) return null;
  const at = Math.min(stored?.at ?? Infinity, line.dots.length - 1);
  return { lines, line, at, dot: line.dots[at] };
}

function selectPoint(plot, line, at) {
  const index = Math.max(0, Math.min(line.dots.length - 1, at));
  selected.set(plot.dataset.plot, { series: line.series, at: index });
  show(plot, line.dots[index]);
}

// Select the nearest point of the line above or below.
function changeLine(plot, { lines, line, at, dot }, by) {
  const other = lines[lines.indexOf(line) + by];
  if (!other) return selectPoint(plot, line, at);
  const distances = other.dots.map(({ dataset }) => Math.abs(dataset.x - dot.dataset.x));
  selectPoint(plot, other, distances.indexOf(Math.min(...distances)));
}

const KEYS = {
  ArrowLeft: (plot, { line, at }) => selectPoint(plot, line, at - 1),
  ArrowRight: (plot, { line, at }) => selectPoint(plot, line, at + 1),
  Home: (plot, { line }) => selectPoint(plot, line, 0),
  End: (plot, { line }) => selectPoint(plot, line, line.dots.length - 1),
  ArrowUp: (plot, here) => changeLine(plot, here, -1),
  ArrowDown: (plot, here) => changeLine(plot, here, 1),
  Enter: (plot, { dot }) => dot.dataset.href && location.assign(dot.dataset.href),
  Escape: (plot) => hide(plot),
};

document.addEventListener("keydown", (event) => {
  if (!event.target.matches?.(".plot-area") || event.ctrlKey || event.metaKey || event.altKey) return;
  const plot = event.target.closest("[data-plot]");
  const here = current(plot);
  const handle = Object.hasOwn(KEYS, event.key) ? KEYS[event.key] : null;
  if (!here || !handle) return;
  event.preventDefault();
  event.stopPropagation();
  handle(plot, here);
});

document.addEventListener("focusin", (event) => {
  if (!event.target.matches?.(".plot-area") || !event.target.matches(":focus-visible")) return;
  const plot = event.target.closest("[data-plot]");
  const here = current(plot);
  if (here) selectPoint(plot, here.line, here.at);
});

document.addEventListener("focusout", (event) => {
  if (event.target.matches?.(".plot-area")) hide(event.target.closest("[data-plot]"));
});

// -- The legend -----------------------------------------------------------------------------------
function toggleLine(plot, series) {
  const off = hidden.get(plot.dataset.plot) ?? new Set();
  if (!off.delete(series)) off.add(series);
  hidden.set(plot.dataset.plot, off);
  hide(plot);
  applyHidden(plot);
}

function applyHidden(plot) {
  const off = hidden.get(plot.dataset.plot) ?? new Set();
  for (const series of plot.querySelectorAll(".series")) series.classList.toggle("off", off.has(series.dataset.series));
  for (const key of plot.querySelectorAll(".plot-key")) key.setAttribute("aria-pressed", String(!off.has(key.dataset.series)));
}

// Hide the same lines in a plot that replaces another.
document.addEventListener("htmx:load", (event) => {
  for (const plot of event.detail.elt.parentElement?.querySelectorAll("[data-plot]") ?? []) applyHidden(plot);
});

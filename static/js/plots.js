// Plots that answer: the nearest point under the mouse or by arrow keys, a crosshair, lines switched off in the legend.
// Everything is drawn by the server (templates/modeling/_plot.html); listeners are the document's, so that a plot may be
// swapped for a newer one at any time.
const hidden = new Map(); // by plot, the numbers of the lines that the person switched off
const chosen = new Map(); // by plot, where the keyboard is: {series, at}

const areaOf = (plot) => plot.querySelector(".plot-area");

// The dots of the lines that are shown, each line's from left to right.
function linesOf(plot) {
  return [...plot.querySelectorAll(".series:not(.off)")]
    .map((series) => ({ series: series.dataset.series, dots: [...series.querySelectorAll(".dot")].sort((a, b) => a.dataset.x - b.dataset.x) }))
    .filter(({ dots }) => dots.length);
}

// -- Showing --------------------------------------------------------------------------------------
function show(plot, dot) {
  const area = areaOf(plot);
  const { x, y, words, href } = dot.dataset;
  area.style.setProperty("--x", `${x}%`);
  area.style.setProperty("--y", `${y}%`);
  area.querySelector(".plot-cross").hidden = false;
  area.querySelector(".plot-ring").hidden = false;
  area.classList.toggle("leads", Boolean(href));
  const tip = area.querySelector(".plot-tip");
  tip.classList.toggle("at-start", x < 25);
  tip.classList.toggle("at-end", x > 75);
  tip.classList.toggle("below", y < 40);
  if (tip.textContent !== words) tip.textContent = words;
  for (const other of partnersOf(plot)) cross(other, x);
}

function hide(plot) {
  const area = areaOf(plot);
  for (const part of area.querySelectorAll(".plot-cross, .plot-ring")) part.hidden = true;
  area.querySelector(".plot-tip").textContent = "";
  area.classList.remove("leads");
  for (const other of partnersOf(plot)) areaOf(other).querySelector(".plot-cross").hidden = true;
}

function partnersOf(plot) {
  if (!plot.dataset.group) return [];
  return [...document.querySelectorAll("[data-plot][data-group]")].filter((one) => one !== plot && one.dataset.group === plot.dataset.group);
}

function cross(plot, x) {
  areaOf(plot).style.setProperty("--x", `${x}%`);
  areaOf(plot).querySelector(".plot-cross").hidden = false;
}

// -- Mouse and finger -----------------------------------------------------------------------------
function nearest(plot, event) {
  const box = areaOf(plot).getBoundingClientRect();
  let best = null;
  let least = Infinity;
  for (const { dots } of linesOf(plot)) {
    for (const dot of dots) {
      const across = (dot.dataset.x / 100) * box.width + box.left - event.clientX;
      const down = (dot.dataset.y / 100) * box.height + box.top - event.clientY;
      const distance = across ** 2 + down ** 2 / 4; // a line is read from left to right
      if (distance < least) [best, least] = [dot, distance];
    }
  }
  return best;
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
  if (document.activeElement === area && chosen.has(plot.dataset.plot)) show(plot, current(plot).dot);
  else hide(plot);
});

document.addEventListener("click", (event) => {
  const key = event.target.closest(".plot-key");
  if (key) return toggle(key.closest("[data-plot]"), key.dataset.series);
  const plot = event.target.closest(".plot-area")?.closest("[data-plot]");
  const dot = plot && nearest(plot, event);
  if (dot?.dataset.href && isOn(plot, dot, event)) location.assign(dot.dataset.href);
});

// A click leads somewhere only on the point itself, not from across the plot.
function isOn(plot, dot, event) {
  const box = areaOf(plot).getBoundingClientRect();
  const across = (dot.dataset.x / 100) * box.width + box.left - event.clientX;
  const down = (dot.dataset.y / 100) * box.height + box.top - event.clientY;
  return Math.hypot(across, down) < 24;
}

// -- Keys -----------------------------------------------------------------------------------------
// Where the keyboard is: the newest point at first.
function current(plot) {
  const lines = linesOf(plot);
  const kept = chosen.get(plot.dataset.plot);
  const line = lines.find(({ series }) => series === kept?.series) ?? lines[0];
  if (!line) return null;
  const at = Math.min(kept?.at ?? Infinity, line.dots.length - 1);
  return { lines, line, at, dot: line.dots[at] };
}

function go(plot, line, at) {
  const within = Math.max(0, Math.min(line.dots.length - 1, at));
  chosen.set(plot.dataset.plot, { series: line.series, at: within });
  show(plot, line.dots[within]);
}

// Up and down: the point of the next line that is nearest to this one's place.
function change(plot, { lines, line, at, dot }, by) {
  const other = lines[lines.indexOf(line) + by];
  if (!other) return go(plot, line, at);
  const gaps = other.dots.map((one) => Math.abs(one.dataset.x - dot.dataset.x));
  go(plot, other, gaps.indexOf(Math.min(...gaps)));
}

const KEYS = {
  ArrowLeft: (plot, { line, at }) => go(plot, line, at - 1),
  ArrowRight: (plot, { line, at }) => go(plot, line, at + 1),
  Home: (plot, { line }) => go(plot, line, 0),
  End: (plot, { line }) => go(plot, line, line.dots.length - 1),
  ArrowUp: (plot, here) => change(plot, here, -1),
  ArrowDown: (plot, here) => change(plot, here, 1),
  Enter: (plot, { dot }) => dot.dataset.href && location.assign(dot.dataset.href),
  Escape: (plot) => hide(plot),
};

document.addEventListener("keydown", (event) => {
  if (!event.target.matches?.(".plot-area") || event.ctrlKey || event.metaKey || event.altKey) return;
  const plot = event.target.closest("[data-plot]");
  const here = current(plot);
  const press = Object.hasOwn(KEYS, event.key) ? KEYS[event.key] : null;
  if (!here || !press) return;
  event.preventDefault();
  event.stopPropagation();
  press(plot, here);
});

document.addEventListener("focusin", (event) => {
  if (!event.target.matches?.(".plot-area") || !event.target.matches(":focus-visible")) return;
  const plot = event.target.closest("[data-plot]");
  const here = current(plot);
  if (here) go(plot, here.line, here.at);
});

document.addEventListener("focusout", (event) => {
  if (event.target.matches?.(".plot-area")) hide(event.target.closest("[data-plot]"));
});

// -- The legend -----------------------------------------------------------------------------------
function toggle(plot, series) {
  const off = hidden.get(plot.dataset.plot) ?? new Set();
  if (!off.delete(series)) off.add(series);
  hidden.set(plot.dataset.plot, off);
  hide(plot);
  apply(plot);
}

function apply(plot) {
  const off = hidden.get(plot.dataset.plot) ?? new Set();
  for (const series of plot.querySelectorAll(".series")) series.classList.toggle("off", off.has(series.dataset.series));
  for (const key of plot.querySelectorAll(".plot-key")) key.setAttribute("aria-pressed", String(!off.has(key.dataset.series)));
}

// A plot that took another's place: what was hidden stays hidden.
document.addEventListener("htmx:load", (event) => {
  for (const plot of event.detail.elt.parentElement?.querySelectorAll("[data-plot]") ?? []) apply(plot);
});

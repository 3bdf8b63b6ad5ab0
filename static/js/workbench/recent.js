// The strip of the images that the person labeled last. It is loaded when it is shown, and then follows each decision on
// this page without the server.
import { LABELED, UNLABELED, idOf } from "../tiles.js";
import { recall, remember } from "../store.js";
import { classes } from "./classes.js";

const MOST = 12;
const STATES = ["", "", "unsure", "skipped"];

const strip = document.getElementById("recent");
const toggle = document.getElementById("recent-toggle");
const row = document.getElementById("recent-row").content.querySelector("li");

const list = () => strip.querySelector(".recent-list");
const entryOf = (itemRow) => list()?.querySelector(`li[data-row="${itemRow}"]`);

function setShown(isShown) {
  strip.hidden = !isShown;
  toggle.setAttribute("aria-pressed", String(isShown));
}

function showOutcome(entry, { state, label }) {
  const labelClass = state === LABELED ? classes.ofId(label) : null;
  const name = labelClass?.name ?? STATES[state];
  const line = entry.querySelector(".recent-label");
  if (labelClass) line.style.setProperty("--c", labelClass.color);
  else line.removeAttribute("style");
  line.querySelector("kbd").textContent = (labelClass?.key ?? "").toUpperCase();
  line.querySelector(".name").textContent = name;
  const link = entry.querySelector("a");
  link.title = `${entry.dataset.name ?? link.title.split(": ")[0]}: ${name}`;
}

function entryFor(tile) {
  const entry = row.cloneNode(true);
  Object.assign(entry.dataset, { item: tile.dataset.item, row: tile.dataset.row, name: tile.dataset.name });
  const link = entry.querySelector("a");
  const images = [...tile.querySelectorAll(".picture.frames > .frame:not(.color) > img, .picture:not(.frames) > img")];
  link.prepend(...images.map(({ currentSrc, src }) => Object.assign(new Image(), { src: currentSrc || src, alt: "" })));
  link.href = `${link.getAttribute("href").split("?")[0]}?${new URLSearchParams({ queue: "all", state: "any", rows: tile.dataset.row })}`;
  return entry;
}

document.body.addEventListener("hoshina:labeled", ({ detail: { tiles, effect } }) => {
  if (!list()) return; // not shown yet
  for (const tile of tiles.slice(-MOST)) {
    entryOf(tile.dataset.row)?.remove();
    const outcome = effect.find(({ id }) => id === idOf(tile));
    if (outcome.state === UNLABELED) continue;
    const entry = entryFor(tile);
    showOutcome(entry, outcome);
    list().prepend(entry);
  }
  while (list().children.length > MOST) list().lastElementChild.remove();
});

// An undo, or what the server answered.
document.body.addEventListener("hoshina:decided", ({ detail }) => {
  const entry = list() && entryOf(detail.row);
  if (!entry) return;
  if (detail.state === UNLABELED) entry.remove();
  else showOutcome(entry, detail);
});

// Go to the tile on this page or one before, if it is kept; otherwise the link opens the image in the queue All.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("#recent a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const detail = { id: Number(link.closest("li").dataset.item), isShown: false };
  document.body.dispatchEvent(new CustomEvent("hoshina:reveal", { detail }));
  if (!detail.isShown) return;
  event.preventDefault();
  event.stopPropagation();
}, true);

toggle.addEventListener("click", () => {
  remember("recent", strip.hidden);
  setShown(strip.hidden);
});

setShown(recall("recent") ?? false);

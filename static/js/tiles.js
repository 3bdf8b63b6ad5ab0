// One tile: what it says about its item.
import { classes } from "./workbench/classes.js";

export const UNLABELLED = 0;
export const LABELLED = 1;
export const UNSURE = 2;
export const SKIPPED = 3;
const STATES = ["unlabelled", "labelled", "unsure", "skipped"];
export const OUTCOME = { assign: LABELLED, unsure: UNSURE, skip: SKIPPED, clear: UNLABELLED };

export function idOf(tile) {
  return Number(tile.dataset.item);
}

export function stateOf(tile) {
  const label = tile.dataset.label ? Number(tile.dataset.label) : null;
  return { id: idOf(tile), state: Number(tile.dataset.state), label, changed: tile.dataset.changed !== undefined };
}

export function isUndecided(tile) {
  return tile.dataset.state === "0";
}

// Shows `state` and `label` (a class's id, or null) on the tile, and whether the file changed after that decision.
export function mark(tile, { state, label, changed = false }) {
  tile.toggleAttribute("data-changed", changed);
  tile.dataset.state = String(state);
  tile.dataset.label = label ?? "";
  drawChip(tile);
}

export function drawChip(tile) {
  const { state, label } = stateOf(tile);
  const known = label === null ? null : classes.ofId(label);
  const chip = tile.querySelector(".chip");
  const name = state === LABELLED ? (known?.name ?? chip.querySelector(".name").textContent) : STATES[state];
  chip.querySelector("kbd").textContent = state === LABELLED ? (known?.key ?? "") : "";
  chip.querySelector(".name").textContent = name;
  if (state === LABELLED && known) {
    chip.style.setProperty("--c", known.colour);
    tile.style.setProperty("--mark", known.colour);
  } else if (state !== LABELLED) {
    chip.style.removeProperty("--c");
    tile.style.removeProperty("--mark");
  }
  const words = state === LABELLED ? `labelled ${name}` : STATES[state];
  const since = tile.dataset.changed === undefined ? "" : ", file changed since";
  tile.setAttribute("aria-label", `${tile.dataset.name}, ${words}${since}${suggestionWords(tile)}`);
}

// A renamed or recoloured class is shown so on the tiles that are there.
export function drawSuggestion(tile) {
  const shown = tile.querySelector(".suggestion");
  const known = shown && classes.ofId(shown.dataset.suggested);
  if (!known) return;
  shown.querySelector(".name").textContent = known.name;
  shown.querySelector(".dot").style.setProperty("--c", known.colour);
}

function suggestionWords(tile) {
  const shown = tile.querySelector(".suggestion");
  if (!shown || document.body.classList.contains("blind")) return "";
  return `, suggested ${shown.querySelector(".name").textContent} ${shown.querySelector("b").textContent}`;
}

export function setPending(tile, n) {
  if (n > 0) tile.dataset.pending = String(n);
  else delete tile.dataset.pending;
}

// Somebody else decided this item meanwhile: their decision is on the tile, and this line says whose.
export function setConflict(tile, by) {
  tile.querySelector(".conflict")?.remove();
  if (!by) {
    delete tile.dataset.conflict;
    return;
  }
  tile.dataset.conflict = by;
  const line = document.createElement("span");
  line.className = "conflict";
  line.textContent = `${by} decided this meanwhile. Label it again to overwrite.`;
  tile.append(line);
  tile.setAttribute("aria-label", `${tile.getAttribute("aria-label")}, ${line.textContent}`);
}

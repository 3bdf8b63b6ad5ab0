// The tiles: the state, label and messages that each shows for its item.
import { remarksText } from "./remarks.js";
import { setText } from "./text.js";
import { classes } from "./workbench/classes.js";

export const UNLABELED = 0;
export const LABELED = 1;
export const UNSURE = 2;
export const SKIPPED = 3;
const STATES = ["unlabeled", "labeled", "unsure", "skipped"];
export const OUTCOME = { assign: LABELED, unsure: UNSURE, skip: SKIPPED, clear: UNLABELED };

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

// Whether the page waits for a decision on the tile. Where labels are reviewed, also a labeled tile does.
export function isOpen(tile) {
  return "review" in tile.dataset ? tile.dataset.review === "open" : isUndecided(tile);
}

// Whether a label would only repeat the tile's decision. It confirms the decision where labels are reviewed, after the file
// changed, against a label of someone else, and where the image was only accepted.
export function isRepeated(tile, label) {
  const { state, label: current, changed } = stateOf(tile);
  return state === LABELED && current === label.id && !changed && !("review" in tile.dataset) && tile.dataset.conflict === undefined && !isAccepted(tile);
}

// Accepting a page of a sweep labels all of its images but the hidden checks. So that none looks labeled that is not, and
// nothing tells which ones are checks, all of them look accepted.
export function setAccepted(tile, label) {
  if (label) tile.dataset.accepted = String(label.id);
  else delete tile.dataset.accepted;
}

export function isAccepted({ dataset: { accepted, state, label } }) {
  return accepted !== undefined && Number(state) === LABELED && label === accepted;
}

// Whether the tile is a check that was accepted, which has no label yet.
export function isKeptBack(tile) {
  return tile.dataset.later !== undefined && isAccepted(tile);
}

// Record on a tile of a review whether it was decided on this page.
export function setReviewed(tile, isReviewed) {
  if ("review" in tile.dataset) tile.dataset.review = isReviewed ? "done" : "open";
}

// Show `state` and `label` (the id of a class, or null) on the tile, and whether the file changed after the decision.
export function showDecision(tile, { state, label, changed = false }) {
  tile.toggleAttribute("data-changed", changed);
  tile.dataset.state = String(state);
  tile.dataset.label = label ?? "";
  drawChip(tile);
}

export function drawChip(tile) {
  const { state, label } = stateOf(tile);
  const labelClass = label === null ? null : classes.ofId(label);
  const chip = tile.querySelector(".chip");
  const isOnlyAccepted = isAccepted(tile);
  const name = state === LABELED ? (labelClass?.name ?? chip.querySelector(".name").textContent) : STATES[state];
  setText(chip.querySelector("kbd"), state === LABELED && !isOnlyAccepted ? (labelClass?.key ?? "").toUpperCase() : "");
  setText(chip.querySelector(".name"), isOnlyAccepted ? "accepted" : name);
  if (state === LABELED && labelClass && !isOnlyAccepted) {
    chip.style.setProperty("--c", labelClass.color);
    tile.style.setProperty("--mark", labelClass.color);
  } else if (state !== LABELED || isOnlyAccepted) {
    chip.style.removeProperty("--c");
    tile.style.removeProperty("--mark");
  }
  describe(tile);
}

// Name the tile for screen readers: its file, decision and suggestion.
export function describe(tile) {
  const { state } = stateOf(tile);
  const stateText = isAccepted(tile) ? "accepted" : state === LABELED ? `labeled ${tile.querySelector(".chip .name").textContent}` : STATES[state];
  const change = tile.dataset.changed === undefined ? "" : ", file changed since";
  const remarks = remarksText(tile).map((text) => `, ${text}`).join("");
  tile.setAttribute("aria-label", `${tile.dataset.name}, ${stateText}${change}${remarks}${suggestionText(tile)}`);
}

// Update a suggestion after its class was renamed or recolored.
export function drawSuggestion(tile) {
  const suggestion = tile.querySelector(".suggestion");
  const labelClass = suggestion && classes.ofId(suggestion.dataset.suggested);
  if (!labelClass) return;
  suggestion.querySelector(".name").textContent = labelClass.name;
  suggestion.querySelector(".dot").style.setProperty("--c", labelClass.color);
}

function suggestionText(tile) {
  const pair = tile.querySelector(".border-pair");
  if (pair) return `, ${pair.textContent}`;
  const suggestion = tile.querySelector(".suggestion");
  if (!suggestion || document.body.classList.contains("blind")) return "";
  return `, suggested ${suggestion.querySelector(".name").textContent} ${suggestion.querySelector("b").textContent}`;
}

export function setPending(tile, n) {
  if (n > 0) tile.dataset.pending = String(n);
  else delete tile.dataset.pending;
}

// Show who decided this item in the meantime. The tile shows their decision.
export function setConflict(tile, by) {
  tile.querySelector(".conflict")?.remove();
  if (!by) {
    delete tile.dataset.conflict;
    return;
  }
  tile.dataset.conflict = by;
  const line = document.createElement("span");
  line.className = "conflict";
  line.textContent = `${by} labeled this in the meantime. Label it again to overwrite.`;
  tile.append(line);
  tile.setAttribute("aria-label", `${tile.getAttribute("aria-label")}, ${line.textContent}`);
}

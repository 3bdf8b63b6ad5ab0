// Sweeps: pages that are decided at once. Marked (selected) tiles are not of the class or group; keys act on the rest. The
// server renders the bar above the tiles.
import { isSelected } from "./cursor.js";
import { classes } from "./classes.js";
import { counted } from "../plural.js";
import { LABELED, isKeptBack, isUndecided, stateOf } from "../tiles.js";

const KINDS = { sweep: "class", checks: "class", groups: "group" };

// The queues that show labeled images, to keep or to change each label.
const REVIEWS = ["suspects", "review"];

export function isReview(queue) {
  return REVIEWS.includes(queue);
}

// Return whether a queue's pages have a bar above the tiles.
export function hasBar(queue) {
  return isSweep(queue) || queue === "suspects";
}

// Return whether a queue is a sweep. Its pages have a bar (unless they are decided one by one, as checks that were marked),
// are not prefetched, and get no more tiles.
export function isSweep(queue) {
  return queue in KINDS;
}

export class Sweep {
  constructor({ pages, cursor }) {
    Object.assign(this, { pages, cursor });
  }

  // "class", "group", or null on a page that is decided one by one.
  get kind() {
    return this.pages.hasTiles && document.getElementById("sweep-bar") ? KINDS[this.pages.grid.dataset.kind] : null;
  }

  // The class of a class sweep; null if it was deleted.
  get label() {
    return this.kind === "class" ? classes.ofId(this.pages.grid.dataset.of) : null;
  }

  // The undecided tiles without a mark, which Accept decides.
  get rest() {
    return this.cursor.tiles.filter((tile) => isUndecided(tile) && !isSelected(tile));
  }

  get marked() {
    return this.cursor.tiles.filter((tile) => isUndecided(tile) && isSelected(tile));
  }

  // The warning against labeling all of a group at once, or "".
  get warning() {
    return (this.kind === "group" && document.getElementById("sweep-bar")?.dataset.warning) || "";
  }

  // Show the number of marked tiles in the bar.
  showMarked() {
    const element = document.querySelector("[data-sweep-marked]");
    if (!element || !this.kind) return;
    const n = this.marked.length;
    element.textContent = n ? `${n} marked` : "none marked yet";
    const nRest = this.rest.length;
    const rest = document.querySelector("[data-sweep-rest]");
    if (rest) rest.textContent = restText(nRest, n);
    rest?.closest("button").toggleAttribute("hidden", nRest === 0);
    const done = document.querySelector("[data-sweep-done]");
    if (done) done.hidden = nRest > 0;
    this.#showOutcome();
  }

  // Once a class sweep is accepted, say what happened in place of what to do.
  #showOutcome() {
    const [plan, outcome] = [document.querySelector("[data-sweep-plan]"), document.querySelector("[data-sweep-outcome]")];
    if (!outcome || !this.label) return;
    const { label, marked } = this;
    const labeled = this.cursor.tiles.filter((tile) => stateOf(tile).state === LABELED && stateOf(tile).label === label.id);
    const nKeptBack = labeled.filter(isKeptBack).length;
    outcome.hidden = this.rest.length > 0 || !labeled.length;
    plan.hidden = !outcome.hidden;
    outcome.textContent = outcomeText({ name: label.name, nLabeled: labeled.length - nKeptBack, nKeptBack, nMarked: marked.length });
  }

  // Return the query for the tighter half of the group, or null if it is too small to split.
  halfOf(query) {
    const rows = this.rest.map((tile) => tile.dataset.row);
    if (this.kind !== "group" || rows.length < 3) return null;
    const half = new URLSearchParams(query);
    half.set("within", rows.join(","));
    return half;
  }
}

function outcomeText({ name, nLabeled, nKeptBack, nMarked }) {
  const keptBack = nKeptBack ? `, ${counted(nKeptBack, "check")} kept back without a label` : "";
  const marked = nMarked ? ` ${nMarked} marked: press the key of the right class.` : "";
  return `${nLabeled} labeled as ${name}${keptBack}.${marked}`;
}

// Return how the button begins that decides the tiles without a mark.
function restText(n, nMarked) {
  if (n === 1) return nMarked ? "The other one is" : "This is";
  return `${nMarked ? "The other" : "All"} ${n} are`;
}

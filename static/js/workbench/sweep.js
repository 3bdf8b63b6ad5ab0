// Sweeps: a page decided at once. The selection means "not of this class" (or "not of this group"): the rest is what a
// key acts on. The bar above the tiles, which the server makes, says so.
import { isSelected } from "./cursor.js";
import { classes } from "./classes.js";
import { isUndecided } from "../tiles.js";

const KINDS = { sweep: "class", groups: "group" };

// The queues that sweep: their pages have a bar, are not fetched ahead, and are not topped up.
export function isSweep(queue) {
  return queue in KINDS;
}

export class Sweep {
  constructor({ pages, cursor }) {
    Object.assign(this, { pages, cursor });
  }

  // "class", "group", or null on an ordinary page.
  get kind() {
    return this.pages.hasTiles ? (KINDS[this.pages.grid.dataset.kind] ?? null) : null;
  }

  // The class that the page is swept for; null when it is gone.
  get label() {
    return this.kind === "class" ? classes.ofId(this.pages.grid.dataset.of) : null;
  }

  // Undecided tiles without a mark: what the accepting key decides.
  get rest() {
    return this.cursor.tiles.filter((tile) => isUndecided(tile) && !isSelected(tile));
  }

  get marked() {
    return this.cursor.tiles.filter((tile) => isUndecided(tile) && isSelected(tile));
  }

  // What is known against labeling all of a group at once; "" where enough is known for it.
  get warning() {
    return (this.kind === "group" && document.getElementById("sweep-bar")?.dataset.warning) || "";
  }

  // After any change of the marks: the bar counts them.
  tell() {
    const shown = document.querySelector("[data-sweep-marked]");
    if (!shown || !this.kind) return;
    const n = this.marked.length;
    shown.textContent = n ? `${n} marked` : "none marked yet";
  }

  // The address of the tighter half of the page's group, or null where there is nothing to split.
  halfOf(query) {
    const rows = this.rest.map((tile) => tile.dataset.row);
    if (this.kind !== "group" || rows.length < 3) return null;
    const half = new URLSearchParams(query);
    half.set("within", rows.join(","));
    return half;
  }
}

// The focused tile, which the arrow keys move, and the selected tiles. Keys act on the selection, or else on the focus.
import { isOpen } from "../tiles.js";

export class Cursor {
  constructor() {
    this.grid = null;
    this.tiles = [];
    this.index = -1;
    this.anchor = -1;
    this.isMarking = false; // in a sweep: a click marks a tile, and marks stay until they are cleared
  }

  // Use the tiles of a new page. Focus the tile that had the focus, or else the first undecided tile.
  adopt(grid, { takeFocus = true } = {}) {
    this.grid = grid;
    this.tiles = [...grid.querySelectorAll(".tile")];
    const previous = this.tiles.findIndex((tile) => tile.classList.contains("here"));
    const undecided = this.tiles.findIndex(isOpen);
    this.index = -1;
    this.focus(previous >= 0 ? previous : Math.max(0, undecided), { takeFocus });
  }

  get tile() {
    return this.tiles[this.index] ?? null;
  }

  get columns() {
    return Number(this.grid?.dataset.columns) || 1;
  }

  focus(index, { takeFocus = true, keepAnchor = false } = {}) {
    if (!this.tiles.length) return;
    const next = Math.max(0, Math.min(this.tiles.length - 1, index));
    const before = this.tile;
    this.index = next;
    if (!keepAnchor) this.anchor = next;
    for (const other of this.grid.querySelectorAll('.tile.here, .tile[tabindex="0"]')) {
      other.classList.remove("here");
      other.tabIndex = -1;
    }
    this.tile.classList.add("here");
    this.tile.tabIndex = 0;
    if (takeFocus) this.tile.focus({ preventScroll: true });
    this.tile.scrollIntoView({ block: "nearest", inline: "nearest" });
    if (before !== this.tile) document.body.dispatchEvent(new CustomEvent("hoshina:tile", { detail: { tile: this.tile } }));
  }

  // Move the focus left, right, up, down, first or last. With `extend`, select from the anchor to it.
  move(direction, extend) {
    if (this.index < 0) return;
    const last = this.tiles.length - 1;
    const to = {
      left: this.index - 1,
      right: this.index + 1,
      up: this.index - this.columns < 0 ? this.index : this.index - this.columns,
      down: this.#below(last),
      first: 0,
      last,
    }[direction];
    this.focus(to, { keepAnchor: extend });
    if (extend) this.#selectRange();
  }

  #below(last) {
    const below = this.index + this.columns;
    if (below <= last) return below;
    const isOnLastRow = Math.floor(this.index / this.columns) === Math.floor(last / this.columns);
    return isOnLastRow ? this.index : last;
  }

  handleClick(tile, { shift, toggle }) {
    const index = this.tiles.indexOf(tile);
    if (index < 0) return;
    if (shift) {
      this.focus(index, { keepAnchor: true });
      this.#selectRange();
    } else if (toggle || this.isMarking) {
      this.focus(index);
      this.toggle();
    } else {
      this.clear();
      this.focus(index);
    }
  }

  mark(tile) {
    setSelected(tile, true);
  }

  // Select the focused tile, or clear its selection.
  toggle() {
    if (this.tile) setSelected(this.tile, !isSelected(this.tile));
  }

  #selectRange() {
    const [from, to] = [Math.min(this.anchor, this.index), Math.max(this.anchor, this.index)];
    this.tiles.forEach((tile, i) => setSelected(tile, (i >= from && i <= to) || (this.isMarking && isSelected(tile))));
  }

  selectAll() {
    for (const tile of this.tiles) setSelected(tile, true);
  }

  // Clear the selection. Return whether there was one.
  clear() {
    const hadSelection = this.selection.length > 0;
    for (const tile of this.selection) setSelected(tile, false);
    this.anchor = this.index;
    return hadSelection;
  }

  get selection() {
    return this.tiles.filter(isSelected);
  }

  // The tiles that keys act on: the selection, or else the focused tile.
  get targets() {
    const selected = this.selection;
    if (selected.length) return selected;
    return this.tile ? [this.tile] : [];
  }

  // Focus the next undecided tile after `tiles`, continuing at the start; if all are decided, the next tile.
  moveOn(tiles) {
    const after = Math.max(...tiles.map((tile) => this.tiles.indexOf(tile)));
    const order = [...this.tiles.keys()].map((i) => (after + 1 + i) % this.tiles.length);
    const next = order.find((i) => isOpen(this.tiles[i]));
    this.focus(next ?? Math.min(after + 1, this.tiles.length - 1));
  }
}

export function isSelected(tile) {
  return tile.getAttribute("aria-selected") === "true";
}

function setSelected(tile, value) {
  tile.setAttribute("aria-selected", String(value));
}

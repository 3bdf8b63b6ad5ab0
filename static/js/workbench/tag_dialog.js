// The dialog that tags the selected images: type part of a tag, Enter adds it, or removes it where all have it.
import { ListBox } from "../listbox.js";

const MANY = 200; // tags listed at once

export class TagDialog {
  // `onChoose(name, isOn)` is called with the chosen tag.
  constructor(dialog, { url, onChoose }) {
    Object.assign(this, { dialog, url, onChoose, names: [], tagsOfTiles: [], lines: [] });
    this.input = dialog.querySelector("input");
    this.list = new ListBox(this.input, dialog.querySelector("ul"), (at) => this.#choose(at));
    this.row = document.getElementById("tag-row").content.firstElementChild;
    this.input.addEventListener("input", () => this.#search());
  }

  // `tagsOfTiles` has the tags of each selected image.
  open(tagsOfTiles) {
    this.tagsOfTiles = tagsOfTiles;
    this.names = [...new Set([...tagsOfTiles.flat(), ...this.names])].sort((a, b) => a.localeCompare(b));
    this.input.value = "";
    this.#search();
    this.dialog.showModal();
    this.input.focus();
    this.#load();
  }

  // Show the dialog at once, and add the tags of the other images when they arrive.
  async #load() {
    try {
      const response = await fetch(this.url, { credentials: "same-origin", headers: { Accept: "application/json" } });
      const { tags } = await response.json();
      this.names = [...new Set([...this.tagsOfTiles.flat(), ...tags])].sort((a, b) => a.localeCompare(b));
      if (this.dialog.open) this.#search(this.list.at);
    } catch (error) {
      console.info("The tags could not be loaded.", error);
    }
  }

  #search(at = 0) {
    const typed = this.input.value.trim().replace(/\s+/g, " ");
    const wanted = typed.toLowerCase();
    const found = this.names.filter((name) => name.toLowerCase().includes(wanted));
    found.sort((a, b) => Number(b.toLowerCase().startsWith(wanted)) - Number(a.toLowerCase().startsWith(wanted)));
    this.lines = found.slice(0, MANY).map((name) => ({ name, n: this.tagsOfTiles.filter((tags) => tags.includes(name)).length }));
    const isKnown = found.some((name) => name.toLowerCase() === wanted);
    if (typed && !isKnown) this.lines.push({ name: typed, n: 0, isNew: true });
    this.list.show(this.lines.map((line) => this.#line(line)), at);
  }

  #line({ name, n, isNew }) {
    const line = this.row.cloneNode(true);
    const total = this.tagsOfTiles.length;
    line.querySelector(".name").textContent = isNew ? `Add the tag “${name}”` : name;
    line.querySelector(".muted").textContent = n === 0 ? "" : n === total ? "remove" : `on ${n} of ${total}`;
    return line;
  }

  #choose(at) {
    const line = this.lines[at];
    if (!line) return;
    this.dialog.close();
    this.onChoose(line.name, line.n < this.tagsOfTiles.length);
  }
}

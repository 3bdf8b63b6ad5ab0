// The dialog that finds by typing. Enter runs the selected entry.
import { ListBox } from "./listbox.js";

const MOST = 60; // entries in the list

export class Palette {
  #source = null;

  constructor(dialog) {
    Object.assign(this, { dialog, found: [] });
    this.input = dialog.querySelector("#palette-input");
    this.list = dialog.querySelector("#palette-list");
    this.none = dialog.querySelector("#palette-none");
    this.row = document.getElementById("palette-row").content.firstElementChild;
    this.input.addEventListener("input", () => this.#search());
    this.lines = new ListBox(this.input, this.list, (at) => this.#run(at));
  }

  // `source` is {label, placeholder, nothing, entries, more}: `entries` are {name, run, kind?, key?, color?, words?}, and
  // `more(text)` returns entries to list after those that match. `find(text)`, if there is one, returns a promise of entries
  // that replace those of `more`, or of null.
  open(source) {
    this.#source = source;
    this.dialog.setAttribute("aria-label", source.label);
    this.input.setAttribute("aria-label", source.placeholder);
    this.input.placeholder = source.placeholder;
    this.list.setAttribute("aria-label", source.label);
    this.none.textContent = source.nothing;
    this.input.value = "";
    this.#search();
    this.dialog.showModal();
    this.input.focus();
  }

  #search() {
    const text = this.input.value.trim();
    const matches = matching(this.#source.entries, text);
    this.none.hidden = matches.length > 0 || Boolean(text && this.#source.find);
    this.#show([...matches.slice(0, MOST), ...(text ? this.#source.more?.(text) ?? [] : [])]);
    if (text) this.#find(text, matches.slice(0, MOST));
  }

  async #find(text, matches) {
    try {
      const found = await this.#source.find?.(text);
      if (!found || !this.dialog.open || this.input.value.trim() !== text) return;
      this.#show([...matches, ...found], this.lines.at);
    } catch (error) {
      if (error.name !== "AbortError") console.info("The search failed.", error);
    }
  }

  #show(entries, at = 0) {
    this.found = entries;
    this.lines.show(entries.map((entry) => this.#line(entry)), at);
  }

  #line({ name, color, kind = "", key = "" }) {
    const line = this.row.cloneNode(true);
    if (color) line.querySelector(".dot").style.setProperty("--c", color);
    else line.querySelector(".dot").remove();
    line.querySelector(".name").textContent = name;
    line.querySelector(".kind").textContent = kind;
    line.querySelector("kbd").textContent = key;
    return line;
  }

  #run(at) {
    const entry = this.found[at];
    if (!entry) return;
    this.dialog.close();
    entry.run();
  }
}

// Return the entries that contain the text: first names that start with it, then names with a word that does, then others.
function matching(entries, text) {
  const typed = fold(text);
  const rank = ({ name, words = "" }) => {
    const folded = fold(name);
    if (folded.startsWith(typed)) return 0;
    if (folded.split(/[\s_-]+/).some((word) => word.startsWith(typed))) return 1;
    if (folded.includes(typed)) return 2;
    return fold(words).includes(typed) ? 3 : 4;
  };
  return entries.map((entry) => [rank(entry), entry]).filter(([place]) => place < 4).sort(([a], [b]) => a - b).map(([, entry]) => entry);
}

function fold(text) {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
}

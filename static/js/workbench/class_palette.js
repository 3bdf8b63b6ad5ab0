// The dialog that finds a class or images by typing. Enter assigns the class to the selection or the focused tile; the
// last line shows the images whose path contains the text.
import { classes } from "./classes.js";

export class Palette {
  // `onChoose(labelClass)` is called with the chosen class, `onFind(text)` with the text to find in paths.
  constructor(dialog, onChoose, onFind) {
    Object.assign(this, { dialog, onChoose, onFind, at: 0, matches: [] });
    this.input = dialog.querySelector("#palette-input");
    this.list = dialog.querySelector("#palette-list");
    this.none = dialog.querySelector("#palette-none");
    this.row = document.getElementById("palette-row").content.firstElementChild;
    this.input.addEventListener("input", () => this.#search());
    this.input.addEventListener("keydown", (event) => this.#handleKey(event));
    this.list.addEventListener("click", (event) => {
      const at = [...this.list.children].indexOf(event.target.closest("li"));
      if (at >= 0) this.#choose(at);
    });
  }

  open() {
    this.input.value = "";
    this.#search();
    this.dialog.showModal();
    this.input.focus();
  }

  // Rank names that start with the typed text first, then names with a word that does, then names that contain it.
  #search() {
    const typed = fold(this.input.value.trim());
    const rank = ({ name }) => {
      const folded = fold(name);
      if (folded.startsWith(typed)) return 0;
      if (folded.split(/[\s_-]+/).some((word) => word.startsWith(typed))) return 1;
      return folded.includes(typed) ? 2 : 3;
    };
    this.matches = classes.all().map((labelClass) => [rank(labelClass), labelClass]).filter(([place]) => place < 3).sort(([a], [b]) => a - b).map(([, labelClass]) => labelClass);
    this.list.replaceChildren(...this.matches.map((labelClass, i) => this.#line(labelClass, i)));
    this.none.hidden = this.matches.length > 0;
    const text = this.input.value.trim();
    if (text) {
      this.list.append(this.#pathLine(text, this.matches.length));
      this.matches.push({ path: text });
    }
    this.#select(0);
  }

  #line(labelClass, i) {
    const line = this.row.cloneNode(true);
    line.id = `palette-${i}`;
    line.querySelector(".dot").style.setProperty("--c", labelClass.color);
    line.querySelector(".name").textContent = labelClass.name;
    line.querySelector("kbd").textContent = labelClass.key.toUpperCase();
    return line;
  }

  #pathLine(text, i) {
    const line = this.row.cloneNode(true);
    line.id = `palette-${i}`;
    line.querySelector(".dot").remove();
    line.querySelector(".name").textContent = `Show images whose path contains “${text}”`;
    return line;
  }

  #select(at) {
    this.at = this.matches.length ? (at + this.matches.length) % this.matches.length : 0;
    [...this.list.children].forEach((line, i) => line.setAttribute("aria-selected", String(i === this.at)));
    const line = this.list.children[this.at];
    line?.scrollIntoView({ block: "nearest" });
    if (line) this.input.setAttribute("aria-activedescendant", line.id);
    else this.input.removeAttribute("aria-activedescendant");
  }

  #handleKey(event) {
    if (event.isComposing) return;
    if (event.key === "ArrowDown") this.#select(this.at + 1);
    else if (event.key === "ArrowUp") this.#select(this.at - 1);
    else if (event.key === "Enter") this.#choose(this.at);
    else return;
    event.preventDefault();
  }

  #choose(at) {
    const chosen = this.matches[at];
    if (!chosen) return;
    this.dialog.close();
    if (chosen.path) this.onFind(chosen.path);
    else this.onChoose(chosen);
  }
}

function fold(text) {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
}

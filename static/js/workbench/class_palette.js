// Finds a class by typing: for more classes than there are digits. Enter gives it to the selection or the focus.
import { classes } from "./classes.js";

export class Palette {
  constructor(dialog, chosen) {
    Object.assign(this, { dialog, chosen, at: 0, found: [] });
    this.input = dialog.querySelector("#palette-input");
    this.list = dialog.querySelector("#palette-list");
    this.none = dialog.querySelector("#palette-none");
    this.row = document.getElementById("palette-row").content.firstElementChild;
    this.input.addEventListener("input", () => this.#search());
    this.input.addEventListener("keydown", (event) => this.#pressed(event));
    this.list.addEventListener("click", (event) => {
      const at = [...this.list.children].indexOf(event.target.closest("li"));
      if (at >= 0) this.#take(at);
    });
  }

  open() {
    this.input.value = "";
    this.#search();
    this.dialog.showModal();
    this.input.focus();
  }

  // Names that begin with what was typed come first, then words that do, then any that contain it.
  #search() {
    const typed = fold(this.input.value.trim());
    const rank = ({ name }) => {
      const folded = fold(name);
      if (folded.startsWith(typed)) return 0;
      if (folded.split(/[\s_-]+/).some((word) => word.startsWith(typed))) return 1;
      return folded.includes(typed) ? 2 : 3;
    };
    this.found = classes.all().map((one) => [rank(one), one]).filter(([place]) => place < 3).sort(([a], [b]) => a - b).map(([, one]) => one);
    this.list.replaceChildren(...this.found.map((one, i) => this.#line(one, i)));
    this.none.hidden = this.found.length > 0;
    this.#point(0);
  }

  #line(one, i) {
    const line = this.row.cloneNode(true);
    line.id = `palette-${i}`;
    line.querySelector(".dot").style.setProperty("--c", one.colour);
    line.querySelector(".name").textContent = one.name;
    line.querySelector("kbd").textContent = one.key;
    return line;
  }

  #point(at) {
    this.at = this.found.length ? (at + this.found.length) % this.found.length : 0;
    [...this.list.children].forEach((line, i) => line.setAttribute("aria-selected", String(i === this.at)));
    const line = this.list.children[this.at];
    line?.scrollIntoView({ block: "nearest" });
    if (line) this.input.setAttribute("aria-activedescendant", line.id);
    else this.input.removeAttribute("aria-activedescendant");
  }

  #pressed(event) {
    if (event.isComposing) return;
    if (event.key === "ArrowDown") this.#point(this.at + 1);
    else if (event.key === "ArrowUp") this.#point(this.at - 1);
    else if (event.key === "Enter") this.#take(this.at);
    else return;
    event.preventDefault();
  }

  #take(at) {
    const one = this.found[at];
    if (!one) return;
    this.dialog.close();
    this.chosen(one);
  }
}

function fold(words) {
  return words.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
}

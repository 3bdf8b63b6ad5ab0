// The list below a text field of a dialog: the arrow keys select a line, Enter or a click chooses it.
export class ListBox {
  #at = 0;

  // `choose(place)` is called with the place of the chosen line.
  constructor(input, list, choose) {
    Object.assign(this, { input, list, choose });
    input.addEventListener("keydown", (event) => this.#handleKey(event));
    list.addEventListener("click", (event) => {
      const place = [...list.children].indexOf(event.target.closest("li"));
      if (place >= 0) choose(place);
    });
  }

  get at() {
    return this.#at;
  }

  // Show these lines (li elements), and select the one at this place, or the last one.
  show(lines, at = 0) {
    lines.forEach((line, place) => { line.id = `${this.list.id}-${place}`; });
    this.list.replaceChildren(...lines);
    this.#select(Math.min(at, Math.max(0, lines.length - 1)));
  }

  #select(at) {
    const lines = [...this.list.children];
    this.#at = lines.length ? (at + lines.length) % lines.length : 0;
    lines.forEach((line, place) => line.setAttribute("aria-selected", String(place === this.#at)));
    const line = lines[this.#at];
    line?.scrollIntoView({ block: "nearest" });
    if (line) this.input.setAttribute("aria-activedescendant", line.id);
    else this.input.removeAttribute("aria-activedescendant");
  }

  #handleKey(event) {
    if (event.isComposing) return;
    if (event.key === "ArrowDown") this.#select(this.#at + 1);
    else if (event.key === "ArrowUp") this.#select(this.#at - 1);
    else if (event.key === "Enter") this.choose(this.#at);
    else return;
    event.preventDefault();
  }
}

// What the grid shows while a page is on its way: empty tiles at first, later the previous page, dimmed, with a message.
import { itemCount } from "./classes.js";
import { counted } from "../plural.js";

const DELAY = 150; // ms before the message, so that nothing flickers while pages come at once
const UNRANKED = ["all", "random", "audit"];

export class Loading {
  #running = 0;

  constructor({ stage, layout }) {
    Object.assign(this, { stage, layout });
  }

  // Return a function that ends the state that this call begins.
  begin(query) {
    const number = (this.#running += 1);
    const grid = this.stage.querySelector("#grid.is-waiting");
    if (grid) this.#showEmptyTiles(grid);
    const timer = setTimeout(() => this.#show(textOf(query)), DELAY);
    return () => {
      clearTimeout(timer);
      if (number === this.#running) this.#hide();
    };
  }

  #showEmptyTiles(grid) {
    const { n } = this.layout.apply(grid);
    grid.classList.replace("is-waiting", "is-loading");
    grid.replaceChildren(...Array.from({ length: n }, () => Object.assign(document.createElement("div"), { className: "empty-tile" })));
  }

  #show(text) {
    this.stage.classList.add("dimmed");
    this.stage.setAttribute("aria-busy", "true");
    let note = document.getElementById("loading-note");
    if (!note) {
      note = Object.assign(document.createElement("p"), { id: "loading-note", className: "loading-note" });
      note.setAttribute("role", "status");
      this.stage.append(note);
    }
    note.textContent = text;
  }

  #hide() {
    this.stage.classList.remove("dimmed");
    this.stage.removeAttribute("aria-busy");
    document.getElementById("loading-note")?.remove();
  }
}

function textOf(query) {
  const n = itemCount();
  if (!n || UNRANKED.includes(query.get("queue"))) return "Loading images…";
  return `Ranking ${counted(n, "image")}…`;
}

// The side pane with the detail of the focused tile: closed, open beside the tiles, or full screen.
import { addCover, removeCover } from "./cover.js";

const SMALL_TOUCH = matchMedia("(max-width: 60rem) and (pointer: coarse)");
const DELAY = 120; // ms before the detail is loaded, so that held-down arrow keys load it once

export class SidePane {
  #timer = null;
  #shown = "";

  constructor(bench) {
    this.bench = bench;
    this.side = document.getElementById("side");
    this.body = document.getElementById("side-body");
    this.state = "closed";
    this.tile = null;
    document.body.addEventListener("hoshina:tile", ({ detail }) => this.follow(detail.tile));
  }

  // Whether the pane covers the tiles, as on small touch screens.
  get isCover() {
    return SMALL_TOUCH.matches && this.state === "full";
  }

  follow(tile) {
    this.tile = tile;
    if (this.state === "closed") return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#load(), DELAY);
  }

  // Open the pane, make it full screen, or put it back beside the tiles (Enter). A small touch screen has no space for both.
  enlarge() {
    if (SMALL_TOUCH.matches) return this.#set(this.state === "full" ? "closed" : "full");
    this.#set(this.state === "open" ? "full" : "open");
  }

  // Open or close the pane (Space).
  toggle() {
    this.#set(this.state === "closed" ? "open" : "closed");
  }

  // Go one step back. Return whether there was one.
  retreat() {
    if (this.state === "closed") return false;
    this.#set(this.state === "full" && !SMALL_TOUCH.matches ? "open" : "closed");
    return true;
  }

  // Reload the detail after a decision.
  refresh() {
    if (this.state === "closed") return;
    this.#shown = "";
    this.follow(this.tile);
  }

  #set(state) {
    const hadFocus = this.side.contains(document.activeElement);
    this.state = state;
    if (this.isCover) addCover("detail");
    else removeCover("detail");
    this.side.hidden = state === "closed";
    this.bench.classList.toggle("full", state === "full");
    window.dispatchEvent(new Event("resize")); // the large image has another size
    if (state === "closed") {
      this.#shown = "";
      this.body.replaceChildren();
      if (hadFocus) document.body.dispatchEvent(new CustomEvent("hoshina:focus-lost"));
    } else {
      this.#load();
    }
  }

  // Keep the space of the probabilities and the class guide, which come after the rest of the next image's detail.
  #keepHeight() {
    for (const [name, selector] of [["--model-height", ".detail-model"], ["--guide-height", ".item-guide"]]) {
      const part = this.body.querySelector(selector);
      if (part) this.body.style.setProperty(name, `${part.getBoundingClientRect().height}px`);
    }
  }

  #load() {
    if (!this.tile) return;
    const url = this.bench.dataset.detail.replace("/items/0/", `/items/${this.tile.dataset.row}/`);
    if (url === this.#shown) return;
    this.#shown = url;
    this.#keepHeight();
    window.htmx.trigger(this.body, "htmx:abort"); // a request that still runs is out of date
    const request = window.htmx.ajax("GET", url, { source: this.body, target: this.body, swap: "innerHTML" });
    request?.catch?.((error) => {
      console.info("The detail could not be loaded.", error);
      this.#shown = "";
    });
  }
}

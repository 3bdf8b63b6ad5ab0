// Compare: the focused image beside its nearest labeled neighbors of two classes: the most likely one, and the second or one
// that is chosen. It is no dialog, so that class keys label the image and the arrow keys move on.
import { toast } from "../toast.js";
import { addCover, removeCover } from "../workbench/cover.js";

const DELAY = 120; // ms before a comparison is loaded, so that held-down arrow keys load it once

export class Compare {
  #timer = null;
  #shown = "";
  #second = ""; // the id of the chosen second class, or ""

  // `rowOf` returns the row of the image to compare.
  constructor({ rowOf, onClose = () => {} }) {
    Object.assign(this, { panel: document.getElementById("compare"), rowOf, onClose });
    document.body.addEventListener("hoshina:tile", () => this.follow());
    document.body.addEventListener("hoshina:page", () => this.follow());
    document.body.addEventListener("hoshina:saved", () => this.refresh());
    document.body.addEventListener("hoshina:blind", () => { if (this.#isBlind) this.close(); });
    document.addEventListener("click", ({ target }) => { if (target.closest?.("[data-compare-close]")) this.close(); });
    this.panel.addEventListener("change", ({ target }) => { if (target.matches("[data-compare-with]")) this.#choose(target.value); });
  }

  get isOpen() {
    return !this.panel.hidden;
  }

  get #isBlind() {
    return document.body.classList.contains("blind");
  }

  toggle() {
    if (this.isOpen) return this.close();
    if (this.#isBlind) return toast("Compare shows the model's suggestions. Turn blind mode off first.");
    if (this.rowOf() === undefined) return toast("No image to compare.");
    this.#setOpen(true);
    addCover("compare");
    this.panel.focus();
    this.#load();
  }

  // Close the panel. Return whether it was open.
  close() {
    if (!this.isOpen) return false;
    this.#setOpen(false);
    this.#shown = this.#second = "";
    this.panel.replaceChildren();
    removeCover("compare");
    this.onClose();
    return true;
  }

  // What the panel covers cannot have the focus. The classes beside it can be pressed.
  #setOpen(isOpen) {
    this.panel.hidden = !isOpen;
    for (const covered of this.panel.parentElement.children) {
      if (covered !== this.panel && !covered.matches(".left, [aria-live]")) covered.inert = isOpen;
    }
  }

  follow() {
    if (!this.isOpen) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => { if (this.isOpen) this.#load(); }, DELAY);
  }

  // Show another second class, for this image and the next ones, until the panel is closed.
  #choose(second) {
    this.#second = second;
    this.panel.focus();
    this.#load();
  }

  // Load the comparison again after a decision.
  refresh() {
    this.#shown = "";
    this.follow();
  }

  #load() {
    const row = this.rowOf();
    if (row === undefined) return this.close();
    const address = this.panel.dataset.url.replace("/items/0/", `/items/${row}/`);
    const url = this.#second ? `${address}?with=${this.#second}` : address;
    if (url === this.#shown) return;
    this.#shown = url;
    window.htmx.trigger(this.panel, "htmx:abort"); // a request that still runs is out of date
    const request = window.htmx.ajax("GET", url, { source: this.panel, target: this.panel, swap: "innerHTML" });
    request?.catch?.((error) => {
      console.info("The comparison could not be loaded.", error);
      this.#shown = "";
    });
  }
}

// The pages of tiles: the current one, the previous ones (kept, so that going back is instant) and the prefetched next one.
import { classes } from "./classes.js";
import { layout as layoutOfFrames } from "../frames.js";
import { windowName } from "./leases.js";
import { stretchPictures } from "../stretch.js";
import { hasBar, isReview, isSweep } from "./sweep.js";
import { describe, idOf, isOpen, setPending, showDecision, stateOf } from "../tiles.js";
import { toast } from "../toast.js";

const MAX_PAGES = 12;
const MAX_AGE = 5 * 60 * 1000; // ms, of a prefetched page

export class SignedOut extends Error {}
export class ServerError extends Error {}

export class Pages extends EventTarget {
  #prefetched = null;
  #requests = 0;

  // `labels` has the unsent decisions: {effectOf(id), pendingOf(id)}. `release(ids)` ends the leases of images that were
  // fetched and are not shown.
  constructor({ url, stage, layout, cursor, labels, release }) {
    super();
    Object.assign(this, { url, stage, layout, cursor, labels, release });
    this.query = new URLSearchParams(location.search);
    this.stack = [];
    this.at = -1;
  }

  get grid() {
    return document.getElementById("grid");
  }

  get undecided() {
    return this.cursor.tiles.filter(isOpen).length;
  }

  get hasTiles() {
    return this.cursor.tiles.length > 0;
  }

  // Open a new pull of the queue in `query`. This discards the previous pages.
  async open(query = this.query) {
    const number = (this.#requests += 1);
    this.layout.hasBar = hasBar(query.get("queue"));
    const page = await this.#fetch(this.#urlOf(`${this.url}?${query}`));
    if (number !== this.#requests) return; // superseded by a later request
    this.query = new URLSearchParams(query);
    this.#prefetched = null;
    this.stack = [page];
    this.at = 0;
    this.#show(page);
  }

  // Insert a single page after this one. The following pages do not use its `query`.
  async insert(query) {
    const page = await this.#fetch(this.#urlOf(`${this.url}?${query}`));
    this.stack.splice(this.at + 1, Infinity, page);
    this.at = this.stack.length - 1;
    this.#show(page);
  }

  // Turn to the next page. Return false if there is none. With `pullAgain`, a new pull follows the last page.
  async forward({ pullAgain = false } = {}) {
    if (this.at < this.stack.length - 1) {
      this.at += 1;
      this.#show(this.stack[this.at]);
      return true;
    }
    const next = this.grid.dataset.next || (pullAgain ? `${this.url}?${this.query}` : "");
    if (!next) return false;
    const page = await this.#takePrefetched(next);
    this.stack.push(page);
    if (this.stack.length > MAX_PAGES) this.stack.shift();
    this.at = this.stack.length - 1;
    this.#show(page);
    return true;
  }

  back() {
    if (this.at <= 0) return false;
    this.at -= 1;
    this.#show(this.stack[this.at]);
    return true;
  }

  // Prefetch the next page and its images once half of this page is decided.
  prefetch() {
    const next = this.grid.dataset.next;
    const { kind } = this.grid.dataset;
    if (isSweep(kind) || isReview(kind)) return; // the next page depends on the decisions on this one
    if (!next || this.#prefetched?.next === next || this.at < this.stack.length - 1) return;
    if (this.undecided > this.cursor.tiles.length / 2) return;
    const entry = { next, at: Date.now(), page: this.#fetch(this.#urlOf(next)) };
    this.#prefetched = entry;
    entry.page.then(preload, (error) => {
      console.info("The next page could not be prefetched.", error);
      if (this.#prefetched === entry) this.#prefetched = null;
    });
  }

  // Drop the prefetched page. Its images are free for others, and for the next fetch.
  async forgetPrefetched() {
    const entry = this.#prefetched;
    this.#prefetched = null;
    await this.#release(await entry?.page.catch(() => null));
  }

  #release(page) {
    return page ? this.release([...page.node.querySelectorAll(".tile")].map(idOf)) : null;
  }

  // Append the next tiles to this page after the tiles became smaller.
  async fill() {
    const { n } = this.layout.apply(this.grid);
    const missing = n - this.cursor.tiles.length;
    const next = this.grid.dataset.next;
    if (missing <= 0 || !next || isSweep(this.grid.dataset.kind) || this.at < this.stack.length - 1) return;
    const page = await this.#fetch(this.#urlOf(next, missing));
    if (this.grid.dataset.next !== next) return;
    this.grid.append(...page.node.querySelectorAll(".tile"));
    this.grid.dataset.next = page.node.dataset.next ?? "";
    this.#prefetched = null;
    this.#showUnsent(this.grid);
    this.cursor.adopt(this.grid, { takeFocus: mayFocusGrid() });
  }

  // Return all tiles of an item, on this page and the previous ones.
  tilesOf(id) {
    return this.stack.map(({ node }) => node.querySelector(`#item-${id}`)).filter(Boolean);
  }

  // Turn back to the page with the item, if it is kept. Return its tile, or null.
  reveal(id) {
    const at = this.stack.findIndex(({ node }) => node.querySelector(`#item-${id}`));
    if (at < 0) return null;
    if (at !== this.at) {
      this.at = at;
      this.#show(this.stack[at]);
    }
    return this.grid.querySelector(`#item-${id}`);
  }

  async #takePrefetched(next) {
    const entry = this.#prefetched;
    this.#prefetched = null;
    const page = await entry?.page.catch(() => null);
    if (page && entry.next === next && Date.now() - entry.at < MAX_AGE) {
      const model = document.getElementById("badge")?.dataset.model ?? "";
      if (!model || !page.node.dataset.model || page.node.dataset.model === model) return page;
    }
    await this.#release(page);
    return this.#fetch(this.#urlOf(next));
  }

  #urlOf(path, n = this.layout.fit().n) {
    const url = new URL(path, location.href);
    url.searchParams.set("n", n);
    url.searchParams.set("window", windowName);
    return url;
  }

  async #fetch(url) {
    let response;
    try {
      response = await fetch(url, { headers: { "HX-Request": "true", Accept: "text/html" }, credentials: "same-origin", cache: "no-store" });
    } catch (error) {
      throw new ServerError("The server cannot be reached.", { cause: error });
    }
    if (response.status === 401) throw new SignedOut("You were signed out.");
    if (!response.ok && response.status !== 422) throw new ServerError(`The server could not send the page (${response.status}).`);
    const template = document.createElement("template");
    template.innerHTML = await response.text();
    stretchPictures(template.content);
    const node = template.content.querySelector("#grid");
    if (!node) throw new ServerError("The server's response was not a page of images.");
    const bar = template.content.querySelector("#sweep-bar");
    return { node: document.adoptNode(node), bar: bar && document.adoptNode(bar), note: template.content.querySelector("#grid-note")?.textContent };
  }

  #show(page) {
    const hadFocus = mayFocusGrid();
    this.layout.apply(page.node);
    this.#showUnsent(page.node);
    stretchPictures(page.node);
    this.grid.replaceWith(page.node);
    document.getElementById("sweep-bar")?.remove();
    if (page.bar) this.stage.prepend(page.bar);
    this.stage.classList.toggle("has-bar", Boolean(page.bar)); // :has() would lay all tiles out again at each key
    if (page.note) toast(page.note, "", "page");
    page.note = ""; // turning back does not repeat it
    this.cursor.isMarking = Boolean(page.bar) && isSweep(page.node.dataset.kind);
    page.node.classList.toggle("marking", this.cursor.isMarking);
    this.stage.scrollTop = 0;
    window.htmx?.process(page.node);
    this.cursor.adopt(page.node, { takeFocus: hadFocus });
    this.dispatchEvent(new CustomEvent("shown"));
  }

  // Show the unsent labels of this browser on their tiles.
  #showUnsent(grid) {
    grid.classList.toggle("plain", !grid.querySelector(".suggestion, .border-pair"));
    for (const tile of grid.querySelectorAll(".tile")) {
      if (isReview(grid.dataset.kind)) tile.dataset.review ??= "open";
      const id = idOf(tile);
      const effect = this.labels.effectOf(id);
      const labelClass = classes.ofId(tile.dataset.label);
      if (effect) showDecision(tile, effect);
      else if (labelClass || tile.dataset.state !== "0") showDecision(tile, { ...stateOf(tile), label: labelClass?.id ?? null });
      else describe(tile);
      setPending(tile, this.labels.pendingOf(id));
    }
  }
}

// Return whether the grid may take the focus: it has it, or no other element does.
function mayFocusGrid() {
  const active = document.activeElement;
  return !active || active === document.body || active.id === "main" || Boolean(active.closest("#grid"));
}

// The selector of the images that the layout shows.
const visibleImages = () => (layoutOfFrames() === "rgb" ? ".color img" : ".picture img:not(.color img)");

function preload({ node }) {
  for (const image of node.querySelectorAll(visibleImages())) new Image().src = image.getAttribute("src");
}

// Pages of tiles: the one on screen, those before it (kept, so that going back is at once) and the prefetched next.
import { classes } from "./classes.js";
import { layout as layoutOfFrames } from "../frames.js";
import { windowName } from "./leases.js";
import { stretchPictures } from "../stretch.js";
import { isSweep } from "./sweep.js";
import { idOf, isUndecided, mark, setPending, stateOf } from "../tiles.js";

const KEPT = 12;
const STALE = 5 * 60 * 1000;

export class SignedOut extends Error {}
export class Away extends Error {}

export class Pages extends EventTarget {
  #prefetched = null;
  #asked = 0;

  // `labels` knows what waits for the server: {effectOf(id), pendingOf(id)}.
  constructor({ url, stage, layout, cursor, labels }) {
    super();
    Object.assign(this, { url, stage, layout, cursor, labels });
    this.query = new URLSearchParams(location.search);
    this.stack = [];
    this.at = -1;
  }

  get grid() {
    return document.getElementById("grid");
  }

  get undecided() {
    return this.cursor.tiles.filter(isUndecided).length;
  }

  get hasTiles() {
    return this.cursor.tiles.length > 0;
  }

  // A new pull of the queue that `query` names; the pages before it are gone.
  async open(query = this.query) {
    const asked = (this.#asked += 1);
    this.layout.hasBar = isSweep(query.get("queue"));
    const page = await this.#fetch(this.#address(`${this.url}?${query}`));
    if (asked !== this.#asked) return; // another queue was asked for meanwhile: an answer that comes late is none
    this.query = new URLSearchParams(query);
    this.#prefetched = null;
    this.stack = [page];
    this.at = 0;
    this.#show(page);
  }

  // A page of its own after this one: `query` is not what further pages follow.
  async step(query) {
    const page = await this.#fetch(this.#address(`${this.url}?${query}`));
    this.stack.splice(this.at + 1, Infinity, page);
    this.at = this.stack.length - 1;
    this.#show(page);
  }

  // The next page; false when there is none. With `anew`, a page without a successor is followed by a new pull.
  async forward({ anew = false } = {}) {
    if (this.at < this.stack.length - 1) {
      this.at += 1;
      this.#show(this.stack[this.at]);
      return true;
    }
    const next = this.grid.dataset.next || (anew ? `${this.url}?${this.query}` : "");
    if (!next) return false;
    const page = await this.#taken(next);
    this.stack.push(page);
    if (this.stack.length > KEPT) this.stack.shift();
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

  // Fetches the next page and its images ahead, once half of this one is decided.
  prefetch() {
    const next = this.grid.dataset.next;
    if (isSweep(this.grid.dataset.kind)) return; // its next page depends on what is decided on this one
    if (!next || this.#prefetched?.next === next || this.at < this.stack.length - 1) return;
    if (this.undecided > this.cursor.tiles.length / 2) return;
    const entry = { next, at: Date.now(), page: this.#fetch(this.#address(next)) };
    this.#prefetched = entry;
    entry.page.then(preload, (error) => {
      console.info("The next page could not be fetched ahead.", error);
      if (this.#prefetched === entry) this.#prefetched = null;
    });
  }

  forgetPrefetched() {
    this.#prefetched = null;
  }

  // Room for more tiles came (smaller tiles): the next ones follow on the same page.
  async fill() {
    const { n } = this.layout.apply(this.grid);
    const missing = n - this.cursor.tiles.length;
    const next = this.grid.dataset.next;
    if (missing <= 0 || !next || isSweep(this.grid.dataset.kind) || this.at < this.stack.length - 1) return;
    const page = await this.#fetch(this.#address(next, missing));
    if (this.grid.dataset.next !== next) return;
    this.grid.append(...page.node.querySelectorAll(".tile"));
    this.grid.dataset.next = page.node.dataset.next ?? "";
    this.#prefetched = null;
    this.#dress(this.grid);
    this.cursor.adopt(this.grid, { takeFocus: isOnGrid() });
  }

  // Every tile of an item, on this page and on those before it.
  tilesOf(id) {
    return this.stack.map(({ node }) => node.querySelector(`#item-${id}`)).filter(Boolean);
  }

  // Turns back to the page that shows the item, if it is kept; its tile, or null.
  reveal(id) {
    const at = this.stack.findIndex(({ node }) => node.querySelector(`#item-${id}`));
    if (at < 0) return null;
    if (at !== this.at) {
      this.at = at;
      this.#show(this.stack[at]);
    }
    return this.grid.querySelector(`#item-${id}`);
  }

  async #taken(next) {
    const entry = this.#prefetched;
    this.#prefetched = null;
    if (entry?.next === next && Date.now() - entry.at < STALE) {
      const page = await entry.page.catch(() => null);
      const model = document.getElementById("badge")?.dataset.model ?? "";
      if (page && (!model || !page.node.dataset.model || page.node.dataset.model === model)) return page;
    }
    return this.#fetch(this.#address(next));
  }

  #address(url, n = this.layout.fit().n) {
    const address = new URL(url, location.href);
    address.searchParams.set("n", n);
    address.searchParams.set("window", windowName);
    return address;
  }

  async #fetch(address) {
    let response;
    try {
      response = await fetch(address, { headers: { "HX-Request": "true", Accept: "text/html" }, credentials: "same-origin", cache: "no-store" });
    } catch (error) {
      throw new Away("The server is away.", { cause: error });
    }
    if (response.status === 401) throw new SignedOut("You were signed out.");
    if (!response.ok && response.status !== 422) throw new Away(`The server could not give the page (${response.status}).`);
    const template = document.createElement("template");
    template.innerHTML = await response.text();
    stretchPictures(template.content);
    const node = template.content.querySelector("#grid");
    if (!node) throw new Away("The server's answer was not a page of images.");
    const bar = template.content.querySelector("#sweep-bar");
    return { node: document.adoptNode(node), bar: bar && document.adoptNode(bar) };
  }

  #show(page) {
    const hadFocus = isOnGrid();
    this.layout.apply(page.node);
    this.#dress(page.node);
    stretchPictures(page.node);
    this.grid.replaceWith(page.node);
    document.getElementById("sweep-bar")?.remove();
    if (page.bar) this.stage.prepend(page.bar);
    this.cursor.isMarking = Boolean(page.bar);
    page.node.classList.toggle("marking", Boolean(page.bar));
    this.stage.scrollTop = 0;
    window.htmx?.process(page.node);
    this.cursor.adopt(page.node, { takeFocus: hadFocus });
    this.dispatchEvent(new CustomEvent("shown"));
  }

  // Labels that wait in this browser are on their tiles, whatever the server's page says.
  #dress(grid) {
    grid.classList.toggle("plain", !grid.querySelector(".suggestion"));
    for (const tile of grid.querySelectorAll(".tile")) {
      const id = idOf(tile);
      const effect = this.labels.effectOf(id);
      const known = classes.ofId(tile.dataset.label);
      if (effect) mark(tile, effect);
      else if (known || tile.dataset.state !== "0") mark(tile, { ...stateOf(tile), label: known?.id ?? null });
      setPending(tile, this.labels.pendingOf(id));
    }
  }
}

// Whether the grid may take the focus: it has it, or nothing in particular has.
function isOnGrid() {
  const active = document.activeElement;
  return !active || active === document.body || active.id === "main" || Boolean(active.closest("#grid"));
}

// Of items with several frames, what the layout shows.
const seenPictures = () => (layoutOfFrames() === "rgb" ? ".colour img" : ".picture img:not(.colour img)");

function preload({ node }) {
  for (const image of node.querySelectorAll(seenPictures())) new Image().src = image.getAttribute("src");
}

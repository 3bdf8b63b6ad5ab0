// The side pane: closed, open beside the tiles, or over all of them. It follows the focus.
const FOLLOW = 120; // ms of rest before the next detail is asked for: arrows held down ask for one

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

  follow(tile) {
    this.tile = tile;
    if (this.state === "closed") return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#load(), FOLLOW);
  }

  // Enter: open, full screen, back beside the tiles.
  enlarge() {
    this.#set(this.state === "open" ? "full" : "open");
  }

  // Space: open, closed.
  peek() {
    this.#set(this.state === "closed" ? "open" : "closed");
  }

  // One step back; true when there was one.
  retreat() {
    if (this.state === "closed") return false;
    this.#set(this.state === "full" ? "open" : "closed");
    return true;
  }

  // After a decision: what the pane says about the item is out of date.
  refresh() {
    if (this.state === "closed") return;
    this.#shown = "";
    this.follow(this.tile);
  }

  #set(state) {
    const hadFocus = this.side.contains(document.activeElement);
    this.state = state;
    this.side.hidden = state === "closed";
    this.bench.classList.toggle("full", state === "full");
    if (state === "closed") {
      this.#shown = "";
      this.body.replaceChildren();
      if (hadFocus) document.body.dispatchEvent(new CustomEvent("hoshina:focus-lost"));
    } else {
      this.#load();
    }
  }

  #load() {
    if (!this.tile) return;
    const address = this.bench.dataset.detail.replace("/items/0/", `/items/${this.tile.dataset.row}/`);
    if (address === this.#shown) return;
    this.#shown = address;
    window.htmx.trigger(this.body, "htmx:abort"); // one that is still on its way is out of date
    const asked = window.htmx.ajax("GET", address, { source: this.body, target: this.body, swap: "innerHTML" });
    asked?.catch?.((error) => {
      console.info("The detail could not be fetched.", error);
      this.#shown = "";
    });
  }
}

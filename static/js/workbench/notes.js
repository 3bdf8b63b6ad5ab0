// Flags and tags of the selected tiles, by keys, and the key that begins a note.
import { csrfToken } from "../outbox.js";
import { remarksOf, showRemarks } from "../remarks.js";
import { drawChip, idOf } from "../tiles.js";
import { say, toast } from "../toast.js";
import { counted } from "../plural.js";
import { TagDialog } from "./tag_dialog.js";

const FLAG = "flagged";

export class Notes {
  // `targets()` returns the tiles that keys act on, `tilesOf(id)` all tiles of an item on the pages.
  constructor({ url, targets, tilesOf, side }) {
    Object.assign(this, { url, targets, tilesOf, side });
    this.dialog = new TagDialog(document.getElementById("tag-dialog"), { url, onChoose: (name, isOn) => this.#tag(this.targets(), name, isOn) });
    // The detail changed the remarks of an item.
    document.body.addEventListener("hoshina:item-notes", ({ detail }) => {
      this.#show(detail.items);
      this.#showFilters(detail.items);
    });
  }

  // Flag the tiles, or remove the flag if all of them have it.
  flag() {
    const tiles = this.targets();
    if (tiles.length) this.#tag(tiles, FLAG, !tiles.every((tile) => remarksOf(tile).flagged));
  }

  tag() {
    const tiles = this.targets();
    if (tiles.length) this.dialog.open(tiles.map((tile) => remarksOf(tile).tags));
  }

  // Open the detail and begin a note.
  note() {
    if (!this.targets().length) return;
    if (this.side.state === "closed") this.side.enlarge();
    const focus = () => {
      const field = document.querySelector("#side-body [data-note-form] textarea");
      field?.focus();
      return Boolean(field);
    };
    if (!focus()) document.getElementById("side-body").addEventListener("htmx:afterSettle", focus, { once: true });
  }

  async #tag(tiles, name, isOn) {
    const before = tiles.map((tile) => ({ id: idOf(tile), ...remarksOf(tile) }));
    this.#show(before.map((item) => withTag(item, name, isOn)));
    const what = name === FLAG ? (isOn ? "flagged" : "flag removed") : `${isOn ? "tagged" : "tag removed:"} ${name}`;
    say(tiles.length === 1 ? what : `${counted(tiles.length, "image")}: ${what}`);
    try {
      const { items } = await this.#post(before.map(({ id }) => id), name, isOn);
      this.#show(items);
      this.#showFilters(items);
      this.#reloadPanels(before.map(({ id }) => id));
    } catch (error) {
      this.#show(before);
      toast(`${error.message} The images are not changed.`, "error");
    }
  }

  async #post(ids, name, isOn) {
    const body = new URLSearchParams(ids.map((id) => ["item", id]));
    body.set("tag", name);
    body.set("on", isOn ? "1" : "0");
    let response;
    try {
      response = await fetch(this.url, { method: "POST", body, headers: { "X-CSRFToken": csrfToken() }, credentials: "same-origin" });
    } catch (error) {
      throw new Error("The server cannot be reached.", { cause: error });
    }
    if (response.status === 401) throw new Error("You were signed out. Reload the page to sign in.");
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(answer.error || `The server refused the request (${response.status}).`);
    return answer;
  }

  #show(items) {
    for (const item of items) {
      for (const tile of this.tilesOf(item.id)) {
        showRemarks(tile, item);
        drawChip(tile);
      }
    }
  }

  // The pane has filters by what the dataset has: reload it for the first flag, tag or note.
  #showFilters(items) {
    const isNew = (name, has) => items.some(has) && !document.querySelector(`#queues [name="${name}"]`);
    const isFirst = isNew("flagged", (item) => item.flagged) || isNew("noted", (item) => item.noted) || isNew("tag", (item) => item.tags.length);
    if (isFirst) document.body.dispatchEvent(new CustomEvent("hoshina:first-remark"));
  }

  #reloadPanels(ids) {
    for (const panel of document.querySelectorAll("[data-item-notes]")) {
      if (ids.includes(Number(panel.dataset.itemNotes))) window.htmx.trigger(panel, "hoshina:reload");
    }
  }
}

function withTag(item, name, isOn) {
  if (name === FLAG) return { ...item, flagged: isOn };
  const others = item.tags.filter((tag) => tag.toLowerCase() !== name.toLowerCase());
  return { ...item, tags: isOn ? [...others, name] : others };
}

// The points of one map: places, colours and states by row, as the server has them and as the person just changed them.
import { classes } from "../workbench/classes.js";
import { LABELLED } from "./raster.js";

const RAMP = 250; // the highest index of a scale
const LOOK = 5000; // ms between looks for what others decided

export class Points extends EventTarget {
  #addresses;
  #newest = 0;
  #version = null; // null: there was nothing to colour by
  #entries = [];
  #ramp = [];
  #chosen = new Set(); // the legend's entries that are shown; none: all
  #asked = 0;

  // `addresses`: {points, colours, changes, legend}; `slot`: where the legend's fragment goes.
  constructor({ addresses, raster, slot }) {
    super();
    this.#addresses = addresses;
    Object.assign(this, { raster, slot, by: "label" });
    slot.addEventListener("click", (event) => {
      const entry = event.target.closest(".legend-entry");
      if (entry) this.#toggle(entry);
    });
    setInterval(() => { if (!document.hidden) this.look(); }, LOOK);
  }

  // Places, then colours by `by`. Answers {bounds, n} of what has a place.
  async load(by) {
    const [places] = await Promise.all([asked(this.#addresses.points), this.colourBy(by)]);
    this.raster.setPlaces(new Uint16Array(await places.arrayBuffer()));
    return this.raster.extent();
  }

  // Other colours for the same places: a byte a point.
  async colourBy(by) {
    const mine = (this.#asked += 1);
    const isNew = by !== this.by;
    const [colours, states, legend] = await Promise.all([
      asked(`${this.#addresses.colours}?by=${encodeURIComponent(by)}`, { orWords: true }),
      asked(`${this.#addresses.colours}?by=state`),
      asked(`${this.#addresses.legend}?by=${encodeURIComponent(by)}`, { orWords: true }),
    ]);
    const [bytes, stateBytes, html] = await Promise.all([colours.ok ? colours.arrayBuffer() : null, states.arrayBuffer(), legend.text()]);
    if (mine !== this.#asked) return; // another choice was made meanwhile
    this.by = by;
    this.#newest = Number(states.headers.get("X-Newest")) || 0;
    this.#version = colours.headers.get("X-Version");
    this.raster.setStates(new Uint8Array(stateBytes));
    this.raster.setColours(bytes ? new Uint8Array(bytes) : new Uint8Array(stateBytes.byteLength));
    if (isNew) this.#chosen.clear();
    this.#showLegend(html);
    this.#changed();
  }

  // A decision made here: on the map at once. `label` is a class's id or null.
  decide(row, state, label) {
    const at = classes.all().findIndex((one) => one.id === label);
    const index = state === LABELLED && at >= 0 ? Math.min(at + 1, RAMP) : 0;
    this.raster.change(row, this.by === "label" ? index : this.raster.colourOf(row), state);
    this.#changed();
  }

  // What was decided since, here or by others.
  async look() {
    let told;
    try {
      const answer = await asked(`${this.#addresses.changes}?since=${this.#newest}&by=${encodeURIComponent(this.by)}`);
      told = await answer.json();
    } catch (error) {
      return console.info("What others decided could not be asked for just now.", error);
    }
    const isNew = told.newest !== this.#newest;
    // What is missing is asked for again when it comes by itself, or when what it depends on changes.
    if (!this.slot.querySelector("[data-waiting]")) this.#version ??= told.version;
    this.#newest = told.newest;
    if (told.is_stale || told.version !== this.#version || (isNew && this.by === "time")) return this.colourBy(this.by);
    for (const [row, state, index] of told.rows) {
      if (document.querySelector(`#grid .tile[data-row="${row}"][data-pending]`)) continue; // newer here than there
      this.raster.change(row, this.by === "label" ? index : this.raster.colourOf(row), state);
    }
    if (!isNew) return;
    this.#changed();
    await this.#renewLegend();
  }

  // The theme or the filter is another one: `none` is the colour of what has none.
  paint({ none, ground }) {
    const palette = Array.from({ length: 256 }, (_, i) => (i === 255 ? null : none));
    for (let i = 1; this.#ramp.length > 1 && i <= RAMP; i += 1) palette[i] = ramped(this.#ramp, (i - 1) / (RAMP - 1));
    for (const { first, last, colour } of this.#entries) {
      if (colour && !this.#ramp.length) palette.fill(colour, first, last + 1);
    }
    if (this.#chosen.size) {
      const isChosen = (i) => this.#entries.some(({ first, last }) => this.#chosen.has(first) && i >= first && i <= last);
      palette.forEach((_, i) => { if (!isChosen(i)) palette[i] = null; });
    }
    this.raster.setPalette(palette, ground);
  }

  #toggle(entry) {
    const first = Number(entry.dataset.first);
    if (!this.#chosen.delete(first)) this.#chosen.add(first);
    if (this.#chosen.size === this.#entries.length) this.#chosen.clear();
    this.#press();
    this.#changed();
  }

  #press() {
    for (const entry of this.slot.querySelectorAll(".legend-entry")) {
      entry.setAttribute("aria-pressed", String(this.#chosen.has(Number(entry.dataset.first))));
    }
    this.slot.classList.toggle("is-filtered", this.#chosen.size > 0);
  }

  async #renewLegend() {
    try {
      const answer = await asked(`${this.#addresses.legend}?by=${encodeURIComponent(this.by)}`, { orWords: true });
      this.#showLegend(await answer.text());
    } catch (error) {
      console.info("The legend could not be renewed just now.", error);
    }
  }

  #showLegend(html) {
    const focused = this.slot.contains(document.activeElement) ? document.activeElement.dataset.first : null;
    this.slot.innerHTML = html;
    this.#entries = [...this.slot.querySelectorAll(".legend-entry")].map(({ dataset }) => (
      { first: Number(dataset.first), last: Number(dataset.last), colour: dataset.colour ? rgbOf(dataset.colour) : null }
    ));
    this.#ramp = (this.slot.querySelector("[data-ramp]")?.dataset.ramp ?? "").split(" ").filter(Boolean).map(rgbOf);
    this.#press();
    if (focused !== null) this.slot.querySelector(`.legend-entry[data-first="${focused}"]`)?.focus();
  }

  #changed() {
    this.dispatchEvent(new CustomEvent("changed"));
  }
}

async function asked(address, { orWords = false } = {}) {
  const response = await fetch(address, { credentials: "same-origin", headers: { "HX-Request": "true" } });
  if (!response.ok && !(orWords && [409, 422].includes(response.status))) throw new Error(`The server answered ${response.status}.`);
  return response;
}

function rgbOf(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

function ramped(ramp, share) {
  const at = share * (ramp.length - 1);
  const low = Math.min(Math.floor(at), ramp.length - 2);
  return ramp[low].map((one, i) => Math.round(one + (ramp[low + 1][i] - one) * (at - low)));
}

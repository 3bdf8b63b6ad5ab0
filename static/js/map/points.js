// The points of one map: coordinates, colors and states by row, from the server and with the person's latest changes.
import { classes } from "../workbench/classes.js";
import { LABELED } from "./raster.js";

const MAX_INDEX = 250; // of a color scale
const POLL = 5000; // ms between requests for the decisions of others

export class Points extends EventTarget {
  #urls;
  #newest = 0;
  #version = null; // null: nothing to color by yet
  #entries = [];
  #ramp = [];
  #chosen = new Set(); // the legend's entries to show; empty: all
  #requests = 0;

  // `urls`: {points, colors, changes, legend}; `slot`: the element for the legend.
  constructor({ urls, raster, slot }) {
    super();
    this.#urls = urls;
    Object.assign(this, { raster, slot, by: "label" });
    slot.addEventListener("click", (event) => {
      const entry = event.target.closest(".legend-entry");
      if (entry) this.#toggle(entry);
    });
    setInterval(() => { if (!document.hidden) this.loadChanges(); }, POLL);
  }

  // Load coordinates and colors. Resolve to {bounds, n} of the points that have coordinates.
  async load(by) {
    const [points] = await Promise.all([request(this.#urls.points), this.colorBy(by)]);
    this.raster.setCoordinates(new Uint16Array(await points.arrayBuffer()));
    return this.raster.extent();
  }

  // Load the colors by `by`: one byte per point.
  async colorBy(by) {
    const number = (this.#requests += 1);
    const isNew = by !== this.by;
    const [colors, states, legend] = await Promise.all([
      request(`${this.#urls.colors}?by=${encodeURIComponent(by)}`, { allowRefusal: true }),
      request(`${this.#urls.colors}?by=state`),
      request(`${this.#urls.legend}?by=${encodeURIComponent(by)}`, { allowRefusal: true }),
    ]);
    const [bytes, stateBytes, html] = await Promise.all([colors.ok ? colors.arrayBuffer() : null, states.arrayBuffer(), legend.text()]);
    if (number !== this.#requests) return; // superseded by a later choice
    this.by = by;
    this.#newest = Number(states.headers.get("X-Newest")) || 0;
    this.#version = colors.headers.get("X-Version");
    this.raster.setStates(new Uint8Array(stateBytes));
    this.raster.setColors(bytes ? new Uint8Array(bytes) : new Uint8Array(stateBytes.byteLength));
    if (isNew) this.#chosen.clear();
    this.#showLegend(html);
    this.#notify();
  }

  // Show a decision made on this page. `label` is the id of a class or null.
  decide(row, state, label) {
    const at = classes.all().findIndex(({ id }) => id === label);
    const index = state === LABELED && at >= 0 ? Math.min(at + 1, MAX_INDEX) : 0;
    this.raster.change(row, this.by === "label" ? index : this.raster.colorOf(row), state);
    this.#notify();
  }

  // Load the decisions since the last request, of this person and of others.
  async loadChanges() {
    let changes;
    try {
      const response = await request(`${this.#urls.changes}?since=${this.#newest}&by=${encodeURIComponent(this.by)}`);
      changes = await response.json();
    } catch (error) {
      return console.info("The decisions of others could not be loaded.", error);
    }
    const isNew = changes.newest !== this.#newest;
    // While the server prepares the colors, or when what they depend on changes, load them again.
    if (!this.slot.querySelector("[data-waiting]")) this.#version ??= changes.version;
    this.#newest = changes.newest;
    if (changes.is_stale || changes.version !== this.#version || (isNew && this.by === "time")) return this.colorBy(this.by);
    for (const [row, state, index] of changes.rows) {
      if (document.querySelector(`#grid .tile[data-row="${row}"][data-pending]`)) continue; // the unsaved decision is newer
      this.raster.change(row, this.by === "label" ? index : this.raster.colorOf(row), state);
    }
    if (!isNew) return;
    this.#notify();
    await this.#loadLegend();
  }

  // Set the palette after a change of the theme or the filter. `none` is the color of points without one.
  paint({ none, background }) {
    this.raster.setPalette(this.palette(none), background);
  }

  // Return the color [r, g, b] of each index, null for hidden ones.
  palette(none) {
    const palette = Array.from({ length: 256 }, (_, i) => (i === 255 ? null : none));
    for (let i = 1; this.#ramp.length > 1 && i <= MAX_INDEX; i += 1) palette[i] = interpolate(this.#ramp, (i - 1) / (MAX_INDEX - 1));
    for (const { first, last, color } of this.#entries) {
      if (color && !this.#ramp.length) palette.fill(color, first, last + 1);
    }
    if (this.#chosen.size) {
      const isChosen = (i) => this.#entries.some(({ first, last }) => this.#chosen.has(first) && i >= first && i <= last);
      palette.forEach((_, i) => { if (!isChosen(i)) palette[i] = null; });
    }
    return palette;
  }

  // Return the legend as text: {title, entries: [{name, count, color}]} of the shown entries; a `color` of null stands for none.
  get legend() {
    const entries = [...this.slot.querySelectorAll(".legend-entry")].filter(({ dataset }) => !this.#chosen.size || this.#chosen.has(Number(dataset.first)));
    return {
      title: this.slot.querySelector("h2")?.textContent ?? "",
      entries: entries.map((entry) => ({ name: entry.querySelector(".name").textContent, count: entry.querySelector("b").textContent, color: entry.dataset.color || null })),
    };
  }

  #toggle(entry) {
    const first = Number(entry.dataset.first);
    if (!this.#chosen.delete(first)) this.#chosen.add(first);
    if (this.#chosen.size === this.#entries.length) this.#chosen.clear();
    this.#updatePressed();
    this.#notify();
  }

  #updatePressed() {
    for (const entry of this.slot.querySelectorAll(".legend-entry")) {
      entry.setAttribute("aria-pressed", String(this.#chosen.has(Number(entry.dataset.first))));
    }
    this.slot.classList.toggle("is-filtered", this.#chosen.size > 0);
  }

  async #loadLegend() {
    try {
      const response = await request(`${this.#urls.legend}?by=${encodeURIComponent(this.by)}`, { allowRefusal: true });
      this.#showLegend(await response.text());
    } catch (error) {
      console.info("The legend could not be loaded.", error);
    }
  }

  #showLegend(html) {
    const focused = this.slot.contains(document.activeElement) ? document.activeElement.dataset.first : null;
    this.slot.innerHTML = html;
    this.#entries = [...this.slot.querySelectorAll(".legend-entry")].map(({ dataset }) => (
      { first: Number(dataset.first), last: Number(dataset.last), color: dataset.color ? rgbOf(dataset.color) : null }
    ));
    this.#ramp = (this.slot.querySelector("[data-ramp]")?.dataset.ramp ?? "").split(" ").filter(Boolean).map(rgbOf);
    this.#updatePressed();
    if (focused !== null) this.slot.querySelector(`.legend-entry[data-first="${focused}"]`)?.focus();
  }

  #notify() {
    this.dispatchEvent(new CustomEvent("changed"));
  }
}

async function request(url, { allowRefusal = false } = {}) {
  const response = await fetch(url, { credentials: "same-origin", headers: { "HX-Request": "true" } });
  if (!response.ok && !(allowRefusal && [409, 422].includes(response.status))) throw new Error(`The server responded with ${response.status}.`);
  return response;
}

function rgbOf(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

function interpolate(ramp, share) {
  const at = share * (ramp.length - 1);
  const low = Math.min(Math.floor(at), ramp.length - 2);
  return ramp[low].map((channel, i) => Math.round(channel + (ramp[low + 1][i] - channel) * (at - low)));
}

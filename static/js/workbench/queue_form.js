// The form of the queue and its filters, and the queue in the page's address.
import { counted } from "../plural.js";
import { followSliders, REST } from "../sliders.js";
import { setText } from "../text.js";

// The default state of a queue is dropped where one of these is chosen: it applies to all such images.
const OF_ANY_STATE = ["label", "path", "flagged", "tag", "noted", "note"];
const FILTERS = [...OF_ANY_STATE, "predicted", "region"];
// A state is counted as a filter, but for the one that a queue or another filter sets.
const USUAL_STATES = ["unlabelled", "any"];

// The parameters of a form. A field of metadata may have several values.
function queryOf(form) {
  const query = new URLSearchParams();
  for (const [name, value] of new FormData(form)) {
    if (value === "") continue;
    if (name.startsWith("f.")) query.append(name, value);
    else query.set(name, value);
  }
  return query;
}

// Return the names of the parameters that limit the images.
function filtersOf(query) {
  const names = [...new Set(query.keys())].filter((name) => FILTERS.includes(name) || name.startsWith("f."));
  return query.has("state") && !USUAL_STATES.includes(query.get("state")) ? [...names, "state"] : names;
}

function setAddress(query, { push = false } = {}) {
  history[push ? "pushState" : "replaceState"](null, "", `${location.pathname}?${query}`);
}

export class QueueForm {
  #askedAt = new Map(); // the address of a request -> when it was made; htmx may send it later
  #nMatching = ""; // how many images pass the filters of the grid; "" if that is not known
  // `open(query)` loads the images, `focusTile()` gives the keys back to them, `onMenu()` follows a new menu of queues.
  constructor({ open, focusTile, onMenu }) {
    Object.assign(this, { open, focusTile, slot: document.getElementById("queues-slot") });
    this.slot.addEventListener("click", ({ target }) => { if (target.id === "clear-filters") this.#clear(); });
    this.slot.addEventListener("htmx:afterSwap", () => this.#showNumber(new URLSearchParams(location.search)));
    document.addEventListener("submit", (event) => this.#submit(event));
    document.addEventListener("change", (event) => this.#change(event));
    document.addEventListener("htmx:beforeRequest", ({ detail }) => { detail.xhr.sentAt = performance.now(); });
    document.addEventListener("htmx:beforeSwap", (event) => this.#beforeSwap(event));
    this.movedSince = followSliders((form) => this.#slide(form));
    // Do not replace an open menu.
    document.addEventListener("htmx:oobBeforeSwap", (event) => {
      if (event.detail.target.id === "queue-menu" && event.detail.target.querySelector("details[open]")) event.detail.shouldSwap = false;
    });
    document.addEventListener("htmx:oobAfterSwap", (event) => { if (event.detail.target?.id === "queue-menu") onMenu(); });
    this.#showNumber(new URLSearchParams(location.search));
  }

  // Choose a queue in the header's menu, and keep the filters of the form.
  choose(button) {
    const form = document.getElementById("queues");
    form.querySelector('input[name="queue"]').value = button.value;
    button.closest("details").open = false;
    this.#changed(form, "queue", { push: true });
    this.focusTile();
  }

  show(query, { push = false } = {}) {
    const projection = new URLSearchParams(location.search).get("projection"); // keep the map on the page
    if (projection && !query.has("map")) query.set("projection", projection);
    setAddress(query, { push });
    this.#nMatching = "";
    return this.reopen(query);
  }

  showMatching(n = "") {
    this.#nMatching = n;
    this.#showNumber(new URLSearchParams(location.search));
  }

  // Load the form and the images of the page's address.
  reopen(query) {
    this.#refresh(query);
    return this.open(query);
  }

  // Load the form again, for other choices. The address follows a slider only when it rests.
  reload() {
    const isMoving = this.movedSince(performance.now() - REST);
    this.#refresh(isMoving ? this.#query : new URLSearchParams(location.search));
  }

  get #query() {
    return queryOf(this.slot.querySelector("[data-query-form]"));
  }

  #submit(event) {
    if (!event.target.matches("[data-query-form]")) return;
    event.preventDefault();
    this.#changed(event.target, null);
    if (event.submitter) this.focusTile(); // Pull: the keys act on the new images
  }

  #change({ target }) {
    const form = target.closest?.("[data-query-form]");
    if (!form) return;
    if (target.matches("[data-preview]")) return this.#preview(form);
    if (target.matches("[data-live], [type=file]")) return;
    if (["text", "search"].includes(target.type)) target.defaultValue = target.value; // the typed text is submitted
    this.#changed(form, target.name, { push: true });
  }

  #changed(form, changed, { push = false } = {}) {
    const query = queryOf(form);
    if (changed === "queue" || (OF_ANY_STATE.includes(changed) && query.get("state") === "unlabelled")) query.delete("state");
    this.show(query, { push });
  }

  // Refresh the form for another choice without loading images.
  #preview(form) {
    const query = queryOf(form);
    setAddress(query);
    this.#refresh(query);
  }

  // Ignore a form that was replaced in the meantime. Only parts of the form are swapped, so that the slider stays.
  #slide(form) {
    if (!form.isConnected) return;
    const query = queryOf(form);
    setAddress(query);
    const part = form.elements.low ? "#band-pull" : "#range-text";
    this.#request(query, { target: part, select: part, swap: "outerHTML" });
    if (!form.elements.low) this.open(query); // Band has a button for it
  }

  // When a job ends, the form is refreshed. If a slider moved since the request, refresh it a little later, so that the
  // thumb does not jump back.
  #beforeSwap(event) {
    const { target, pathInfo, xhr } = event.detail;
    if (target !== this.slot || !this.movedSince(this.#askedAt.get(pathInfo.requestPath) ?? xhr.sentAt)) return;
    event.detail.shouldSwap = false;
    setTimeout(() => this.#refresh(this.#query), 500);
  }

  // Reload the form. Abort a running request, whose form would undo the latest choice.
  #refresh(query) {
    this.#showNumber(query);
    window.htmx.trigger(this.slot, "htmx:abort");
    this.#request(query, { target: "#queues-slot", swap: "innerHTML" });
  }

  #request(query, options) {
    const url = `${this.slot.getAttribute("hx-get").split("?")[0]}?${query}`;
    this.#askedAt.set(url, performance.now());
    window.htmx.ajax("GET", url, { source: "#queues-slot", ...options });
  }

  // Remove all filters, and keep the queue with its parameters.
  #clear() {
    const query = new URLSearchParams(location.search);
    for (const name of [...filtersOf(query), "state", "map"]) query.delete(name);
    this.show(query, { push: true });
    this.focusTile();
  }

  // On small screens the filters are in a sheet: its button says how many there are.
  #showNumber(query) {
    const n = filtersOf(query).length;
    setText(document.getElementById("open-filters"), n ? `filters (${n})` : "filters");
    document.getElementById("clear-filters")?.toggleAttribute("hidden", n === 0);
    const found = document.getElementById("n-matching");
    if (found) setText(found, n && this.#nMatching !== "" ? `${counted(Number(this.#nMatching), "image")} found` : "");
  }
}

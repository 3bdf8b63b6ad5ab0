// What is typed into the form of a class's guide: stored in this browser until it is saved or canceled, so that Escape loses
// nothing. Ctrl-Enter saves it.
import { recall, remember } from "../store.js";

const DRAFTS = 20; // the newest are stored

const formOf = (element) => element?.closest?.(".class-guide-form") ?? null;
const keyOf = (form) => form.getAttribute("hx-post");
const drafts = () => recall("guide-drafts", {}) ?? {};
const valuesOf = (form) => [...new FormData(form)].map(([name, value]) => [name, String(value)]);

// Store the values of a form, or forget them (null).
function store(form, values) {
  const { [keyOf(form)]: _, ...others } = drafts();
  const entries = Object.entries(others).slice(1 - DRAFTS);
  remember("guide-drafts", Object.fromEntries(values ? [...entries, [keyOf(form), values]] : entries));
}

function fill(form, values) {
  const rows = form.querySelector(".guide-rows");
  const of = (name) => values.filter((entry) => entry[0] === name).map((entry) => entry[1]);
  while (rows.querySelectorAll(".guide-row").length < of("confused").length) {
    const last = [...rows.querySelectorAll(".guide-row")].pop();
    last.after(last.cloneNode(true));
  }
  for (const name of ["seen", "description", "confused", "difference"]) {
    form.querySelectorAll(`[name="${name}"]`).forEach((field, number) => { field.value = of(name)[number] ?? ""; });
  }
}

// `seen` is restored too: the server refuses a draft once if someone else has changed the guide since.
function restore(form) {
  const values = drafts()[keyOf(form)];
  if (!values || JSON.stringify(values) === JSON.stringify(valuesOf(form))) return;
  fill(form, values);
  const hint = document.createElement("p");
  Object.assign(hint, { className: "hint", role: "status", textContent: "Your unsaved text is back. Cancel discards it." });
  form.querySelector(".row:last-child").before(hint);
}

document.addEventListener("input", ({ target }) => {
  const form = formOf(target);
  if (form) store(form, valuesOf(form));
});

document.addEventListener("keydown", (event) => {
  const form = event.target instanceof Element ? formOf(event.target) : null;
  if (!form || event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  form.requestSubmit();
});

// A saved or canceled form is no draft any more. The text of a refused or failed one stays.
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  const form = formOf(detail.requestConfig?.elt);
  if (form && detail.xhr.status === 200 && detail.requestConfig.path === keyOf(form)) store(form, null);
});

document.addEventListener("htmx:afterSettle", ({ detail }) => {
  for (const form of document.querySelectorAll(".class-guide-form:not([data-drafted])")) {
    form.dataset.drafted = "";
    if (detail.requestConfig?.verb === "get") restore(form);
    else store(form, valuesOf(form)); // the server's answer to what was typed: one more row, or why it is refused
  }
});

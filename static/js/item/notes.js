// Text that is being typed into the note of an item: stored in this browser until it is saved, so that it is never lost.
import { recall, remember } from "../store.js";

const DRAFTS = 50; // the newest are stored

const formOf = (element) => element.closest?.("[data-note-form]");
const keyOf = (form) => form.dataset.noteForm;
const drafts = () => recall("note-drafts", {}) ?? {};

function store(key, text) {
  const { [key]: _, ...others } = drafts();
  const entries = Object.entries(others).slice(-DRAFTS);
  remember("note-drafts", Object.fromEntries(text.trim() ? [...entries, [key, text]] : entries));
}

function grow(field) {
  field.rows = Math.min(8, Math.max(1, field.value.split("\n").length));
}

function restore(root) {
  for (const form of root.querySelectorAll("[data-note-form]")) {
    const field = form.elements.text;
    const draft = drafts()[keyOf(form)];
    if (!draft || field.value) continue;
    field.value = draft;
    grow(field);
  }
}

document.addEventListener("input", ({ target }) => {
  const form = formOf(target);
  if (!form) return;
  store(keyOf(form), target.value);
  grow(target);
});

document.addEventListener("keydown", (event) => {
  const form = event.target instanceof Element ? formOf(event.target) : null;
  if (!form || event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  form.requestSubmit();
});

// Escape leaves the field; the text stays.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !(event.target instanceof Element) || !event.target.closest("[data-item-notes]")) return;
  event.target.blur();
  document.body.dispatchEvent(new CustomEvent("hoshina:focus-lost"));
  event.preventDefault();
  event.stopPropagation();
}, true);

let isSaved = false;

// A saved note is no draft any more. The text of a refused or failed one stays.
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  const form = formOf(detail.requestConfig?.elt ?? document.body);
  if (!form || detail.xhr.status !== 200) return;
  store(keyOf(form), "");
  isSaved = true;
});

// The pane is swapped when a label is saved: keep the caret where the person types.
let caret = null;
document.addEventListener("htmx:beforeSwap", () => {
  const field = document.activeElement;
  caret = field && formOf(field) && field.matches("textarea") ? [field.id, field.selectionStart, field.selectionEnd] : null;
});
document.addEventListener("htmx:afterSettle", () => {
  restore(document);
  const field = caret && document.getElementById(caret[0]);
  if (field && document.activeElement === field) field.setSelectionRange(caret[1], caret[2]);
  caret = null;
  if (!isSaved) return;
  isSaved = false; // the keys act on the image again
  document.activeElement?.blur();
  document.body.dispatchEvent(new CustomEvent("hoshina:focus-lost"));
});

restore(document);

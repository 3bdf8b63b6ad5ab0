// The classes in the left pane, and the counts, which the server's responses update.
import { setText } from "../text.js";

const numberFormat = new Intl.NumberFormat("en-GB");

function all() {
  return [...document.querySelectorAll("#class-pane [data-class]")].map((button) => ({
    id: Number(button.dataset.class),
    key: button.dataset.key,
    name: button.dataset.name,
    color: button.dataset.color,
    button,
  }));
}

export const classes = {
  all,
  ofKey: (classKey) => all().find(({ key }) => key === classKey) ?? null,
  letters: () => all().map(({ key }) => key).filter((key) => /^[a-z]$/.test(key)),
  ofId: (id) => all().find((labelClass) => labelClass.id === Number(id)) ?? null,
};

function showNumber(selector, number) {
  for (const element of document.querySelectorAll(selector)) setText(element, numberFormat.format(number));
}

export function showCounts(counts) {
  if (!counts) return;
  for (const name of ["labelled", "unsure", "skipped", "items", "left"]) {
    if (counts[name] !== undefined) showNumber(`[data-count="${name}"]`, counts[name]);
  }
  const progress = document.querySelector("[data-progress]");
  if (progress) {
    progress.max = Math.max(1, counts.items);
    progress.value = counts.labelled + counts.unsure + counts.skipped;
  }
  for (const element of document.querySelectorAll("[data-class-count]")) {
    const n = counts.classes?.[element.dataset.classCount];
    if (n !== undefined) setText(element, numberFormat.format(n));
  }
}

export function itemCount() {
  const element = document.querySelector('[data-count="items"]');
  return element ? Number(element.textContent.replace(/\D/g, "")) : 0;
}

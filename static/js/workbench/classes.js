// The classes as the left pane lists them, and the counts that the server's answers bring up to date.
const grouped = new Intl.NumberFormat("en-GB");

function all() {
  return [...document.querySelectorAll("#class-pane [data-class]")].map((button) => ({
    id: Number(button.dataset.class),
    key: button.dataset.key,
    name: button.dataset.name,
    colour: button.dataset.colour,
    button,
  }));
}

export const classes = {
  all,
  ofDigit: (digit) => all().find((one) => one.key === String(digit)) ?? null,
  ofId: (id) => all().find((one) => one.id === Number(id)) ?? null,
};

function write(selector, number) {
  for (const shown of document.querySelectorAll(selector)) shown.textContent = grouped.format(number);
}

export function showCounts(counts) {
  if (!counts) return;
  for (const name of ["labelled", "unsure", "skipped", "items", "left"]) {
    if (counts[name] !== undefined) write(`[data-count="${name}"]`, counts[name]);
  }
  const progress = document.querySelector("[data-progress]");
  if (progress) {
    progress.max = Math.max(1, counts.items);
    progress.value = counts.labelled + counts.unsure + counts.skipped;
  }
  for (const shown of document.querySelectorAll("[data-class-count]")) {
    const n = counts.classes?.[shown.dataset.classCount];
    if (n !== undefined) shown.textContent = grouped.format(n);
  }
}

export function itemsKnown() {
  const shown = document.querySelector('[data-count="items"]');
  return shown ? Number(shown.textContent.replace(/\D/g, "")) : 0;
}

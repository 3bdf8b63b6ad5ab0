// The class guide in the dialog: opened at the class of the focused image. "Use as example" takes the selected images.

// Return the id of the class of the focused or shown image, or of its suggestion; "" for neither.
function classHere() {
  const tile = document.querySelector("#grid .tile.here");
  const isBlind = document.body.classList.contains("blind");
  const suggested = isBlind ? "" : tile?.querySelector("[data-suggested]")?.dataset.suggested;
  return tile?.dataset.label || suggested || document.getElementById("detail")?.dataset.label || "";
}

// Open the guide. `button` is the one that was pressed, or any that leads to the guide.
export function openGuide(button = document.querySelector("[data-guide]")) {
  const url = `${button.dataset.guide}?class=${button.dataset.class ?? classHere()}`;
  const request = window.htmx.ajax("GET", url, { source: button, target: "#dialog-body", swap: "innerHTML" });
  request?.catch?.((error) => console.info("The class guide could not be loaded.", error));
}

// Begin at the class of the image.
document.addEventListener("htmx:afterSettle", ({ detail }) => {
  if (detail.target?.id === "dialog-body") detail.target.querySelector(".class-guide [autofocus]")?.scrollIntoView({ block: "start" });
});

document.addEventListener("click", ({ target }) => {
  const button = target.closest?.("[data-guide]");
  if (button) openGuide(button);
  const link = target.closest?.("[data-guide-of]");
  const title = link && document.getElementById(`class-guide-title-${link.dataset.guideOf}`);
  if (!title) return;
  title.scrollIntoView({ block: "start" });
  title.focus({ preventScroll: true });
});

// Use all selected images that have a label, if the one in the detail is among them.
document.addEventListener("htmx:configRequest", ({ detail }) => {
  if (!detail.elt.matches("[data-example]")) return;
  const selected = [...document.querySelectorAll('#grid .tile[aria-selected="true"]')].map((tile) => tile.dataset.item);
  if (!selected.includes(String(detail.parameters.item))) return;
  detail.parameters.item = selected;
});

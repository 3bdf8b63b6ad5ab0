// The class guide in the dialog: opened at the class of the focused image. "Use as example" takes the selected images.
import "./guide_drafts.js";

// Return the id of the class of the focused or shown image, or of its suggestion; "" for neither.
function classHere() {
  const tile = document.querySelector("#grid .tile.here");
  const isBlind = document.body.classList.contains("blind");
  const suggested = isBlind ? "" : tile?.querySelector("[data-suggested]")?.dataset.suggested;
  return tile?.dataset.label || suggested || document.getElementById("detail")?.dataset.label || "";
}

// Open the guide at a class (its id).
export function openGuide(classId = classHere()) {
  const url = `${document.querySelector("[data-guide-url]").dataset.guideUrl}?class=${classId}`;
  document.getElementById("dialog").setAttribute("aria-label", "Class guide");
  window.htmx.ajax("GET", url, { source: "#dialog-body", target: "#dialog-body", swap: "innerHTML" });
}

// Stay at the class of the image while pictures above it are loaded.
document.addEventListener("htmx:afterSettle", ({ detail }) => {
  const title = document.activeElement?.closest("#dialog-body .class-guide h3");
  if (title && (detail.target?.id === "dialog-body" || detail.target?.matches(".guide-suggestions"))) title.scrollIntoView({ block: "start" });
});

document.addEventListener("click", ({ target }) => {
  const button = target.closest?.("[data-open-guide]");
  if (button) openGuide(button.dataset.class);
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

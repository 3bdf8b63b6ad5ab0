// Answers that come late must not undo what a person did meanwhile: typed, or asked for something else.

const TEXT = "input:not([type=checkbox], [type=radio], [type=range], [type=button], [type=submit], [type=hidden]), textarea";

// Whether a person asked for it, rather than a poll or an event of the page.
export function wasAsked(detail) {
  return ["click", "submit", "change", "keydown", "keyup"].includes(detail.requestConfig?.triggeringEvent?.type);
}

// The text field that somebody types in and that the swap would replace, unless the server was sent what it holds.
function typedOver(detail) {
  const field = document.activeElement;
  if (!field?.matches(TEXT) || !detail.target?.contains(field) || field.value === field.defaultValue) return false;
  return detail.requestConfig?.formData?.get(field.name) !== field.value;
}

// A poll comes again, and a form that follows its fields asks once the field is left.
document.addEventListener("htmx:beforeSwap", (event) => {
  const isPress = ["click", "submit", "keydown"].includes(event.detail.requestConfig?.triggeringEvent?.type);
  if (!isPress && typedOver(event.detail)) event.detail.shouldSwap = false;
});

// Answers come in any order. One that was asked for before what its target shows is out of date, and so is one that
// was asked for before a change was answered.
let asked = 0;
const shown = new Map(); // by the target's id: requests up to this number are out of date
document.addEventListener("htmx:beforeRequest", ({ detail }) => { detail.xhr.number = asked += 1; });
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  const { target, xhr, requestConfig } = detail;
  if (!target?.id || !detail.shouldSwap) return;
  const isChange = requestConfig.verb !== "get"; // its answer is always the newest state
  if (!isChange && xhr.number < (shown.get(target.id) ?? 0)) detail.shouldSwap = false;
  else shown.set(target.id, isChange ? asked : xhr.number);
});

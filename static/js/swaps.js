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

// Of several requests for the dialog, the newest is shown.
let newest = null;
document.addEventListener("htmx:beforeRequest", ({ detail }) => {
  if (detail.target?.id === "dialog-body") newest = detail.xhr;
});
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  if (detail.target?.id === "dialog-body" && detail.xhr !== newest) detail.shouldSwap = false;
});

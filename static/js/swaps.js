// Keeps late responses from undoing what the person did in the meantime, such as typing or another request.

const TEXT = "input:not([type=checkbox], [type=radio], [type=range], [type=button], [type=submit], [type=hidden]), textarea";

// Return whether a person started the request, rather than a poll or an event of the page.
export function isByPerson(detail) {
  return ["click", "submit", "change", "keydown", "keyup"].includes(detail.requestConfig?.triggeringEvent?.type);
}

// Return whether the swap would replace a text field with typed text that was not sent in the request.
function wouldLoseText(detail) {
  const field = document.activeElement;
  if (!field?.matches(TEXT) || !detail.target?.contains(field) || field.value === field.defaultValue) return false;
  return detail.requestConfig?.formData?.get(field.name) !== field.value;
}

// Skipping a swap is safe: polls repeat, and forms that follow their fields send a request when the field loses the focus.
document.addEventListener("htmx:beforeSwap", (event) => {
  const isPress = ["click", "submit", "keydown"].includes(event.detail.requestConfig?.triggeringEvent?.type);
  if (!isPress && wouldLoseText(event.detail)) event.detail.shouldSwap = false;
});

// Responses arrive in any order. A response is out of date if its request is older than the target's content, or than the
// last change that was answered.
let nRequests = 0;
const newest = new Map(); // id of a target -> the number of the request that filled it
document.addEventListener("htmx:beforeRequest", ({ detail }) => { detail.xhr.number = nRequests += 1; });
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  const { target, xhr, requestConfig } = detail;
  if (!target?.id || !detail.shouldSwap) return;
  const isChange = requestConfig.verb !== "get"; // its response always has the newest state
  if (!isChange && xhr.number < (newest.get(target.id) ?? 0)) detail.shouldSwap = false;
  else newest.set(target.id, isChange ? nRequests : xhr.number);
});

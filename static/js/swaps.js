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
const changes = new Map(); // changes on their way: request -> the element that sent it, which must stay for the response
document.addEventListener("htmx:beforeRequest", ({ detail }) => {
  detail.xhr.number = nRequests += 1;
  if (detail.requestConfig.verb !== "get") changes.set(detail.xhr, detail.elt);
});
document.addEventListener("htmx:afterRequest", ({ detail }) => changes.delete(detail.xhr));
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  const { target, xhr, requestConfig } = detail;
  if (!target?.id || !detail.shouldSwap) return;
  const isChange = requestConfig.verb !== "get"; // its response always has the newest state
  const isOld = xhr.number < (newest.get(target.id) ?? 0) || [...changes.values()].some((elt) => target.contains(elt));
  if (!isChange && isOld) detail.shouldSwap = false;
  else newest.set(target.id, isChange ? nRequests + 1 : xhr.number); // no request that is under way is newer than a change
});

// A press that begins on one button and ends on its replacement is no click. A response that would replace what is pressed
// is dropped, and its request is sent again after the press.
let pressed = null;
document.addEventListener("pointerdown", ({ target }) => { pressed = target; }, true);
for (const end of ["pointerup", "pointercancel"]) {
  document.addEventListener(end, () => setTimeout(() => { pressed = null; }), true);
}
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  const { target, requestConfig, pathInfo } = detail;
  if (!detail.shouldSwap || requestConfig.verb !== "get" || !pressed || pressed === target || !target?.contains(pressed)) return;
  detail.shouldSwap = false;
  const again = () => setTimeout(() => {
    if (requestConfig.elt.isConnected) window.htmx.ajax("GET", pathInfo.finalRequestPath, { source: requestConfig.elt });
  });
  document.addEventListener("pointerup", again, { once: true, capture: true });
});

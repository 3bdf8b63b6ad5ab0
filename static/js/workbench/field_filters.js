// The filters by fields: join the two ends of a range into one URL parameter such as 2..5, and add and remove filters.
document.addEventListener("change", (event) => {
  const range = event.target.closest?.("[data-range]");
  if (!range) return;
  const [low, high] = [...range.querySelectorAll("[data-end]")].map((end) => end.value.trim());
  range.querySelector("input[type=hidden]").value = low || high ? `${low}..${high}` : "";
}, true); // in the capture phase, before the form's listener reads the value

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-drop-field]");
  if (!button) return;
  const form = button.closest("form");
  button.closest("fieldset").remove();
  form.dispatchEvent(new Event("change", { bubbles: true }));
});

document.addEventListener("htmx:afterSwap", ({ detail }) => {
  const select = detail.requestConfig?.elt;
  if (!select?.matches?.("[data-add-field]")) return;
  select.selectedOptions[0].disabled = true;
  select.value = "";
  detail.target.lastElementChild?.querySelector("input:not([type=hidden])")?.focus();
});

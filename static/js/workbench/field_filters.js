// Filters by fields: the two ends of a range make one value of the address, as 2..5; controls come and go.
document.addEventListener("change", (event) => {
  const range = event.target.closest?.("[data-range]");
  if (!range) return;
  const [low, high] = [...range.querySelectorAll("[data-end]")].map((end) => end.value.trim());
  range.querySelector("input[type=hidden]").value = low || high ? `${low}..${high}` : "";
}, true); // before the form's own listener reads the value

document.addEventListener("click", (event) => {
  const drop = event.target.closest?.("[data-drop-field]");
  if (!drop) return;
  const form = drop.closest("form");
  drop.closest("fieldset").remove();
  form.dispatchEvent(new Event("change", { bubbles: true }));
});

document.addEventListener("htmx:afterSwap", ({ detail }) => {
  const select = detail.requestConfig?.elt;
  if (!select?.matches?.("[data-add-field]")) return;
  select.selectedOptions[0].disabled = true;
  select.value = "";
  detail.target.lastElementChild?.querySelector("input:not([type=hidden])")?.focus();
});

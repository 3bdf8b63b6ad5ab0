// The panel that asks for the first classes: it takes pasted lists, and closes when the person begins.
const panel = document.getElementById("first-classes");

function begin() {
  panel.remove();
  document.body.dispatchEvent(new CustomEvent("hoshina:focus-lost"));
}

panel?.addEventListener("click", (event) => {
  if (event.target.closest("[data-begin]")) begin();
});

panel?.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  event.preventDefault();
  begin();
});

// They may also be added in the dialog.
document.body.addEventListener("hoshina:dialog-closed", () => {
  if (panel?.isConnected && document.querySelector("#class-pane [data-class]")) begin();
});

// A text field drops line breaks, which separate the names of a pasted list.
panel?.addEventListener("paste", (event) => {
  const text = event.clipboardData?.getData("text/plain") ?? "";
  if (event.target.name !== "names" || !/[\r\n\t]/.test(text)) return;
  event.preventDefault();
  event.target.setRangeText(text.trim().replace(/[\r\n\t]+/g, ", "), event.target.selectionStart, event.target.selectionEnd, "end");
});

panel?.addEventListener("htmx:afterSettle", () => {
  const field = panel.querySelector("[autofocus]");
  field?.focus();
  field?.select(); // a name that was refused
});

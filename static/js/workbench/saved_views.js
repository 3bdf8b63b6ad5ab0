// Saved views: close the menu once one is opened, close the form once it is saved, and list them in the palette.
import { addCommands } from "../commands.js";
import { toast } from "../toast.js";

document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-saved-view]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) link.closest("details").open = false;
});

document.body.addEventListener("hoshina:views", ({ detail }) => {
  const menu = document.querySelector("#queue-menu details");
  if (menu) menu.open = false; // an open menu is not replaced
  if (!detail.saved) return;
  document.getElementById("dialog").close();
  toast(`Saved as “${detail.saved}” in the menu of queues.`);
});

addCommands(() => [...document.querySelectorAll("[data-saved-view]")].map((link) => ({
  name: link.querySelector("b").textContent.trim(), kind: "view", words: link.querySelector("span").textContent, run: () => link.click(),
})));

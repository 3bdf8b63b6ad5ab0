// Ctrl-K on every page: find a page, a dataset or a command by typing, and open or run it.
import { Palette } from "./palette.js";

const sources = [];
let palette = null;

// Return the palette of this page, or null if nobody is signed in.
export function paletteOfPage() {
  const dialog = document.getElementById("palette");
  if (dialog) palette ??= new Palette(dialog);
  return palette;
}

// Add a function that returns entries of a page's own.
export function addCommands(entriesOf) {
  sources.unshift(entriesOf);
}

function pages() {
  return [...document.querySelectorAll(".nav a[href]")].filter(isAllowed).map((link) => {
    const group = link.closest(".nav-group")?.querySelector("summary").textContent.trim() ?? "";
    const words = [group, link.dataset.words ?? ""].join(" ");
    return { name: link.textContent.trim(), kind: group || "page", words, run: () => link.click() };
  });
}

// A page hides with `data-needs` what the person's role does not allow.
function isAllowed(element) {
  const needed = element.closest("[data-needs]")?.dataset.needs;
  return !needed || document.body.dataset.roles.split(" ").includes(needed);
}

function datasets() {
  const links = [...document.querySelectorAll("#top .brand ~ .menu-list a:not([aria-current])")];
  return links.map((link) => ({ name: link.textContent.trim(), kind: "dataset", run: () => link.click() }));
}

function settings() {
  const theme = document.querySelector("[data-theme-toggle]");
  return theme ? [{ name: "Change the theme", kind: "command", words: "dark light", run: () => theme.click() }] : [];
}

sources.push(datasets, settings);

document.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey || event.key.toLowerCase() !== "k") return;
  if (!paletteOfPage()) return;
  event.preventDefault(); // the browser's search
  if (document.querySelector("dialog[open]")) return;
  palette.open({
    label: "Commands and pages",
    placeholder: "Part of the name of a page or command",
    nothing: "No page or command matches.",
    entries: [pages, ...sources].flatMap((entriesOf) => entriesOf()),
  });
}, true);

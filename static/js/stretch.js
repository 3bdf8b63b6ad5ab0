// How deep images are stretched in this browser: as the dataset says, or for a look as one of these. Only the address
// of each picture changes, so that nothing is asked for again but pictures.
import { layoutWords } from "./frames.js";
import { recall, remember } from "./store.js";
import { say, toast } from "./toast.js";

const CYCLE = ["zscale", "percentile", "minmax", "linear", "asinh", "log", "sqrt"];
const PICTURES = ".picture img, .examples img, [data-zoom] img";
const COLOUR = ".colour img"; // has a curve of its own

// The page's own: {slug, rendering} on the element that says so.
const page = () => document.querySelector("[data-rendering]");
const setting = () => `stretch:${page()?.dataset.slug ?? ""}`;

// The stretch chosen for a look, or "" for the dataset's own.
function chosen() {
  const name = page() && recall(setting(), "");
  return CYCLE.includes(name) ? name : "";
}

// The next stretch for all pictures; after the last one the dataset's own again.
export function cycleStretch() {
  const next = CYCLE[CYCLE.indexOf(chosen()) + 1] ?? "";
  remember(setting(), next);
  stretchPictures(document);
  const words = next ? `Stretch: ${next}` : "Stretch: the dataset's own";
  toast(`${words}. Images of 8 bits stay as they are.`, "", "stretch");
  say(words);
}

// Has the pictures below `root` come under the stretch that is chosen.
export function stretchPictures(root) {
  const name = chosen();
  for (const image of root.querySelectorAll(PICTURES)) {
    if (image.matches(COLOUR)) continue;
    const before = image.getAttribute("src");
    const address = new URL(before, location.href);
    if (name) address.searchParams.set("s", name);
    else address.searchParams.delete("s");
    const after = address.pathname + address.search;
    if (after !== before) image.setAttribute("src", after);
  }
}

// How a person sees images just now, in words for their labels; "" for the usual way.
export function shownAs() {
  const own = page()?.dataset.rendering ?? "";
  const name = chosen();
  return [own, name && `seen as ${name}`, layoutWords()].filter(Boolean).join("; ");
}

// Fragments that htmx brings.
document.addEventListener("htmx:load", ({ detail }) => stretchPictures(detail.elt.parentElement ?? detail.elt));

// The stretch of images with more than 8 bits in this browser: the dataset's own, or a chosen one. Changing it changes only
// the URLs of images.
import { describeAdjustment } from "./adjustment.js";
import { describeLayout } from "./frames.js";
import { recall, remember } from "./store.js";
import { say, toast } from "./toast.js";

// The defaults of FITS and of other formats come last, so that the first key press changes something.
const CYCLE = ["minmax", "linear", "asinh", "log", "sqrt", "percentile", "zscale"];
const PICTURES = ".picture img, .examples img, .recent-list img, .compare img, .guide-picture img, [data-zoom] img";
const COLOR = ".color img"; // has its own curve
// Files of these formats have 8 bits per channel: no stretch changes them. PNG may have 16.
const EIGHT_BITS = /\.(jpe?g|bmp|gif|webp)$/i;

// The element with the data of the dataset: {slug, rendering}.
const page = () => document.querySelector("[data-rendering]");
const setting = () => `stretch:${page()?.dataset.slug ?? ""}`;

// The stretches to go through: without the one that images have anyway.
function cycle() {
  const own = (page()?.dataset.rendering ?? "").split(/[\s;,]+/);
  return CYCLE.filter((name) => !own.includes(name));
}

// Return the stretch chosen in this browser, or "" for the dataset's own.
function chosenStretch() {
  const name = page() && recall(setting(), "");
  return CYCLE.includes(name) ? name : "";
}

// Return whether a stretch changes some of the images of the page, as far as their names tell.
function applies() {
  const named = [...document.querySelectorAll(".tile[data-name]")];
  return named.length === 0 || named.some(({ dataset }) => !EIGHT_BITS.test(dataset.name));
}

function choose(name) {
  remember(setting(), name);
  stretchPictures(document);
  showChoice();
}

// Show the chosen stretch in the panel View, if there is an image that it changes.
function showChoice() {
  const select = document.querySelector("#adjustment [name=stretch]");
  if (!select) return;
  select.closest("label").hidden = !applies();
  select.replaceChildren(select.options[0], ...cycle().map((name) => new Option(name)));
  select.value = chosenStretch();
  document.body.classList.toggle("stretched", chosenStretch() !== "");
}

// Switch all images to the next stretch. After the last one comes the dataset's own.
export function cycleStretch() {
  const stretches = cycle();
  const next = stretches[stretches.indexOf(chosenStretch()) + 1] ?? "";
  choose(next);
  const message = next ? `Stretch: ${next}.` : "Stretch: default.";
  toast(applies() ? message : `${message} It does not apply to 8-bit images.`, "", "stretch");
  say(message);
}

// Apply the chosen stretch to the images below `root`.
export function stretchPictures(root) {
  const name = chosenStretch();
  for (const image of root.querySelectorAll(PICTURES)) {
    if (image.matches(COLOR)) continue;
    const before = image.getAttribute("src");
    const url = new URL(before, location.href);
    if (name) url.searchParams.set("s", name);
    else url.searchParams.delete("s");
    const after = url.pathname + url.search;
    if (after !== before) image.setAttribute("src", after);
  }
}

// Describe how images are shown in this browser, for the provenance of labels; "" for the default.
export function describeDisplay() {
  const own = page()?.dataset.rendering ?? "";
  const name = chosenStretch();
  return [own, name && `seen as ${name}`, describeLayout(), describeAdjustment()].filter(Boolean).join("; ");
}

document.addEventListener("change", ({ target }) => { if (target.matches("#adjustment [name=stretch]")) choose(target.value); });
document.addEventListener("click", ({ target }) => { if (target.closest("#adjustment [data-reset]")) choose(""); });
document.body.addEventListener("hoshina:page", showChoice);
showChoice();

// Fragments loaded by htmx.
document.addEventListener("htmx:load", ({ detail }) => stretchPictures(detail.elt.parentElement ?? detail.elt));

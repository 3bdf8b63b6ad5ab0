// The sliders of the queue's form. Bars, text and tiles follow the thumb at once; the server is asked when it rests.
import { counted } from "./plural.js";

export const REST = 250; // ms

// Call `onRest(form)` when a slider rests. Return a function that tells whether a slider moved after a time
// (performance.now(), in ms): a form requested before that is out of date.
export function followSliders(onRest) {
  let timer = null;
  let movedAt = -Infinity;
  document.addEventListener("input", (event) => {
    const slider = event.target.closest?.("[data-query-form] input[data-live]");
    if (!slider) return;
    movedAt = performance.now();
    const form = slider.form;
    if (slider.name === "low" || slider.name === "high") updateBand(form, slider);
    else updateSimilarity(form, slider);
    clearTimeout(timer);
    timer = setTimeout(() => onRest(form), REST);
  });
  return (time) => movedAt > time;
}

// Show the bars and the count of the band. The moved end stops at the other end.
function updateBand(form, moved) {
  const { low, high } = form.elements;
  if (Number(low.value) > Number(high.value)) moved.value = moved === low ? high.value : low.value;
  const bars = [...form.querySelectorAll(".band-slider rect")];
  let n = 0;
  bars.forEach((bar, at) => {
    const isInside = (at + 1) / bars.length > Number(low.value) && at / bars.length < Number(high.value);
    bar.classList.toggle("inside", isInside);
    if (isInside) n += Number(bar.dataset.n);
  });
  if (!bars.length) return;
  showText(form, `Probability ${Number(low.value).toFixed(2)} to ${Number(high.value).toFixed(2)}`);
  const pull = form.querySelector("#pull-count");
  pull.textContent = `about ${counted(n, "image")}`;
  pull.closest("button").disabled = n === 0;
}

// Dim the tiles of this page that are less similar than the slider asks.
function updateSimilarity(form, slider) {
  const tiles = [...document.querySelectorAll("#grid .tile")];
  let n = 0;
  for (const tile of tiles) {
    const isSimilar = (JSON.parse(tile.dataset.shown || "{}").score ?? 1) >= Number(slider.value);
    tile.classList.toggle("too-far", !isSimilar);
    if (isSimilar) n += 1;
  }
  showText(form, `similarity ${Number(slider.value).toFixed(2)} or more: ${n} of the ${tiles.length} here`);
}

function showText(form, text) {
  const line = form.querySelector("#range-text");
  if (line) line.textContent = text;
}

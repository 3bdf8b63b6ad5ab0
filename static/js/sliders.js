// Sliders of the queue's form: bars, text and tiles follow the thumb at once; the server is asked when it rests.
const REST = 250; // ms

// `changed(form)` is called when a slider rests, once for a burst of keys. Returns whether one has moved since a moment
// (in ms, as performance.now() tells): a form that was asked for before that knows less than the thumb.
export function followSliders(changed) {
  let resting = null;
  let movedAt = -Infinity;
  document.addEventListener("input", (event) => {
    const slider = event.target.closest?.("[data-query-form] input[data-live]");
    if (!slider) return;
    movedAt = performance.now();
    const form = slider.form;
    if (slider.name === "low" || slider.name === "high") followBand(form, slider);
    else followDistance(form, slider);
    clearTimeout(resting);
    resting = setTimeout(() => changed(form), REST);
  });
  return (moment) => movedAt > moment;
}

// The end that moves stops at the other one.
function followBand(form, moved) {
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
  tell(form, `Probability ${Number(low.value).toFixed(2)} to ${Number(high.value).toFixed(2)}`);
  const pull = form.querySelector("#pull-count");
  pull.textContent = `about ${n.toLocaleString("en")} image${n === 1 ? "" : "s"}`;
  pull.closest("button").disabled = n === 0;
}

// Tiles of this page that will go are dimmed meanwhile.
function followDistance(form, slider) {
  const tiles = [...document.querySelectorAll("#grid .tile")];
  let n = 0;
  for (const tile of tiles) {
    const isAlike = (JSON.parse(tile.dataset.shown || "{}").score ?? 1) >= Number(slider.value);
    tile.classList.toggle("too-far", !isAlike);
    if (isAlike) n += 1;
  }
  tell(form, `similarity ${Number(slider.value).toFixed(2)} or more: ${n} of the ${tiles.length} here`);
}

function tell(form, words) {
  const told = form.querySelector("#range-told");
  if (told) told.textContent = words;
}

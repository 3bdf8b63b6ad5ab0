// The scale bar of the large image, where the file's header gives the size of a pixel. It follows the zoom.
const MOST = 140; // CSS pixels
const LEAST = 36;
const SECONDS = [[3600, "°"], [60, "′"], [1, "″"], [0.001, "mas"]];
const METERS = [[1000, "km"], [1, "m"], [1e-3, "mm"], [1e-6, "µm"], [1e-9, "nm"]];
const scales = new Map(); // URL -> a promise of {size, unit} or null

function scaleAt(url) {
  if (!scales.has(url)) {
    const request = fetch(url, { credentials: "same-origin" }).then((response) => (response.ok ? response.json() : null));
    scales.set(url, request.catch((error) => {
      console.info("The scale of an image could not be loaded.", error);
      scales.delete(url);
      return null;
    }));
  }
  return scales.get(url);
}

// Return a round length of at most `most` in `unit`, and its text.
export function roundLength(most, unit) {
  const units = unit === "arcsec" ? SECONDS : METERS;
  const [factor, name] = units.find(([size]) => most >= size) ?? units.at(-1);
  const power = 10 ** Math.floor(Math.log10(most / factor));
  // Minutes and seconds of arc go up to 60, so 30 is a rounder number than 50.
  const steps = unit === "arcsec" && factor > 0.001 && factor < 3600 ? [5, 3, 2, 1] : [5, 2, 1];
  const step = steps.find((candidate) => candidate * power * factor <= most) ?? 1;
  return { length: step * power * factor, text: `${Number((step * power).toPrecision(3))} ${name}`.replace(/ (?=[°′″])/, "") };
}

// Show the bar of a zoom box. `pixels`: CSS pixels per pixel of the file.
export async function showScale(box, image, pixels) {
  const bar = box.querySelector(".scale-bar");
  const url = image?.dataset.scale;
  if (!bar) return;
  box.dataset.pixels = String(pixels);
  const scale = url ? await scaleAt(url) : null;
  const shown = Number(box.dataset.pixels); // the zoom may have changed in the meantime
  const { length, text } = scale ? roundLength((MOST / shown) * scale.size, scale.unit) : { length: 0, text: "" };
  const width = scale ? (length / scale.size) * shown : 0;
  bar.hidden = width < LEAST;
  bar.firstElementChild.style.width = `${width}px`;
  bar.lastElementChild.textContent = text;
}

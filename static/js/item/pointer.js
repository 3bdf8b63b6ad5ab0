// The line below the image in the detail: pixel coordinates, pixel value and sky coordinates under the pointer. The values
// and the sky coordinate grid of an image are requested once, when the pointer first enters it.
const cache = new Map(); // URL -> its data, or null while it loads
const MAX_CACHED = 24;
const HOUR = 15; // degrees

const lineOf = (box) => box.closest(".detail")?.querySelector("[data-pointer-values]");

// Return the data of a URL, or null until it is loaded. Request it once; if that fails, the line leaves it out.
function load(url, read) {
  if (!url || cache.has(url)) return cache.get(url) ?? null;
  cache.set(url, null);
  if (cache.size > MAX_CACHED) cache.delete(cache.keys().next().value);
  fetch(url, { credentials: "same-origin" })
    .then((response) => (response.ok ? read(response) : null))
    .then((data) => {
      cache.set(url, data);
      if (last) showValues(last);
    })
    .catch((error) => {
      console.info("The values under the pointer could not be loaded.", error);
      cache.delete(url);
    });
  return null;
}

// Return the pointer's position on the image, 0 to 1 from the upper left corner; null outside of it.
function positionOn(image, x, y) {
  const { left, top, width, height } = image.getBoundingClientRect();
  const [w, h] = [Number(image.getAttribute("width")), Number(image.getAttribute("height"))];
  const scale = Math.min(width / w, height / h);
  const across = (x - left - (width - w * scale) / 2) / (w * scale);
  const down = (y - top - (height - h * scale) / 2) / (h * scale);
  return across >= 0 && across < 1 && down >= 0 && down < 1 ? { across, down, w, h } : null;
}

// Interpolate longitude and latitude, in degrees, between the nodes of the grid; null outside of the sky.
export function skyCoordinates({ n, vectors }, across, up) {
  const [x, y] = [across * (n - 1), up * (n - 1)];
  const [i, j] = [Math.min(Math.floor(x), n - 2), Math.min(Math.floor(y), n - 2)];
  const [u, v] = [x - i, y - j];
  const sum = [0, 0, 0];
  for (const [dx, dy, share] of [[0, 0, (1 - u) * (1 - v)], [1, 0, u * (1 - v)], [0, 1, (1 - u) * v], [1, 1, u * v]]) {
    for (let axis = 0; axis < 3; axis += 1) {
      const component = vectors[((j + dy) * n + i + dx) * 3 + axis];
      if (component === null) return null;
      sum[axis] += share * component;
    }
  }
  const degrees = 180 / Math.PI;
  const longitude = Math.atan2(sum[1], sum[0]) * degrees;
  return [(longitude + 360) % 360, Math.atan2(sum[2], Math.hypot(sum[0], sum[1])) * degrees];
}

// Format hours or degrees as 10:00:24.03.
function sexagesimal(value, digits) {
  const whole = Math.round(Math.abs(value) * 3600 * 10 ** digits);
  const seconds = whole / 10 ** digits;
  const [h, m] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  const s = (seconds - h * 3600 - m * 60).toFixed(digits).padStart(digits + 3, "0");
  return `${String(h).padStart(2, "0")}:${String(m).padStart(2, "0")}:${s}`;
}

function formatSky(grid, [longitude, latitude]) {
  const sign = latitude < 0 ? "−" : "+";
  if (grid.kind === "RA") {
    const hours = sexagesimal(longitude / HOUR, 2).replace(/^24/, "00");
    return `RA ${hours} Dec ${sign}${sexagesimal(latitude, 1)} (${longitude.toFixed(5)}°, ${latitude.toFixed(5)}°)`;
  }
  if (grid.kind === "HPLN") {
    const wrapped = longitude > 180 ? longitude - 360 : longitude;
    return `x ${(wrapped * 3600).toFixed(1)}″ y ${(latitude * 3600).toFixed(1)}″ on the Sun's disc`;
  }
  return `${grid.kind} ${longitude.toFixed(5)}° ${sign}${Math.abs(latitude).toFixed(5)}°`;
}

function formatValue(value) {
  if (!Number.isFinite(value)) return "unknown";
  return String(Number(value.toPrecision(6)));
}

function showValues({ image, x, y }) {
  const line = lineOf(image);
  const at = positionOn(image, x, y);
  if (!line) return;
  if (!at) {
    line.textContent = "";
    return;
  }
  const { across, down, w, h } = at;
  const [column, row] = [Math.floor(across * w), Math.floor(down * h)];
  const isFits = image.dataset.sky !== undefined;
  // FITS counts pixel centers from 1, upwards; other formats count pixels from 0, downwards.
  const parts = [isFits ? `x ${(across * w + 0.5).toFixed(1)} y ${(h - down * h + 0.5).toFixed(1)}` : `x ${column} y ${row}`];
  const values = load(image.dataset.values, (response) => response.arrayBuffer().then((bytes) => new Float32Array(bytes)));
  if (values?.length === w * h) parts.push(formatValue(values[row * w + column]));
  const grid = isFits ? load(image.dataset.sky, (response) => response.json()) : null;
  const sky = grid && skyCoordinates(grid, across, 1 - down);
  if (sky) {
    parts.push(formatSky(grid, sky));
    if (grid.error >= 0.1) parts.push(`accurate to ${grid.error} pixels`);
    line.title = `Within ${grid.error} pixels of the coordinates in the file's header`;
  } else line.removeAttribute("title");
  const frame = image.closest(".frame")?.querySelector(".frame-name");
  if (frame) parts.unshift(frame.textContent.trim());
  line.textContent = parts.join(" · ");
}

let last = null;
let isDue = false;

document.addEventListener("pointermove", ({ target, clientX, clientY }) => {
  const box = target.closest?.("[data-zoom]");
  if (!box) {
    if (last) {
      const line = lineOf(last.image);
      if (line) line.textContent = "";
    }
    last = null;
    return;
  }
  const image = [...box.querySelectorAll("img[data-values]")].find((candidate) => {
    const cell = candidate.closest(".frame") ?? box;
    const { left, right, top, bottom } = cell.getBoundingClientRect();
    const isVisible = getComputedStyle(cell).visibility === "visible" && candidate.clientWidth > 0;
    return isVisible && clientX >= left && clientX < right && clientY >= top && clientY < bottom;
  });
  if (!image) return;
  last = { image, x: clientX, y: clientY };
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    if (last) showValues(last);
  });
});

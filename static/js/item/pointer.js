// What lies under the pointer in the detail: the pixel, its value, and its place in the sky. The grid of places and the
// values are asked for once for each image, when the pointer first comes to it.
const known = new Map(); // address -> what came of it, or null while it is on its way
const KEPT = 24;
const HOUR = 15; // degrees

const told = (box) => box.closest(".detail")?.querySelector("[data-place-told]");

// Asks once. What can't be had is no more than not told.
function asked(address, read) {
  if (!address || known.has(address)) return known.get(address) ?? null;
  known.set(address, null);
  if (known.size > KEPT) known.delete(known.keys().next().value);
  fetch(address, { credentials: "same-origin" })
    .then((response) => (response.ok ? read(response) : null))
    .then((found) => {
      known.set(address, found);
      if (last) tell(last);
    })
    .catch((error) => {
      console.info("What is under the pointer could not be asked for.", error);
      known.delete(address);
    });
  return null;
}

// Where on the picture the pointer is, 0 to 1 from its upper left corner; null beside it.
function shareAt(image, x, y) {
  const { left, top, width, height } = image.getBoundingClientRect();
  const [w, h] = [Number(image.getAttribute("width")), Number(image.getAttribute("height"))];
  const scale = Math.min(width / w, height / h);
  const across = (x - left - (width - w * scale) / 2) / (w * scale);
  const down = (y - top - (height - h * scale) / 2) / (h * scale);
  return across >= 0 && across < 1 && down >= 0 && down < 1 ? { across, down, w, h } : null;
}

// Longitude and latitude in degrees, between the nodes of the grid; null outside of the sky.
export function placeIn({ n, vectors }, across, up) {
  const [x, y] = [across * (n - 1), up * (n - 1)];
  const [i, j] = [Math.min(Math.floor(x), n - 2), Math.min(Math.floor(y), n - 2)];
  const [u, v] = [x - i, y - j];
  const sum = [0, 0, 0];
  for (const [dx, dy, share] of [[0, 0, (1 - u) * (1 - v)], [1, 0, u * (1 - v)], [0, 1, (1 - u) * v], [1, 1, u * v]]) {
    for (let axis = 0; axis < 3; axis += 1) {
      const part = vectors[((j + dy) * n + i + dx) * 3 + axis];
      if (part === null) return null;
      sum[axis] += share * part;
    }
  }
  const degrees = 180 / Math.PI;
  const longitude = Math.atan2(sum[1], sum[0]) * degrees;
  return [(longitude + 360) % 360, Math.atan2(sum[2], Math.hypot(sum[0], sum[1])) * degrees];
}

// 10:00:24.03, of hours or degrees.
function sexagesimal(value, digits) {
  const whole = Math.round(Math.abs(value) * 3600 * 10 ** digits);
  const seconds = whole / 10 ** digits;
  const [h, m] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  const s = (seconds - h * 3600 - m * 60).toFixed(digits).padStart(digits + 3, "0");
  return `${String(h).padStart(2, "0")}:${String(m).padStart(2, "0")}:${s}`;
}

function skyWords(grid, [longitude, latitude]) {
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

function number(value) {
  if (!Number.isFinite(value)) return "unknown";
  return String(Number(value.toPrecision(6)));
}

function tell({ image, x, y }) {
  const place = told(image);
  const at = shareAt(image, x, y);
  if (!place) return;
  if (!at) {
    place.textContent = "";
    return;
  }
  const { across, down, w, h } = at;
  const [column, row] = [Math.floor(across * w), Math.floor(down * h)];
  const isFits = image.dataset.sky !== undefined;
  // FITS counts from 1, upwards, in the middle of pixels; all others from 0, downwards.
  const words = [isFits ? `x ${(across * w + 0.5).toFixed(1)} y ${(h - down * h + 0.5).toFixed(1)}` : `x ${column} y ${row}`];
  const values = asked(image.dataset.values, (response) => response.arrayBuffer().then((bytes) => new Float32Array(bytes)));
  if (values?.length === w * h) words.push(number(values[row * w + column]));
  const grid = isFits ? asked(image.dataset.sky, (response) => response.json()) : null;
  const sky = grid && placeIn(grid, across, 1 - down);
  if (sky) {
    words.push(skyWords(grid, sky));
    if (grid.error >= 0.1) words.push(`right to ${grid.error} pixels`);
    place.title = `Within ${grid.error} pixels of what the file's header says`;
  } else place.removeAttribute("title");
  place.textContent = words.join(" · ");
}

let last = null;
let isDue = false;

document.addEventListener("pointermove", ({ target, clientX, clientY }) => {
  const box = target.closest?.("[data-zoom]");
  if (!box) {
    if (last) {
      const place = told(last.image);
      if (place) place.textContent = "";
    }
    last = null;
    return;
  }
  const image = [...box.querySelectorAll("img[data-values]")].find((one) => {
    const cell = one.closest(".frame") ?? box;
    const { left, right, top, bottom } = cell.getBoundingClientRect();
    const isSeen = getComputedStyle(cell).visibility === "visible" && one.clientWidth > 0;
    return isSeen && clientX >= left && clientX < right && clientY >= top && clientY < bottom;
  });
  if (!image) return;
  last = { image, x: clientX, y: clientY };
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    if (last) tell(last);
  });
});

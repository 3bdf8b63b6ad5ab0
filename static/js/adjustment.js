// Brightness, contrast, gamma and inversion of the images in this browser, of any bit depth. An SVG filter applies them; the
// files, the thumbnails and what models see stay the same.
import { recall, remember } from "./store.js";
import { say, toast } from "./toast.js";

// Sliders: brightness in percent of the range; contrast and gamma as powers, from 0.1 over 1 to 10.
const DEFAULTS = { brightness: 0, contrast: 0, gamma: 0, inverted: false };
const LIMITS = { brightness: 100, contrast: 20, gamma: 20 };
const SVG = "http://www.w3.org/2000/svg";

const panel = () => document.getElementById("adjustment");
const slug = () => document.querySelector("[data-rendering]")?.dataset.slug ?? "";
const factor = (step) => 10 ** (step / 20);
const number = (value) => Number(value.toPrecision(2)).toString();

function current() {
  const stored = recall(`adjustment:${slug()}`, null) ?? {};
  const values = { ...DEFAULTS };
  for (const [name, limit] of Object.entries(LIMITS)) {
    if (Number.isFinite(stored[name])) values[name] = Math.max(-limit, Math.min(limit, stored[name]));
  }
  values.inverted = stored.inverted === true;
  return values;
}

const isPlain = (values) => Object.entries(DEFAULTS).every(([name, value]) => values[name] === value);

// Describe the adjustment for the provenance of labels; "" without one.
export function describeAdjustment() {
  const { brightness, contrast, gamma, inverted } = current();
  const parts = [
    brightness && `brightness ${brightness > 0 ? "+" : "−"}${Math.abs(brightness)} %`,
    contrast && `contrast ${number(factor(contrast))}`,
    gamma && `gamma ${number(factor(gamma))}`,
    inverted && "inverted view",
  ];
  return parts.filter(Boolean).join(", ");
}

export function toggleAdjustments() {
  const box = panel();
  box.hidden = !box.hidden;
  if (box.hidden) document.body.dispatchEvent(new CustomEvent("hoshina:focus-lost"));
  else box.querySelector("input").focus();
  show();
}

export function invert() {
  const values = current();
  change({ ...values, inverted: !values.inverted });
  const message = values.inverted ? "Images as they are." : "Images inverted for viewing.";
  toast(message, "", "adjustment");
  say(message);
}

function change(values) {
  remember(`adjustment:${slug()}`, isPlain(values) ? null : values);
  show();
}

function show() {
  const values = current();
  const isAdjusted = !isPlain(values);
  document.body.classList.toggle("adjusted", isAdjusted);
  if (isAdjusted) draw(filter(), values);
  const box = panel();
  for (const button of document.querySelectorAll("[data-adjust][aria-pressed]")) button.setAttribute("aria-pressed", String(isAdjusted || !box.hidden));
  box.querySelector("[name=inverted]").checked = values.inverted;
  for (const name of Object.keys(LIMITS)) {
    const slider = box.querySelector(`[name=${name}]`);
    slider.value = String(values[name]);
    const text = name === "brightness" ? `${values[name]} %` : number(factor(values[name]));
    slider.parentElement.querySelector("output").textContent = text;
    slider.setAttribute("aria-valuetext", text);
  }
}

function filter() {
  let element = document.getElementById("view-adjustment");
  if (!element) {
    const svg = document.createElementNS(SVG, "svg");
    for (const name of ["width", "height"]) svg.setAttribute(name, "0");
    svg.setAttribute("class", "icon-set");
    svg.setAttribute("aria-hidden", "true");
    element = document.createElementNS(SVG, "filter");
    element.id = "view-adjustment";
    element.setAttribute("color-interpolation-filters", "sRGB");
    svg.append(element);
    document.body.append(svg);
  }
  return element;
}

// Each value v from 0 to 1, or 1 − v if inverted, becomes (contrast · (v − 0.5) + 0.5 + brightness) to the power of 1/gamma.
function draw(element, { brightness, contrast, gamma, inverted }) {
  const slope = factor(contrast);
  const steps = [
    inverted && { type: "table", tableValues: "1 0" },
    { type: "linear", slope, intercept: 0.5 - slope / 2 + brightness / 100 },
    { type: "gamma", amplitude: 1, exponent: 1 / factor(gamma), offset: 0 },
  ];
  element.replaceChildren(...steps.filter(Boolean).map((attributes) => {
    const step = document.createElementNS(SVG, "feComponentTransfer");
    for (const channel of ["R", "G", "B"]) {
      const transfer = document.createElementNS(SVG, `feFunc${channel}`);
      for (const [name, value] of Object.entries(attributes)) transfer.setAttribute(name, String(value));
      step.append(transfer);
    }
    return step;
  }));
}

document.addEventListener("input", ({ target }) => {
  if (!target.closest?.("#adjustment") || !(target.name in DEFAULTS)) return;
  change({ ...current(), [target.name]: target.type === "checkbox" ? target.checked : Number(target.value) });
});

document.addEventListener("click", (event) => {
  if (event.target.closest("#adjustment [data-reset]")) change(DEFAULTS);
  else if (event.target.closest("[data-adjust]")) toggleAdjustments();
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || panel()?.hidden !== false || !panel().contains(event.target)) return;
  event.preventDefault();
  toggleAdjustments();
}, true);

document.addEventListener("htmx:load", () => { if (panel()) show(); });
if (panel()) show();

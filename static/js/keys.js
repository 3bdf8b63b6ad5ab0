// Which key does what. Most keys can be changed; what was changed is kept in this browser.
import { recall, remember } from "./store.js";

const USUAL = {
  unsure: "0", skip: "x", clear: "Backspace", undo: "z", find: "/", similar: "s", retrain: "r", blind: "b", classes: "c", queue: "q",
  stretch: "f", layout: "v", frameBefore: ",", frameAfter: ".",
  detail: "Enter", peek: " ", next: "n", map: "m", lasso: "l", box: "o", previous: "p", accept: "a", split: "t", bigger: "+", smaller: "-", keys: "?",
};
const WORDS = {
  unsure: "Unsure", skip: "Skip", clear: "Clear label", undo: "Undo", find: "Find a class", similar: "Similar", retrain: "Retrain",
  blind: "Blind", classes: "Classes", queue: "Choose a queue", detail: "Detail", peek: "Detail", next: "Next page", previous: "Page before",
  stretch: "Stretch of deep images", layout: "Layout of frames", frameBefore: "Frame before", frameAfter: "Next frame",
  accept: "Accept the rest of a sweep", split: "Split a group",
  map: "Show on the map", lasso: "Draw around points", box: "Draw a box",
  bigger: "Bigger tiles", smaller: "Smaller tiles", keys: "These keys",
};
const FIXED = {
  ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down", Home: "first", End: "last",
  PageDown: "next", PageUp: "previous", Escape: "escape",
};
// Further keys for a command, as long as nobody gave them another one.
const ALSO = { "=": "bigger", Delete: "clear" };
const MAY_REPEAT = new Set(["left", "right", "up", "down", "undo", "bigger", "smaller", "next", "previous", "frameBefore", "frameAfter"]);
const LABELS = { " ": "Space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", "-": "−" };

export function usualKeys() {
  return { ...USUAL };
}

export function keyLabel(key) {
  return LABELS[key] ?? (key.length === 1 ? key.toUpperCase() : key);
}

// Whether the letter typed last was of another script than Latin, as on a Cyrillic, Greek or Hebrew layout.
let isOtherScript = false;
const MARKS = { Slash: ["/", "?"], Comma: [",", "<"], Period: [".", ">"], Minus: ["-", "_"], Equal: ["=", "+"], BracketLeft: ["[", "{"], BracketRight: ["]", "}"] };

// The key of an event, whatever the layout: Latin letters in lower case, digits also where the layout wants Shift for
// them, and the key's position on a US keyboard where the layout has no Latin letters.
export function keyOf(event) {
  const { key, code = "", shiftKey } = event;
  if (!shiftKey && /^Digit\d$/.test(code) && !/^\d$/.test(key)) return code.slice(5);
  if (key.length !== 1) return key;
  if (/\p{L}/u.test(key)) isOtherScript = !/\p{Script=Latin}/u.test(key);
  return (isOtherScript && atPosition(code, shiftKey)) || key.toLowerCase();
}

function atPosition(code, shiftKey) {
  if (/^Key[A-Z]$/.test(code)) return code.slice(3).toLowerCase();
  return MARKS[code]?.[shiftKey ? 1 : 0];
}

export class Keys {
  constructor() {
    this.changed = recall("keys", {}) ?? {};
  }

  get bound() {
    return { ...USUAL, ...this.changed };
  }

  commandOf(key) {
    const found = Object.entries(this.bound).find(([, one]) => one === key);
    return found?.[0] ?? FIXED[key] ?? ALSO[key] ?? null;
  }

  // Words why `key` can't be the one for `command`, or "" when it can.
  refusal(command, key, event = null) {
    if (event && (event.ctrlKey || event.metaKey || event.altKey)) return "Keys with Ctrl, Alt or ⌘ belong to the browser. Press one key alone.";
    if (/^[1-9]$/.test(key)) return `${key} belongs to a class. The Classes dialog sets those keys.`;
    if (key in FIXED) return `${keyLabel(key)} always moves, turns pages or closes, and can't be given away.`;
    if (/^(Tab|F\d+|Dead|Process|Unidentified|Shift|Control|Alt|Meta|CapsLock|ContextMenu)$/.test(key)) return `${key} belongs to the browser or the system.`;
    const owner = Object.entries(this.bound).find(([other, one]) => one === key && other !== command)?.[0];
    return owner ? `${keyLabel(key)} is already “${WORDS[owner]}”. Change that one first, or press another key.` : "";
  }

  bind(command, key) {
    this.changed = { ...this.changed, [command]: key };
    if (USUAL[command] === key) delete this.changed[command];
    remember("keys", this.changed);
  }

  reset() {
    this.changed = {};
    remember("keys", {});
  }

  // {command} or {digit} for a keydown that is meant for the workbench, else null.
  read(event) {
    if (event.defaultPrevented || event.isComposing || event.key === undefined) return null;
    if (document.querySelector("dialog[open]")) return null;
    const target = event.target instanceof Element ? event.target : document.body;
    if (isField(target)) return null;
    const key = keyOf(event);
    const isAltGraph = event.getModifierState?.("AltGraph");
    if ((event.ctrlKey || event.metaKey) && !event.altKey && key === "a") return { command: "all" };
    if ((event.ctrlKey || event.metaKey || event.altKey) && !isAltGraph) return null;
    if (belongsToControl(target, key)) return null;
    if (/^[1-9]$/.test(key)) return event.repeat ? { command: "none" } : { digit: Number(key) };
    const command = this.commandOf(key);
    if (!command) return null;
    if (event.repeat && !MAY_REPEAT.has(command)) return { command: "none" };
    return { command, shift: event.shiftKey };
  }
}

function isField(target) {
  if (target.closest("textarea, select, [contenteditable=''], [contenteditable='true']")) return true;
  const input = target.closest("input");
  return Boolean(input) && !["radio", "checkbox", "button", "submit", "range"].includes(input.type);
}

// Enter and Space press a button; arrows move in a radio group or scroll the side pane.
function belongsToControl(target, key) {
  if (target.closest(".tile")) return false;
  if ((key === "Enter" || key === " ") && target.closest("a, button, summary, label, input")) return true;
  const isMove = key in FIXED && key !== "Escape";
  return isMove && Boolean(target.closest("input, #side-body, .left, summary, .menu-list"));
}

// -- The dialog that lists and changes them ---------------------------------------------------------
export class KeysDialog {
  constructor(dialog, keys, changed) {
    Object.assign(this, { dialog, keys, changed, listening: null });
    dialog.addEventListener("click", (event) => this.#clicked(event));
    dialog.addEventListener("keydown", (event) => this.#pressed(event), true);
    dialog.addEventListener("close", () => this.#listen(null));
    this.draw();
  }

  open() {
    this.draw();
    this.#refuse("");
    this.dialog.showModal();
  }

  draw() {
    const bound = this.keys.bound;
    for (const button of this.dialog.querySelectorAll("[data-rebind]")) {
      const command = button.dataset.rebind;
      button.textContent = keyLabel(bound[command]);
      button.setAttribute("aria-label", `${WORDS[command]}: ${keyLabel(bound[command])}. Change`);
    }
    for (const shown of document.querySelectorAll("[data-key-of]")) shown.textContent = keyLabel(bound[shown.dataset.keyOf]);
  }

  #clicked(event) {
    const button = event.target.closest("[data-rebind]");
    if (button) return this.#listen(button);
    if (event.target.closest("#keys-reset")) {
      this.keys.reset();
      this.#refuse("");
      this.#listen(null);
      this.changed();
    }
  }

  #pressed(event) {
    if (!this.listening) return;
    if (["Shift", "Control", "Alt", "Meta", "AltGraph"].includes(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    const button = this.listening;
    if (event.key === "Escape") return this.#listen(null);
    const key = keyOf(event);
    const words = this.keys.refusal(button.dataset.rebind, key, event);
    this.#refuse(words);
    if (words) return;
    this.keys.bind(button.dataset.rebind, key);
    this.#listen(null);
    this.changed();
  }

  #listen(button) {
    this.listening?.classList.remove("listening");
    this.listening = button;
    this.draw();
    if (!button) return;
    button.classList.add("listening");
    button.textContent = "press a key";
    button.setAttribute("aria-label", "Press the new key, or Escape to leave it");
  }

  #refuse(words) {
    const line = this.dialog.querySelector("#keys-error");
    line.hidden = !words;
    line.textContent = words;
  }
}

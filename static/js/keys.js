// The keys of the workbench. Most can be changed; the changes are stored in this browser.
import { recall, remember } from "./store.js";
import { setText } from "./text.js";

const DEFAULTS = {
  unsure: "0", skip: "x", clear: "Backspace", undo: "z", find: "/", similar: "s", retrain: "r", blind: "b", classes: "c", queue: "q",
  flag: "*", tag: "#", note: ";", stretch: "f", adjust: "e", invert: "i", layout: "v", frameBefore: ",", frameAfter: ".",
  guide: "g", compare: "y",
  detail: "Enter", peek: " ", next: "n", map: "m", lasso: "l", box: "o", previous: "p", accept: "a", split: "t", bigger: "+", smaller: "-", keys: "?", why: "w",
};
export const TITLES = {
  unsure: "Unsure", skip: "Skip", clear: "Clear label", undo: "Undo", find: "Find a class or images", similar: "Similar", retrain: "Retrain",
  flag: "Flag", tag: "Tags", note: "Write a note", blind: "Blind", classes: "Classes", queue: "Choose a queue", detail: "Detail", peek: "Detail", next: "Next page", previous: "Previous page",
  stretch: "Change the stretch", adjust: "Brightness, contrast and gamma", invert: "Invert the images", layout: "Layout of frames", frameBefore: "Previous frame", frameAfter: "Next frame",
  guide: "Class guide", compare: "Compare",
  accept: "Accept the rest of a sweep", split: "Split a group",
  map: "Show on the map", lasso: "Draw around points", box: "Draw a box",
  bigger: "Bigger tiles", smaller: "Smaller tiles", keys: "Show keys", why: "Show why each image is here",
};
const FIXED = {
  ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down", Home: "first", End: "last",
  PageDown: "next", PageUp: "previous", Escape: "escape",
};
// Second keys of commands, unless the person binds them to another command.
const ALSO = { "=": "bigger", Delete: "clear" };
const MAY_REPEAT = new Set(["left", "right", "up", "down", "undo", "bigger", "smaller", "next", "previous", "frameBefore", "frameAfter"]);
const LABELS = { " ": "Space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", "-": "−" };

export function keyLabel(key) {
  return LABELS[key] ?? (key.length === 1 ? key.toUpperCase() : key);
}

// Whether the last letter was not Latin, as on a Cyrillic, Greek or Hebrew layout.
let isOtherScript = false;
const MARKS = { Semicolon: [";", ":"], Digit3: ["3", "#"], Slash: ["/", "?"], Comma: [",", "<"], Period: [".", ">"], Minus: ["-", "_"], Equal: ["=", "+"], BracketLeft: ["[", "{"], BracketRight: ["]", "}"] };

// Return the key of an event on any layout: Latin letters in lower case, digits without Shift even where the layout
// requires it, and the key's position on a US keyboard if the layout has no Latin letters.
export function keyOf(event) {
  const { key, code = "", shiftKey } = event;
  const isAltGraph = event.getModifierState?.("AltGraph"); // writes a character, such as # on a French layout
  if (!shiftKey && !isAltGraph && /^Digit\d$/.test(code) && !/^\d$/.test(key)) return code.slice(5);
  if (key.length !== 1) return key;
  if (/\p{L}/u.test(key)) isOtherScript = !/\p{Script=Latin}/u.test(key);
  return (isOtherScript && atPosition(code, shiftKey)) || key.toLowerCase();
}

function atPosition(code, shiftKey) {
  if (/^Key[A-Z]$/.test(code)) return code.slice(3).toLowerCase();
  return MARKS[code]?.[shiftKey ? 1 : 0];
}

export class Keys {
  // `letters` returns those that assign a class. Where a class has the letter of a command, the command needs Shift.
  constructor(letters) {
    this.letters = letters;
    this.changed = recall("keys", {}) ?? {};
  }

  get bound() {
    return { ...DEFAULTS, ...this.changed };
  }

  commandOf(key) {
    const binding = Object.entries(this.bound).find(([, boundKey]) => boundKey === key);
    return binding?.[0] ?? FIXED[key] ?? ALSO[key] ?? null;
  }

  // Return how a command's key is written.
  labelOf(command) {
    const key = this.bound[command];
    return this.letters().includes(key) ? `⇧${keyLabel(key)}` : keyLabel(key);
  }

  // Show each command's key in the elements that name the command.
  drawLabels() {
    for (const element of document.querySelectorAll("[data-key-of]")) setText(element, this.labelOf(element.dataset.keyOf));
  }

  // Return why `key` can't be bound to `command`, or "" if it can.
  refusal(command, key, event = null) {
    if (event && (event.ctrlKey || event.metaKey || event.altKey)) return "Keys with Ctrl, Alt or ⌘ belong to the browser. Press a single key.";
    if (/^[1-9]$/.test(key)) return `${key} belongs to a class. The Classes dialog sets those keys.`;
    if (key in FIXED) return `${keyLabel(key)} is reserved for moving, turning pages or closing. Press another key.`;
    if (/^(Tab|F\d+|Dead|Process|Unidentified|Shift|Control|Alt|Meta|CapsLock|ContextMenu)$/.test(key)) return `${key} belongs to the browser or the system. Press another key.`;
    const owner = Object.entries(this.bound).find(([other, boundKey]) => boundKey === key && other !== command)?.[0];
    return owner ? `${keyLabel(key)} is already “${TITLES[owner]}”. Change that one first, or press another key.` : "";
  }

  bind(command, key) {
    this.changed = { ...this.changed, [command]: key };
    if (DEFAULTS[command] === key) delete this.changed[command];
    remember("keys", this.changed);
  }

  reset() {
    this.changed = {};
    remember("keys", {});
  }

  // Return {name, shift}, or {classKey} (a digit or letter), for a keydown that the workbench handles, else null.
  read(event) {
    if (event.defaultPrevented || event.isComposing || event.key === undefined) return null;
    if (document.querySelector("dialog[open]")) return null;
    const target = event.target instanceof Element ? event.target : document.body;
    if (isField(target)) return null;
    if (document.querySelector("#first-classes form") && event.key !== "?") return null; // its names are not commands
    const key = keyOf(event);
    const isAltGraph = event.getModifierState?.("AltGraph");
    if ((event.ctrlKey || event.metaKey) && !event.altKey && key === "a") return { name: "all" };
    if ((event.ctrlKey || event.metaKey || event.altKey) && !isAltGraph) return null;
    if (belongsToControl(target, key)) return null;
    if (/^[1-9]$/.test(key) || (!event.shiftKey && this.letters().includes(key))) return event.repeat ? { name: "none" } : { classKey: key };
    const name = this.commandOf(key);
    if (!name) return null;
    if (event.repeat && !MAY_REPEAT.has(name)) return { name: "none" };
    return { name, shift: event.shiftKey };
  }
}

function isField(target) {
  if (target.closest("textarea, select, [contenteditable=''], [contenteditable='true']")) return true;
  const input = target.closest("input");
  return Boolean(input) && !["radio", "checkbox", "button", "submit", "range"].includes(input.type);
}

// Enter and Space press a button; the arrow keys move in a radio group or scroll the side pane.
function belongsToControl(target, key) {
  if (target.closest(".tile")) return false;
  if ((key === "Enter" || key === " ") && target.closest("a, button, summary, label, input")) return true;
  const isMove = key in FIXED && key !== "Escape";
  return isMove && Boolean(target.closest("input, #side-body, .left, [role=separator], summary, .menu-list"));
}

// -- The dialog that lists and changes the keys -----------------------------------------------------
export class KeysDialog {
  // `onChange` is called after each change.
  constructor(dialog, keys, onChange) {
    Object.assign(this, { dialog, keys, onChange, listening: null });
    dialog.addEventListener("click", (event) => this.#handleClick(event));
    dialog.addEventListener("keydown", (event) => this.#handleKey(event), true);
    dialog.addEventListener("close", () => this.#listen(null));
    this.draw();
  }

  open() {
    this.draw();
    this.#showError("");
    this.dialog.showModal();
  }

  draw() {
    for (const button of this.dialog.querySelectorAll("[data-rebind]")) {
      const command = button.dataset.rebind;
      button.textContent = this.keys.labelOf(command);
      button.setAttribute("aria-label", `${TITLES[command]}: ${this.keys.labelOf(command)}. Change`);
    }
    this.#drawLetters();
    this.keys.drawLabels();
  }

  #drawLetters() {
    const rows = [...document.querySelectorAll("#class-pane [data-class]")].filter(({ dataset }) => /^[a-z]$/.test(dataset.key));
    this.dialog.querySelector("#keys-letters").replaceChildren(...rows.map(({ dataset }) => {
      const row = document.createElement("div");
      row.append(document.createElement("dt"), document.createElement("dd"));
      row.firstChild.textContent = dataset.name;
      row.lastChild.append(Object.assign(document.createElement("kbd"), { textContent: dataset.key.toUpperCase() }));
      return row;
    }));
    for (const element of this.dialog.querySelectorAll("[data-letters]")) element.hidden = !rows.length;
  }

  #handleClick(event) {
    const button = event.target.closest("[data-rebind]");
    if (button) return this.#listen(button);
    if (event.target.closest("#keys-reset")) {
      this.keys.reset();
      this.#showError("");
      this.#listen(null);
      this.onChange();
    }
  }

  #handleKey(event) {
    if (!this.listening) return;
    if (["Shift", "Control", "Alt", "Meta", "AltGraph"].includes(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    const button = this.listening;
    if (event.key === "Escape") return this.#listen(null);
    const key = keyOf(event);
    const error = this.keys.refusal(button.dataset.rebind, key, event);
    this.#showError(error);
    if (error) return;
    this.keys.bind(button.dataset.rebind, key);
    this.#listen(null);
    this.onChange();
  }

  #listen(button) {
    this.listening?.classList.remove("listening");
    this.listening = button;
    this.draw();
    if (!button) return;
    button.classList.add("listening");
    button.textContent = "press a key";
    button.setAttribute("aria-label", "Press the new key, or Escape to cancel");
  }

  #showError(error) {
    const line = this.dialog.querySelector("#keys-error");
    line.hidden = !error;
    line.textContent = error;
  }
}

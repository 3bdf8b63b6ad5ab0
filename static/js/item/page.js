// The page of one item, with the same keys and outbox as the workbench.
import { Clock } from "../clock.js";
import { setBanner } from "../banner.js";
import { invert, toggleAdjustments } from "../adjustment.js";
import { Compare } from "./compare.js";
import { cycleLayout, stepFrame } from "../frames.js";
import { openGuide } from "./guide.js";
import { Keys } from "../keys.js";
import { Outbox, newUuid } from "../outbox.js";
import { recall } from "../store.js";
import { cycleStretch, describeDisplay, stretchPictures } from "../stretch.js";
import { OUTCOME } from "../tiles.js";
import { say, toast } from "../toast.js";
import { counted } from "../plural.js";

const page = document.querySelector("[data-item-page]");
const clock = new Clock();
const keys = new Keys(() => buttons().filter(({ dataset }) => dataset.decide === "assign").map(({ dataset }) => dataset.key ?? "").filter((key) => /^[a-z]$/.test(key)));
const outbox = new Outbox({ name: page.dataset.outbox, url: page.dataset.annotate });
const compare = new Compare({ rowOf: () => detail().dataset.row });
const pending = new Set(); // uuids of the decisions on this page that the server has not answered

const detail = () => document.getElementById("detail");
const buttons = () => [...page.querySelectorAll(".detail-decide [data-decide]")];

function currentState() {
  const { item, state, label } = detail().dataset;
  return { id: Number(item), state: Number(state), label: label ? Number(label) : null };
}

// Show a decision at once. The rest of the page is refreshed when it is saved.
function showDecision({ state, label }, text) {
  Object.assign(detail().dataset, { state: String(state), label: label ?? "" });
  for (const button of buttons()) {
    const { decide: kind, label: classId } = button.dataset;
    button.setAttribute("aria-pressed", String(OUTCOME[kind] === state && (classId ? Number(classId) === label : true)));
  }
  page.querySelector(".detail-state").textContent = text;
}

function send(action, effect, before) {
  pending.add(action.uuid);
  outbox.add({ action, effect, before });
  clock.restart();
}

function decide(kind, button) {
  const before = currentState();
  const after = { id: before.id, state: OUTCOME[kind], label: button?.dataset.label ? Number(button.dataset.label) : null };
  const name = button?.querySelector("[data-name]")?.textContent;
  const outcome = kind === "clear" || !name ? "no label" : name;
  showDecision(after, `Now: ${outcome} (saving)`);
  say(outcome);
  const item = { id: before.id, seen: Number(detail().dataset.seen), seconds: clock.share(1), shown: { queue: "opened", rendering: describeDisplay() } };
  const action = { uuid: newUuid(), kind, label: after.label, at: new Date().toISOString(), suggestion_shown: null, overwrite: false, items: [item] };
  send(action, [after], [before]);
}

function undo() {
  send({ uuid: newUuid(), kind: "undo", at: new Date().toISOString(), items: [] }, [], []);
}

// Reload the fragment. hx-preserve keeps the image and its zoom.
function refresh() {
  window.htmx.ajax("GET", page.dataset.url, { source: page, target: "#detail", select: "#detail", swap: "outerHTML" });
}

function handleResult([{ action }, result]) {
  const isMine = pending.delete(action.uuid);
  const itemId = currentState().id;
  const isShown = [...(action.items ?? []), ...(result.items ?? [])].some(({ id }) => id === itemId);
  if (isMine && result.status === "refused") toast(result.error || "The server refused this label. Reload the page and try again.", "error");
  const [conflict] = result.conflicts ?? [];
  if (isMine && conflict) toast(`${conflict.by || "Someone"} labeled this image in the meantime. Label it again to overwrite.`, "warning");
  if (isMine && action.kind === "undo" && result.items?.length && !isShown) toast("Undone on another image.");
  return isShown;
}

outbox.addEventListener("results", ({ detail: { pairs } }) => {
  if (!pairs.map(handleResult).some(Boolean) || pending.size) return;
  refresh();
  compare.refresh();
});

outbox.addEventListener("change", () => {
  const n = outbox.trouble ? outbox.count() : 0;
  const isSignIn = outbox.trouble?.kind === "signed-out";
  setBanner("outbox", n === 0 ? null : {
    text: `${counted(n, "unsent label")} in this browser: ${outbox.trouble.text}.`,
    rank: 2,
    link: isSignIn ? { href: page.dataset.signIn, text: "Sign in to send them" } : null,
    button: isSignIn ? null : { text: "Try now", press: () => outbox.retryNow() },
  });
});

const buttonOf = (kind) => buttons().find((button) => button.dataset.decide === kind);
const step = (rel) => page.querySelector(`a[rel="${rel}"]`)?.click();
const commands = {
  unsure: () => decide("unsure", buttonOf("unsure")),
  skip: () => decide("skip", buttonOf("skip")),
  clear: () => decide("clear", null),
  undo,
  guide: () => openGuide(),
  compare: () => compare.toggle(),
  escape: () => compare.close(),
  stretch: cycleStretch,
  adjust: toggleAdjustments,
  invert,
  layout: cycleLayout,
  frameBefore: () => stepFrame(-1),
  frameAfter: () => stepFrame(1),
  flag: () => document.querySelector(".item-notes .flag")?.click(),
  tag: () => document.querySelector(".tag-add [name=tag]")?.focus(),
  note: () => document.querySelector("[data-note-form] textarea")?.focus(),
  left: () => step("prev"),
  right: () => step("next"),
};

document.addEventListener("keydown", (event) => {
  const command = keys.read(event);
  if (!command) return;
  if (command.classKey) {
    const button = buttons().find(({ dataset }) => dataset.decide === "assign" && dataset.key === command.classKey);
    if (button) decide("assign", button);
    else toast(`No class has the key ${command.classKey}.`);
  } else if (!commands[command.name]) return;
  else commands[command.name]();
  event.preventDefault();
});

document.addEventListener("click", (event) => {
  const button = event.target instanceof Element ? event.target.closest("[data-decide], [data-do=compare]") : null;
  if (button?.dataset.do) compare.toggle();
  else if (button) decide(button.dataset.decide, button);
});

document.addEventListener("htmx:afterSettle", () => keys.drawLabels());
keys.drawLabels();
stretchPictures(document);
document.body.classList.toggle("blind", recall("blind", false) === true);
if (outbox.count()) outbox.retryNow();

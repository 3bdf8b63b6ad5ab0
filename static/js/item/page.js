// An item's own page: the keys of the grid, and the same outbox behind them.
import { Clock } from "../clock.js";
import { setBanner } from "../banner.js";
import { cycleLayout, stepFrame } from "../frames.js";
import { Keys } from "../keys.js";
import { Outbox, newUuid } from "../outbox.js";
import { recall } from "../store.js";
import { cycleStretch, shownAs, stretchPictures } from "../stretch.js";
import { OUTCOME } from "../tiles.js";
import { say, toast } from "../toast.js";

const page = document.querySelector("[data-item-page]");
const clock = new Clock();
const keys = new Keys();
const outbox = new Outbox({ name: page.dataset.outbox, url: page.dataset.annotate });
const mine = new Set(); // uuids of what was decided here and is not answered yet

const detail = () => document.getElementById("detail");
const buttons = () => [...page.querySelectorAll(".detail-decide [data-decide]")];

function stateNow() {
  const { item, state, label } = detail().dataset;
  return { id: Number(item), state: Number(state), label: label ? Number(label) : null };
}

// What was decided shows at once; the rest of the page follows when it is saved.
function paint({ state, label }, words) {
  Object.assign(detail().dataset, { state: String(state), label: label ?? "" });
  for (const button of buttons()) {
    const { decide, label: of } = button.dataset;
    button.setAttribute("aria-pressed", String(OUTCOME[decide] === state && (of ? Number(of) === label : true)));
  }
  page.querySelector(".detail-state").textContent = words;
}

function keep(action, effect, before) {
  mine.add(action.uuid);
  outbox.add({ action, effect, before });
  clock.restart();
}

function decide(kind, button) {
  const before = stateNow();
  const after = { id: before.id, state: OUTCOME[kind], label: button?.dataset.label ? Number(button.dataset.label) : null };
  const name = kind === "clear" ? "no mark" : button?.querySelector("[data-name]")?.textContent ?? "no mark";
  paint(after, `Now: ${name} (being saved)`);
  say(name);
  const item = { id: before.id, seen: Number(detail().dataset.seen), seconds: clock.share(1), shown: { queue: "opened", rendering: shownAs() } };
  const action = { uuid: newUuid(), kind, label: after.label, at: new Date().toISOString(), suggestion_shown: null, overwrite: false, items: [item] };
  keep(action, [after], [before]);
}

function undo() {
  keep({ uuid: newUuid(), kind: "undo", at: new Date().toISOString(), items: [] }, [], []);
}

// The fragment anew, except for the image and how it is looked at, which stay (hx-preserve).
function refresh() {
  window.htmx.ajax("GET", page.dataset.url, { source: page, target: "#detail", select: "#detail", swap: "outerHTML" });
}

function answered([{ action }, result]) {
  const isMine = mine.delete(action.uuid);
  const here = stateNow().id;
  const touched = [...(action.items ?? []), ...(result.items ?? [])].some(({ id }) => id === here);
  if (isMine && result.status === "refused") toast(result.error || "The server refused that.", "error");
  const [conflict] = result.conflicts ?? [];
  if (isMine && conflict) toast(`${conflict.by || "Someone"} decided this image meanwhile. Decide again to overwrite.`, "warning");
  if (isMine && action.kind === "undo" && result.items?.length && !touched) toast("Undone, on another image.");
  return touched;
}

outbox.addEventListener("results", ({ detail: { pairs } }) => {
  if (pairs.map(answered).some(Boolean) && !mine.size) refresh();
});

outbox.addEventListener("change", () => {
  const n = outbox.trouble ? outbox.count() : 0;
  const isSignIn = outbox.trouble?.kind === "signed-out";
  setBanner("outbox", n === 0 ? null : {
    words: `${n} ${n === 1 ? "label waits" : "labels wait"} in this browser: ${outbox.trouble.words}.`,
    rank: 2,
    link: isSignIn ? { href: page.dataset.signIn, words: "Sign in to send them" } : null,
    button: isSignIn ? null : { words: "Try now", press: () => outbox.retryNow() },
  });
});

const buttonOf = (kind) => buttons().find((one) => one.dataset.decide === kind);
const step = (rel) => page.querySelector(`a[rel="${rel}"]`)?.click();
const commands = {
  unsure: () => decide("unsure", buttonOf("unsure")),
  skip: () => decide("skip", buttonOf("skip")),
  clear: () => decide("clear", null),
  undo,
  stretch: cycleStretch,
  layout: cycleLayout,
  frameBefore: () => stepFrame(-1),
  frameAfter: () => stepFrame(1),
  left: () => step("prev"),
  right: () => step("next"),
};

document.addEventListener("keydown", (event) => {
  const read = keys.read(event);
  if (!read) return;
  if (read.digit) {
    const button = buttons().find((one) => one.dataset.decide === "assign" && Number(one.dataset.key) === read.digit);
    if (button) decide("assign", button);
    else toast(`No class has the key ${read.digit}.`);
  } else if (!commands[read.command]) return;
  else commands[read.command]();
  event.preventDefault();
});

document.addEventListener("click", (event) => {
  const button = event.target instanceof Element ? event.target.closest("[data-decide]") : null;
  if (button) decide(button.dataset.decide, button);
});

stretchPictures(document);
document.body.classList.toggle("blind", recall("blind", false) === true);
if (outbox.count()) outbox.retryNow();

// The workbench: keys and clicks on one side, tiles, pages and the outbox on the other.
import { setBanner } from "../banner.js";
import { classes, itemsKnown } from "./classes.js";
import { Clock } from "../clock.js";
import { Cursor } from "./cursor.js";
import { cycleLayout, stepFrame } from "../frames.js";
import { Keys, KeysDialog, keyLabel } from "../keys.js";
import { Labels } from "./labels.js";
import { Layout } from "./layout.js";
import { Leases } from "./leases.js";
import { Outbox } from "../outbox.js";
import { Pages, SignedOut } from "./pages.js";
import { Palette } from "./class_palette.js";
import { SidePane } from "./panes.js";
import { Question } from "./question.js";
import { recall, remember } from "../store.js";
import { cycleStretch } from "../stretch.js";
import { Sweep } from "./sweep.js";
import { followSliders } from "../sliders.js";
import { drawChip, drawSuggestion, idOf, isUndecided } from "../tiles.js";
import { say, toast } from "../toast.js";
import { counted } from "../plural.js";

const MANY = 20; // more tiles than this at once are asked about first
const SEEN = 250; // ms for which the last mark of a page is seen before the page turns
const WAITING = 2000; // ms between looks for the first images while a folder is being read

const bench = document.getElementById("bench");
const stage = document.getElementById("stage");
const clock = new Clock();
const outbox = new Outbox({ name: bench.dataset.outbox, url: bench.dataset.annotate });
const labels = new Labels({ outbox, clock });
const cursor = new Cursor();
const layout = new Layout(stage);
const pages = new Pages({ url: bench.dataset.grid, stage, layout, cursor, labels });
const leases = new Leases({ renewUrl: bench.dataset.renew, releaseUrl: bench.dataset.release, itemIds: () => cursor.tiles.map(idOf) });
const side = new SidePane(bench);
const sweep = new Sweep({ pages, cursor });
const keys = new Keys();
const keysDialog = new KeysDialog(document.getElementById("keys"), keys, () => keysDialog.draw());
const palette = new Palette(document.getElementById("palette"), (one) => decide("assign", one));
const question = new Question();
let turning = null; // the timer (or promise) of a page that is about to turn: class keys wait for it
let isReady = false;
let missing = null; // asks again for a page that the server could not give
let wasPointed = false; // the last thing the person did was with the mouse or a finger
const early = [];

labels.tilesOf = (id) => pages.tilesOf(id);
labels.isBlind = () => document.body.classList.contains("blind");

// -- Deciding -------------------------------------------------------------------------------------
function decide(kind, label = null, { confirmed = false } = {}) {
  if (turning !== null) return; // the page that the person saw is done; the next one has not been seen yet
  if (sweep.kind === "group" && kind !== "clear" && pages.undecided) return decideGroup(kind, label);
  const tiles = cursor.targets;
  if (!tiles.length) return;
  if (tiles.length > MANY && !confirmed) {
    const what = label ? `as ${label.name}` : { unsure: "unsure", skip: "skipped", clear: "without a mark" }[kind];
    question.ask({
      words: `Mark ${tiles.length} images ${what}?`,
      again: `${kind}:${label?.id ?? ""}`,
      yes: () => decide(kind, label, { confirmed: true }),
      no: focusTile,
    });
    return;
  }
  decideTiles(kind, label, tiles);
}

// What a key does to tiles, and where it leads: the page turns when nothing on it is undecided.
function decideTiles(kind, label, tiles, later = []) {
  const before = pages.undecided;
  labels.decide(kind, label, tiles, { later });
  flash(kind, label);
  cursor.clear();
  const left = pages.undecided;
  if (before > 0 && left === 0) {
    cursor.focus(cursor.tiles.indexOf(tiles.at(-1)));
    turnSoon();
  } else {
    cursor.moveOn(tiles);
    pages.prefetch();
  }
}

// A: everything on a class sweep's page that is undecided and has no mark is of the class.
function accept() {
  if (turning !== null) return;
  if (sweep.kind !== "class") return toast("That key accepts the page of a sweep: choose “Sweep” under Queue.");
  const { label, rest } = sweep;
  if (!label) return toast("The class of this sweep is gone. Choose another one under Queue.");
  if (!rest.length) return toast("Nothing is left to accept: give the marked images a class, or turn the page.");
  const now = rest.filter((tile) => tile.dataset.later === undefined);
  const marked = sweep.marked;
  decideTiles("assign", label, now.length ? now : rest, now.length ? rest.filter((tile) => !now.includes(tile)) : []);
  for (const tile of marked) cursor.mark(tile); // a digit is still to come for them
  sweep.tell();
}

// A group: one key for all of it but what is marked, which goes back to the others. Where too little is known of such
// groups, it is asked first.
function decideGroup(kind, label, { confirmed = false } = {}) {
  const { rest, warning } = sweep;
  if (!rest.length) return toast("Every image is marked as not of this group. Take some marks off, or turn the page.");
  if (warning && label && rest.length > 1 && !confirmed) {
    return question.ask({
      words: `${warning} Label all ${rest.length} images as ${label.name}?`,
      again: `${kind}:${label.id}`,
      yes: () => decideGroup(kind, label, { confirmed: true }),
      no: focusTile,
    });
  }
  decideTiles(kind, label, rest);
  if (turning === null) turnSoon();
}

async function split() {
  if (turning !== null) return;
  const half = sweep.halfOf(pages.query);
  if (!half) return toast(sweep.kind === "group" ? "Too few images are left to split." : "That key splits a group: choose “Groups” under Queue.");
  try {
    await pages.step(half);
    pageCame();
  } catch (error) {
    fetchFailed(error, split);
  }
}

function decideByDigit(digit) {
  const label = classes.ofDigit(digit);
  if (label) decide("assign", label);
  else toast(classes.all().length ? `No class has the key ${digit}.` : `No classes yet: press ${keyLabel(keys.bound.classes)} to add some.`);
}

function flash(kind, label) {
  const button = label?.button ?? document.querySelector(`.left [data-do="${kind}"]`);
  if (!button) return;
  button.classList.add("used");
  setTimeout(() => button.classList.remove("used"), 110);
}

function turnSoon() {
  turning = setTimeout(() => turn({ anew: true }), SEEN);
}

async function turn({ anew = false } = {}) {
  const turned = (async () => {
    // A new pull must not deal again what is still on its way to the server.
    if (anew && (sweep.kind || !pages.grid.dataset.next)) await outbox.flush(3000);
    return pages.forward({ anew });
  })();
  turning = turned;
  stage.setAttribute("aria-busy", "true");
  try {
    if (!(await turned)) toast("This is the last page.");
    pageCame();
  } catch (error) {
    fetchFailed(error, () => turn({ anew }));
  } finally {
    stage.removeAttribute("aria-busy");
    if (turning === turned) turning = null;
  }
}

function undo() {
  if (typeof turning === "number") clearTimeout(turning);
  turning = null;
  pageCame(); // the person goes back: no page turns by itself now
  question.close();
  const id = labels.undo();
  const tile = id === null ? null : pages.reveal(id);
  if (tile) cursor.focus(cursor.tiles.indexOf(tile));
}

// -- Pages ----------------------------------------------------------------------------------------
function fetchFailed(error, again) {
  console.info("A page could not be fetched.", error);
  if (error instanceof SignedOut) {
    setBanner("sign-in", { words: "You were signed out. What you did here is kept.", rank: 3, link: { href: bench.dataset.signIn, words: "Sign in again" } });
    return;
  }
  missing = again;
  setBanner("page", { words: `${error.message} The page comes when it is back.`, rank: 1, button: { words: "Try now", press: again } });
}

function pageCame() {
  missing = null;
  setBanner("page", null);
}

async function open(query) {
  question.close();
  document.body.dispatchEvent(new CustomEvent("hoshina:asked", { detail: { query } }));
  try {
    await pages.open(query);
    pageCame();
    if (wasPointed) focusTile();
  } catch (error) {
    fetchFailed(error, () => open(query));
  }
}

pages.addEventListener("shown", () => {
  document.body.dispatchEvent(new CustomEvent("hoshina:page"));
  clock.restart();
  keysDialog.draw(); // the keys that a sweep's bar names
  sweep.tell();
  if (document.activeElement === document.body) focusTile();
  side.follow(cursor.tile);
  say(cursor.tiles.length ? counted(cursor.tiles.length, "image") : "");
  pages.prefetch();
});

function focusTile() {
  cursor.tile?.focus({ preventScroll: true });
}

// A folder that is being read, or a queue that has nothing just now: look again until there is something.
setInterval(() => {
  const grid = pages.grid;
  if (!isReady || document.hidden || turning !== null) return;
  if (missing) missing();
  else if ("waiting" in grid.dataset) open(pages.query);
}, WAITING);

document.body.addEventListener("hoshina:job-finished", () => {
  pages.forgetPrefetched();
  if (isReady && pages.grid.classList.contains("is-empty") && !itemsKnown()) open(pages.query);
});

// -- Commands -------------------------------------------------------------------------------------
const move = (direction) => ({ shift }) => { if (pages.hasTiles) cursor.move(direction, shift); };

const commands = {
  left: move("left"), right: move("right"), up: move("up"), down: move("down"), first: move("first"), last: move("last"),
  none: () => {},
  all: () => cursor.selectAll(),
  unsure: () => decide("unsure"),
  skip: () => decide("skip"),
  clear: () => decide("clear"),
  undo,
  find: () => (classes.all().length ? palette.open() : decideByDigit(1)),
  similar: () => similar(cursor.targets),
  queue: openQueues,
  map: showOnMap,
  lasso: () => drawOnMap("lasso"),
  box: () => drawOnMap("box"),
  retrain,
  stretch: cycleStretch,
  layout: cycleLayout,
  frameBefore: () => stepFrame(-1),
  frameAfter: () => stepFrame(1),
  blind: () => setBlind(!labels.isBlind(), true),
  classes: () => document.getElementById("open-classes").click(),
  detail: () => side.enlarge(),
  enlarge: () => side.enlarge(),
  peek: () => {
    if (!cursor.isMarking || !pages.hasTiles) return side.peek();
    cursor.toggle();
  },
  accept,
  split,
  next: () => { if (turning === null) turn(); },
  previous: () => {
    if (turning !== null) return;
    pageCame();
    if (!pages.back()) toast("This is the first page.");
  },
  bigger: () => resize(1),
  smaller: () => resize(-1),
  keys: () => keysDialog.open(),
  escape: () => question.close() || cursor.clear() || side.retreat() || focusTile(),
};

function resize(by) {
  if (!layout.resize(by)) return toast(by > 0 ? "Tiles can't be bigger." : "Tiles can't be smaller.");
  layOut();
}

// After a change of the tiles' size or shape: as many of them as there is room for.
function layOut() {
  layout.apply(pages.grid);
  cursor.tile?.scrollIntoView({ block: "nearest" });
  pages.forgetPrefetched();
  clearTimeout(resize.timer);
  resize.timer = setTimeout(() => pages.fill().catch((error) => console.info("No more tiles for now.", error)), 200);
}

function retrain() {
  window.htmx.ajax("POST", bench.dataset.retrain, { source: bench, swap: "none" });
  say("Asked for a retrain");
}

// The images that look like the selection (or the focused one), as a queue to sweep; the browser's Back returns.
function similar(tiles) {
  const rows = tiles.map((tile) => tile.dataset.row);
  if (!rows.length) return;
  const here = new URLSearchParams(location.search);
  const back = here.get("queue") === "similar" ? here.get("back") : `${here}`;
  show(new URLSearchParams({ queue: "similar", to: rows.join(","), back: back || "queue=auto" }), { asStep: true });
}

function openQueues() {
  const menu = document.querySelector("#queue-menu details");
  if (!menu) return; // still on its way
  menu.open = true;
  (menu.querySelector("[aria-current]") ?? menu.querySelector("button:not(:disabled)"))?.focus();
}

// The map is a page of its own, with this workbench beside it: there, the focused image's point is shown.
function showOnMap() {
  const row = cursor.tile?.dataset.row;
  if (document.getElementById("map")) {
    if (row !== undefined) document.body.dispatchEvent(new CustomEvent("hoshina:map-show", { detail: { row: Number(row) } }));
    return;
  }
  const query = new URLSearchParams(location.search);
  if (row !== undefined) query.set("row", row);
  location.assign(`${bench.dataset.map}?${query}`);
}

function drawOnMap(tool) {
  if (!document.getElementById("map")) return toast(`That key draws on the map: press ${keyLabel(keys.bound.map)} first.`);
  document.body.dispatchEvent(new CustomEvent("hoshina:map-tool", { detail: { tool } }));
}

// The map asks for what lies in a region: the queue and its choices stay as they are.
document.body.addEventListener("hoshina:query", async ({ detail }) => {
  const query = new URLSearchParams(location.search);
  query.delete("row");
  for (const [name, value] of Object.entries(detail.set)) {
    if (value === null) query.delete(name);
    else query.set(name, value);
  }
  await show(query, { asStep: true });
  focusTile();
});

function setBlind(isBlind, isAsked) {
  document.body.classList.toggle("blind", isBlind);
  document.getElementById("blind").setAttribute("aria-pressed", String(isBlind));
  for (const tile of cursor.tiles) drawChip(tile);
  document.body.dispatchEvent(new CustomEvent("hoshina:blind"));
  if (!isAsked) return;
  remember("blind", isBlind);
  toast(isBlind ? "Blind: suggestions are hidden, and your labels say so." : "Suggestions are shown again.");
}

// -- Keys and clicks ------------------------------------------------------------------------------
function press(event) {
  if (question.isOpen && !document.querySelector("dialog[open]") && question.pressed(event)) return event.preventDefault();
  const read = keys.read(event);
  if (!read) return;
  event.preventDefault();
  if (!isReady) return early.push(read);
  run(read);
}

function run(read) {
  const again = read.digit ? `assign:${classes.ofDigit(read.digit)?.id}` : `${read.command}:`;
  if (question.isOpen && question.confirms(again)) return;
  if (question.isOpen && read.command !== "none") question.close();
  if (read.digit) decideByDigit(read.digit);
  else commands[read.command]?.(read);
  sweep.tell();
}

document.addEventListener("keydown", press);
document.addEventListener("keydown", () => { wasPointed = false; }, true);
document.addEventListener("pointerdown", () => { wasPointed = true; }, true);

document.addEventListener("click", (event) => {
  const doing = event.target.closest("[data-do]");
  if (doing) {
    commands[doing.dataset.do]?.({ shift: false });
    if (!document.querySelector("dialog[open]")) focusTile();
    return;
  }
  const classButton = event.target.closest("#class-pane [data-class]");
  if (classButton) {
    decide("assign", classes.ofId(classButton.dataset.class));
    return focusTile();
  }
  const queue = event.target.closest("#queue-menu .queue");
  if (queue) return chooseQueue(queue);
  if (event.target.closest("[data-take-back]")) return leases.takeBack().then(() => open(pages.query));
  const decision = event.target.closest("#side-body [data-decide]");
  if (decision) return decideInDetail(decision);
  const link = event.target.closest("a[data-query-link]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    show(new URLSearchParams(new URL(link.href).search), { asStep: true });
    return focusTile();
  }
  const tile = event.target.closest("#grid .tile");
  if (tile && event.target.closest(".tile-similar")) {
    similar(cursor.targets.includes(tile) ? cursor.targets : [tile]);
    return focusTile();
  }
  if (tile) cursor.clicked(tile, { shift: event.shiftKey, toggle: event.ctrlKey || event.metaKey || Boolean(event.target.closest(".tick")) });
  sweep.tell();
});

document.addEventListener("dblclick", (event) => {
  if (event.target.closest("#grid .tile") && side.state === "closed" && !cursor.isMarking) side.enlarge();
});

// A button of the detail pane decides about the item that the pane shows, when its tile is on this page.
function decideInDetail(button) {
  const tile = pages.grid.querySelector(`#item-${button.dataset.item}`);
  if (!tile) return toast("That image is not on this page. Open it on its own page to label it.");
  cursor.clear();
  cursor.focus(cursor.tiles.indexOf(tile));
  decide(button.dataset.decide, button.dataset.label ? classes.ofId(button.dataset.label) : null);
}

// -- The queue's form -------------------------------------------------------------------------------
document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-query-form]")) return;
  event.preventDefault();
  queryChanged(event.target, null);
  if (event.submitter) focusTile(); // Pull: the keys belong to the images that come
});

// A queue of the header's menu, which keeps the filters of the form.
function chooseQueue(button) {
  const form = document.getElementById("queues");
  form.querySelector('input[name="queue"]').value = button.value;
  button.closest("details").open = false;
  queryChanged(form, "queue");
  focusTile();
}

document.addEventListener("change", (event) => {
  const form = event.target.closest?.("[data-query-form]");
  if (!form) return;
  if (event.target.matches("[data-preview]")) return previewQuery(form);
  if (event.target.matches("[data-live]")) return;
  if (event.target.type === "text") event.target.defaultValue = event.target.value; // no longer only typed
  queryChanged(form, event.target.name);
});

// A form that was replaced meanwhile has nothing to say. The one with the slider stays, and with it the thumb.
const movedSince = followSliders((form) => {
  if (!form.isConnected) return;
  const query = queryOf(form);
  history.replaceState(null, "", `${location.pathname}?${query}`);
  const part = form.elements.low ? "#band-pull" : "#range-told";
  askQueues(query, { target: part, select: part, swap: "outerHTML" });
  if (!form.elements.low) open(query); // the band is asked for by its button
});

// The form as another choice has it, without asking for images.
function previewQuery(form) {
  const query = queryOf(form);
  history.replaceState(null, "", `${location.pathname}?${query}`);
  refreshQueues(query);
}

// A menu that is open stays as it is.
document.addEventListener("htmx:oobBeforeSwap", (event) => {
  if (event.detail.target.id === "queue-menu" && event.detail.target.querySelector("details[open]")) event.detail.shouldSwap = false;
});
document.addEventListener("htmx:oobAfterSwap", (event) => {
  if (event.detail.target?.id === "queue-menu") keysDialog.draw();
});

// A job that ends renews the form, but not under a moving thumb, which would jump back to where it was: a little later.
document.addEventListener("htmx:beforeRequest", ({ detail }) => { detail.xhr.askedAt = performance.now(); });
document.addEventListener("htmx:beforeSwap", (event) => {
  const slot = event.detail.target;
  if (slot?.id !== "queues-slot") return;
  if (!movedSince(event.detail.xhr.askedAt)) return;
  event.detail.shouldSwap = false;
  setTimeout(() => refreshQueues(queryOf(slot.querySelector("[data-query-form]"))), 500);
});

function queryOf(form) {
  const query = new URLSearchParams();
  for (const [name, value] of new FormData(form)) {
    if (value === "") continue;
    if (name.startsWith("f.")) query.append(name, value); // a field may have several values
    else query.set(name, value);
  }
  return query;
}

function queryChanged(form, changed) {
  const query = queryOf(form);
  // A state that was only the queue's usual one gives way: a class is looked for among all of its images.
  if (changed === "queue" || (changed === "label" && query.get("state") === "unlabelled")) query.delete("state");
  show(query);
}

function show(query, { asStep = false } = {}) {
  const shown = new URLSearchParams(location.search).get("projection"); // the map that the page shows stays
  if (shown && !query.has("map")) query.set("projection", shown);
  history[asStep ? "pushState" : "replaceState"](null, "", `${location.pathname}?${query}`);
  refreshQueues(query);
  return open(query);
}

function queuesAddress(query) {
  return `${document.getElementById("queues-slot").getAttribute("hx-get").split("?")[0]}?${query}`;
}

function askQueues(query, options) {
  const answered = window.htmx.ajax("GET", queuesAddress(query), { source: "#queues-slot", ...options });
  answered?.catch?.((error) => console.info("The queue's form was asked for anew.", error));
}

// A form that is still on its way knows less than what was chosen since: it would take the choice back.
function refreshQueues(query) {
  window.htmx.trigger("#queues-slot", "htmx:abort");
  askQueues(query, { target: "#queues-slot", swap: "innerHTML" });
}

window.addEventListener("popstate", () => {
  const query = new URLSearchParams(location.search);
  refreshQueues(query);
  open(query);
});

// -- The outbox's state -----------------------------------------------------------------------------
function showOutbox() {
  const { trouble } = outbox;
  const n = trouble ? outbox.count() : 0;
  if (!n) {
    setBanner("outbox", null);
    if (!trouble) setBanner("sign-in", null);
    return;
  }
  const waiting = `${n} ${n === 1 ? "label waits" : "labels wait"} ${outbox.isStorageFull ? "in this page, which must stay open" : "in this browser"}: ${trouble.words}.`;
  const isSignIn = trouble.kind === "signed-out";
  setBanner("outbox", {
    words: waiting,
    rank: isSignIn ? 4 : 2,
    link: isSignIn ? { href: bench.dataset.signIn, words: "Sign in to send them" } : null,
    button: isSignIn ? null : { words: "Try now", press: () => outbox.retryNow() },
  });
}

// Counting reads every label that waits: once for a burst of keys.
let counting = null;
outbox.addEventListener("change", () => {
  counting ??= setTimeout(() => {
    counting = null;
    showOutbox();
  }, 30);
});
let hadTrouble = false;
outbox.addEventListener("change", () => {
  if (outbox.trouble) hadTrouble = true;
  if (!hadTrouble || outbox.trouble || outbox.waiting().length) return;
  hadTrouble = false;
  toast("The server is back. Every label is saved.");
});

labels.addEventListener("saved", () => {
  document.body.dispatchEvent(new CustomEvent("hoshina:saved"));
  side.refresh();
});

// -- Around it --------------------------------------------------------------------------------------
document.body.addEventListener("hoshina:focus-lost", focusTile);
// A closed dialog gives the focus back to the button that opened it, after this event; the keyboard belongs to the tile.
document.addEventListener("close", (event) => { if (event.target instanceof HTMLDialogElement) setTimeout(focusTile); }, true);
document.addEventListener("htmx:oobAfterSwap", (event) => {
  if (event.detail.target?.id !== "class-pane") return;
  for (const tile of cursor.tiles) {
    drawChip(tile);
    drawSuggestion(tile);
  }
});
document.addEventListener("hoshina:layout", layOut);
new ResizeObserver(() => { if (isReady && side.state === "closed") layout.apply(pages.grid); }).observe(stage);

async function start() {
  setBlind(recall("blind", false) === true, false);
  const before = window.hoshinaEarly;
  document.removeEventListener("keydown", before.listener);
  early.push(...before.keys.map((event) => keys.read(event)).filter(Boolean));
  await outbox.flush(1500);
  await open(pages.query);
  isReady = true;
  for (const read of early.splice(0)) if (pages.hasTiles || read.command === "keys") run(read);
}

start();

// The workbench: connects keys and clicks with tiles, pages and the outbox.
import { setBanner } from "../banner.js";
import { classes, itemCount } from "./classes.js";
import { Clock } from "../clock.js";
import { Compare } from "../item/compare.js";
import { isCovered } from "./cover.js";
import { Cursor } from "./cursor.js";
import { Finder } from "./find.js";
import { invert, toggleAdjustments } from "../adjustment.js";
import { cycleLayout, stepFrame } from "../frames.js";
import { openGuide } from "../item/guide.js";
import { Keys, KeysDialog } from "../keys.js";
import { Labels } from "./labels.js";
import { Layout } from "./layout.js";
import { Loading } from "./loading.js";
import { Leases } from "./leases.js";
import { Notes } from "./notes.js";
import { Outbox } from "../outbox.js";
import { Pages, SignedOut } from "./pages.js";
import { followHandle } from "./pane_width.js";
import { Introduction } from "./introduction.js";
import { SidePane } from "./panes.js";
import { Question } from "./question.js";
import { QueueForm } from "./queue_form.js";
import { recall, remember } from "../store.js";
import { cycleStretch } from "../stretch.js";
import { Sweep, isSweep } from "./sweep.js";
import { drawChip, drawSuggestion, idOf, isRepeated, setReviewed } from "../tiles.js";
import { say, toast } from "../toast.js";
import { counted } from "../plural.js";
import { Touch, toggleSheet } from "./touch.js";
import { setText } from "../text.js";

const CONFIRM_ABOVE = 20; // deciding more tiles at once needs confirmation
const TURN_DELAY = 120; // ms for which the last label of a page is visible before the page turns
const POLL = 2000; // ms between requests while a queue has no images yet

const bench = document.getElementById("bench");
const stage = document.getElementById("stage");
const clock = new Clock();
const outbox = new Outbox({ name: bench.dataset.outbox, url: bench.dataset.annotate });
const labels = new Labels({ outbox, clock });
const cursor = new Cursor();
const layout = new Layout(stage);
const pages = new Pages({ url: bench.dataset.grid, stage, layout, cursor, labels, release: (ids) => leases.release(ids) });
const loading = new Loading({ stage, layout });
const leases = new Leases({ renewUrl: bench.dataset.renew, releaseUrl: bench.dataset.release, itemIds: () => cursor.tiles.map(idOf) });
const side = new SidePane(bench);
const notes = new Notes({ url: bench.dataset.tags, targets: () => cursor.targets, tilesOf: (id) => pages.tilesOf(id), side });
const compare = new Compare({ rowOf: () => cursor.tile?.dataset.row, onClose: focusTile });
const sweep = new Sweep({ pages, cursor });
const introduction = new Introduction(document.getElementById("introduction"), bench.dataset.outbox);
const keys = new Keys(classes.letters);
const keysDialog = new KeysDialog(document.getElementById("keys"), keys, () => keysDialog.draw());
const finder = new Finder({ keys, run: (name) => run({ name }), assign: (labelClass) => decide("assign", labelClass), chooseQueue: (button) => queueForm.choose(button), show: (query) => queueForm.show(query, { push: true }), searchUrl: bench.dataset.search });
const question = new Question();
const queueForm = new QueueForm({ open, focusTile, onMenu: () => keysDialog.draw() });
let turning = null; // the timer or promise of a page turn; class keys are ignored until it ends
let isReady = false;
let wasAudit = false; // whether the page before was of the queue Audit
let retry = null; // requests a page again that failed to load
let wasPointer = false; // whether the last input was by mouse or touch
const earlyCommands = [];

labels.tilesOf = (id) => pages.tilesOf(id);
labels.isBlind = () => document.body.classList.contains("blind");

// -- Deciding -------------------------------------------------------------------------------------
function decide(kind, label = null, { confirmed = false } = {}) {
  if (turning !== null) return; // the person has not seen the next page yet
  if (sweep.kind === "group" && kind !== "clear" && pages.undecided) return decideGroup(kind, label);
  const { targets } = cursor;
  if (!targets.length) return;
  // Of several images, those that have the label already are left alone.
  const tiles = label && targets.length > 1 ? targets.filter((tile) => !isRepeated(tile, label)) : targets;
  const nRepeated = targets.length - tiles.length;
  if (!tiles.length) return toast(`All ${targets.length} images already had the label ${label.name}.`);
  if (tiles.length > CONFIRM_ABOVE && !confirmed) {
    const action = label ? `Label ${tiles.length} images as ${label.name}?` : { unsure: `Mark ${tiles.length} images as unsure?`, skip: `Skip ${tiles.length} images?`, clear: `Clear the labels of ${tiles.length} images?` }[kind];
    question.ask({
      text: action,
      command: `${kind}:${label?.id ?? ""}`,
      onYes: () => decide(kind, label, { confirmed: true }),
      onNo: focusTile,
    });
    return;
  }
  decideTiles(kind, label, tiles);
  if (nRepeated) toast(`${tiles.length} labeled as ${label.name}, ${nRepeated} already ${nRepeated === 1 ? "was" : "were"}.`);
}

// Decide tiles and move on: to the next tile, or to the next page if all tiles are decided.
function decideTiles(kind, label, tiles, later = []) {
  const before = pages.undecided;
  labels.decide(kind, label, tiles, { later });
  for (const tile of tiles) setReviewed(tile, kind !== "clear");
  flash(kind, label);
  cursor.clear();
  const left = pages.undecided;
  if (before > 0 && left === 0) {
    cursor.focus(cursor.tiles.indexOf(tiles.at(-1)));
    turnLater();
  } else {
    cursor.moveOn(tiles);
    pages.prefetch();
  }
}

// Accept a class sweep: label all undecided tiles without a mark as the class.
function accept() {
  if (turning !== null) return;
  if (sweep.kind !== "class") return toast("This key accepts the page of a sweep. Choose Sweep in the queue menu first.");
  const { label, rest } = sweep;
  if (!label) return toast("The class of this sweep was deleted. Choose another class in the queue pane.");
  if (!rest.length) return toast("All images are marked or labeled. Label the marked images, or turn the page.");
  const now = rest.filter((tile) => tile.dataset.later === undefined);
  const marked = sweep.marked;
  const later = now.length ? rest.filter((tile) => !now.includes(tile)) : [];
  decideTiles("assign", label, now.length ? now : rest, later);
  if (later.length) toast(`${counted(now.length, "image")} labeled as ${label.name}. ${later.length} kept back, to be shown again as a check.`);
  for (const tile of marked) cursor.mark(tile); // they still need a label
  document.body.dispatchEvent(new CustomEvent("hoshina:swept"));
  sweep.showMarked();
}

// Label a group: all tiles without a mark. Marked tiles stay in the queue. Ask first if the bar has a warning.
function decideGroup(kind, label, { confirmed = false } = {}) {
  const { rest, warning } = sweep;
  if (!rest.length) return toast("All images are marked as not of this group. Clear some marks, or turn the page.");
  if (warning && label && rest.length > 1 && !confirmed) {
    return question.ask({
      text: `${warning} Label all ${rest.length} images as ${label.name}?`,
      command: `${kind}:${label.id}`,
      onYes: () => decideGroup(kind, label, { confirmed: true }),
      onNo: focusTile,
    });
  }
  decideTiles(kind, label, rest);
  if (turning === null) turnLater();
}

// In Suspects: decide that the labels of the targets are right.
function keep() {
  if (turning !== null) return;
  const labeled = cursor.targets.filter((tile) => classes.ofId(tile.dataset.label));
  if (!labeled.length) return toast("This image has no label to keep. Press the key of its class.");
  for (const id of new Set(labeled.map((tile) => tile.dataset.label))) decideTiles("assign", classes.ofId(id), labeled.filter((tile) => tile.dataset.label === id));
}

async function split() {
  if (turning !== null) return;
  const half = sweep.halfOf(pages.query);
  if (!half) return toast(sweep.kind === "group" ? "Too few images are left to split." : "This key splits a group. Choose Groups in the queue menu first.");
  try {
    await pages.insert(half);
    clearPageError();
  } catch (error) {
    handlePageError(error, split);
  }
}

function decideByKey(classKey) {
  const label = classes.ofKey(classKey);
  if (label) decide("assign", label);
  else toast(classes.all().length ? `No class has the key ${classKey}.` : `No classes yet. Press ${keys.labelOf("classes")} to add some.`);
}

function flash(kind, label) {
  const button = label?.button ?? document.querySelector(`.left [data-do="${kind}"]`);
  if (!button) return;
  button.classList.add("used");
  setTimeout(() => button.classList.remove("used"), 110);
}

function turnLater() {
  turning = setTimeout(() => turn({ pullAgain: true }), TURN_DELAY);
}

async function turn({ pullAgain = false } = {}) {
  const turned = (async () => {
    // Send unsaved labels first, so that a new pull does not show their images again.
    if (pullAgain && (isSweep(pages.grid.dataset.kind) || !pages.grid.dataset.next)) await outbox.flush(3000);
    return pages.forward({ pullAgain });
  })();
  turning = turned;
  stage.setAttribute("aria-busy", "true");
  try {
    if (!(await turned)) toast("This is the last page.");
    clearPageError();
  } catch (error) {
    handlePageError(error, () => turn({ pullAgain }));
  } finally {
    stage.removeAttribute("aria-busy");
    if (turning === turned) turning = null;
  }
}

function undo() {
  if (typeof turning === "number") clearTimeout(turning);
  turning = null;
  clearPageError(); // the person goes back, so no page turns now
  question.close();
  const id = labels.undo();
  const tile = id === null ? null : pages.reveal(id);
  if (!tile) return;
  setReviewed(tile, false);
  cursor.focus(cursor.tiles.indexOf(tile));
}

// Show an item of the recently labeled ones, if its page is kept.
document.body.addEventListener("hoshina:reveal", ({ detail }) => {
  const tile = turning === null ? pages.reveal(detail.id) : null;
  if (tile) cursor.focus(cursor.tiles.indexOf(tile));
  detail.isShown = Boolean(tile);
});

function redo() {
  if (turning !== null) return;
  const tiles = labels.redo();
  if (tiles === null) return toast("Nothing to redo.", "", "undo");
  if (!tiles.length) return toast("The images of that decision are no longer on these pages.", "", "undo");
  toast(`Labeled ${counted(tiles.length, "image")} again.`, "", "undo");
  for (const tile of tiles) setReviewed(tile, true);
  cursor.moveOn(tiles.filter((tile) => cursor.tiles.includes(tile)));
}

// -- Pages ----------------------------------------------------------------------------------------
function handlePageError(error, request) {
  console.info("A page could not be loaded.", error);
  if (error instanceof SignedOut) {
    setBanner("sign-in", { text: "You were signed out. Your unsaved labels are kept in this browser.", rank: 3, link: { href: bench.dataset.signIn, text: "Sign in again" } });
    return;
  }
  retry = request;
  setBanner("page", { text: `${error.message} Retrying until it loads.`, rank: 1, button: { text: "Try now", press: request } });
}

function clearPageError() {
  retry = null;
  setBanner("page", null);
}

async function open(query) {
  question.close();
  document.body.dispatchEvent(new CustomEvent("hoshina:query-changed", { detail: { query } }));
  const done = loading.begin(query);
  try {
    await pages.open(query);
    clearPageError();
    if (wasPointer) focusTile();
  } catch (error) {
    handlePageError(error, () => open(query));
  } finally {
    done();
  }
}

pages.addEventListener("shown", () => {
  if (isAudit() !== wasAudit) applyBlind();
  wasAudit = isAudit();
  document.body.dispatchEvent(new CustomEvent("hoshina:page"));
  clock.restart();
  keysDialog.draw(); // a sweep's bar shows keys
  sweep.showMarked();
  queueForm.showMatching(pages.grid.dataset.matching);
  setText(document.getElementById("enter-text"), pages.grid.dataset.kind === "suspects" ? "keep label" : "detail");
  if (document.activeElement === document.body) focusTile();
  side.follow(cursor.tile);
  say(cursor.tiles.length ? counted(cursor.tiles.length, "image") : "");
  pages.prefetch();
});

function focusTile() {
  cursor.tile?.focus({ preventScroll: true });
}

// Poll while the folder is being read or the queue has no images.
setInterval(() => {
  const grid = pages.grid;
  if (!isReady || document.hidden || turning !== null) return;
  if (retry) retry();
  else if ("waiting" in grid.dataset) open(pages.query);
}, POLL);

// The items are others once files are grouped otherwise: show the page anew. A new model has other probabilities.
const seen = { grouping: groupingNow(), model: modelNow() };
document.addEventListener("htmx:afterSettle", () => {
  if (groupingNow() !== seen.grouping) return location.reload();
  if (modelNow() === seen.model) return;
  seen.model = modelNow();
  side.refresh();
});

function groupingNow() {
  return document.getElementById("header").dataset.grouping;
}

function modelNow() {
  return document.getElementById("badge")?.dataset.model ?? "";
}

document.body.addEventListener("hoshina:job-finished", ({ detail }) => {
  if (detail?.states?.retrain === "succeeded") say("A new model is ready.");
  side.refresh(); // its probabilities are those of the model in use
  // Fetch the next page by the new model, while the person labels the rest of this one.
  pages.forgetPrefetched().then(() => pages.prefetch());
  if (isReady && pages.grid.classList.contains("is-empty") && !itemCount()) open(pages.query);
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
  undo: ({ shift }) => (shift && !classes.letters().includes("z") ? redo() : undo()),
  find: () => finder.open(),
  why: toggleReasons,
  similar: () => similar(cursor.targets),
  flag: () => notes.flag(),
  tag: () => notes.tag(),
  note: () => notes.note(),
  queue: openQueues,
  map: showOnMap,
  lasso: () => drawOnMap("lasso"),
  box: () => drawOnMap("box"),
  retrain,
  stretch: cycleStretch,
  adjust: toggleAdjustments,
  invert,
  layout: cycleLayout,
  frameBefore: () => stepFrame(-1),
  frameAfter: () => stepFrame(1),
  blind: () => setBlind(recall("blind", false) !== true, true),
  classes: () => document.getElementById("open-classes").click(),
  detail: () => (pages.grid.dataset.kind === "suspects" ? keep() : side.enlarge()),
  guide: () => openGuide(),
  compare: () => compare.toggle(),
  enlarge: () => side.enlarge(),
  peek: () => {
    if (!cursor.isMarking || !pages.hasTiles) return side.toggle();
    cursor.toggle();
  },
  accept,
  split,
  next: () => { if (turning === null) turn(); },
  previous: () => {
    if (turning !== null) return;
    clearPageError();
    if (!pages.back()) toast("This is the first page.");
  },
  bigger: () => resize(1),
  smaller: () => resize(-1),
  keys: () => keysDialog.open(),
  filters: () => toggleSheet(),
  escape: () => toggleSheet(false) || question.close() || compare.close() || cursor.clear() || side.retreat() || focusTile(),
};

function resize(by) {
  if (!layout.resize(by)) return toast(by > 0 ? "The tiles already have the largest size." : "The tiles already have the smallest size.");
  layOut();
}

function toggleReasons() {
  const isShown = document.body.classList.toggle("reasons");
  remember("reasons", isShown);
  toast(isShown ? "Each tile says why it is shown." : "Reasons hidden. They are in each tile's tooltip.", "", "reasons");
}

// Lay the page out again after a change of the tiles' size or shape, and load tiles for the free space.
function layOut() {
  layout.apply(pages.grid);
  cursor.tile?.scrollIntoView({ block: "nearest" });
  pages.forgetPrefetched();
  clearTimeout(resize.timer);
  resize.timer = setTimeout(() => pages.fill().catch((error) => console.info("More tiles could not be loaded.", error)), 200);
}

function retrain() {
  window.htmx.ajax("POST", bench.dataset.retrain, { source: bench, swap: "none" });
  say("Retraining requested");
}

// Open the queue Similar for the selected images, or the focused one. The browser's Back returns.
function similar(tiles) {
  const rows = tiles.map((tile) => tile.dataset.row);
  if (!rows.length) return;
  const query = new URLSearchParams(location.search);
  const back = query.get("queue") === "similar" ? query.get("back") : `${query}`;
  queueForm.show(new URLSearchParams({ queue: "similar", to: rows.join(","), back: back || "queue=auto" }), { push: true });
}

function openQueues() {
  const menu = document.querySelector("#queue-menu details");
  if (!menu) return; // not loaded yet
  menu.open = true;
  (menu.querySelector("[aria-current]") ?? menu.querySelector("button:not(:disabled)"))?.focus();
}

// Show the focused image on the map. The map page contains this workbench; other pages open it.
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
  if (!document.getElementById("map")) return toast(`This key draws on the map. Press ${keys.labelOf("map")} first.`);
  document.body.dispatchEvent(new CustomEvent("hoshina:map-tool", { detail: { tool } }));
}

// The map limits the queue to a region and keeps its other parameters.
document.body.addEventListener("hoshina:query", async ({ detail }) => {
  const query = new URLSearchParams(location.search);
  query.delete("row");
  for (const [name, value] of Object.entries(detail.set)) {
    if (value === null) query.delete(name);
    else query.set(name, value);
  }
  await queueForm.show(query, { push: true });
  focusTile();
});

// Suggestions are hidden in blind mode, which the person chooses, and in Audit, whose labels they must not influence.
function setBlind(isBlind, isByPerson) {
  document.getElementById("blind").setAttribute("aria-pressed", String(isBlind));
  if (isByPerson) remember("blind", isBlind);
  applyBlind();
  if (!isByPerson) return;
  const now = isBlind ? "Blind mode on. Labels are recorded as made without suggestions." : "Blind mode off. Suggestions are shown.";
  toast(!isBlind && isAudit() ? "Blind mode off. In Audit, suggestions stay hidden." : now);
}

function isAudit() {
  return pages.grid.dataset.kind === "audit";
}

function applyBlind() {
  document.body.classList.toggle("blind", recall("blind", false) === true || isAudit());
  for (const tile of cursor.tiles) drawChip(tile);
  document.body.dispatchEvent(new CustomEvent("hoshina:blind"));
}

// -- Keys and clicks ------------------------------------------------------------------------------
function handleKey(event) {
  if (question.isOpen && !document.querySelector("dialog[open]") && question.handleKey(event)) return event.preventDefault();
  const command = keys.read(event);
  if (!command) return;
  event.preventDefault();
  if (!isReady) return earlyCommands.push(command);
  run(command);
}

function run(command) {
  const confirmation = command.classKey ? `assign:${classes.ofKey(command.classKey)?.id}` : `${command.name}:`;
  if (question.isOpen && question.confirm(confirmation)) return;
  if (question.isOpen && command.name !== "none") question.close();
  if (command.classKey) decideByKey(command.classKey);
  else commands[command.name]?.(command);
  sweep.showMarked();
}

document.addEventListener("keydown", handleKey);
document.addEventListener("keydown", () => { wasPointer = false; }, true);
document.addEventListener("pointerdown", () => { wasPointer = true; }, true);

document.addEventListener("click", (event) => {
  const commandButton = event.target.closest("[data-do]");
  if (commandButton) {
    commands[commandButton.dataset.do]?.({ shift: false });
    if (!document.querySelector("dialog[open], .sheet-open")) focusTile();
    return;
  }
  const classButton = event.target.closest("#class-pane [data-class]");
  if (classButton) {
    decide("assign", classes.ofId(classButton.dataset.class));
    return focusTile();
  }
  const queue = event.target.closest("#queue-menu .queue");
  if (queue) return queueForm.choose(queue);
  if (event.target.closest("[data-take-back]")) return leases.releaseAll().then(() => open(pages.query));
  const decision = event.target.closest("#side-body [data-decide]");
  if (decision) return decideInDetail(decision);
  const link = event.target.closest("a[data-query-link]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    queueForm.show(new URLSearchParams(new URL(link.href).search), { push: true });
    return focusTile();
  }
  const tile = event.target.closest("#grid .tile");
  const runnerUp = tile && event.target.closest(".runner-up");
  if (runnerUp) return decideTile(tile, "assign", classes.ofId(runnerUp.dataset.runnerUp));
  if (tile && event.target.closest(".tile-similar")) {
    similar(cursor.targets.includes(tile) ? cursor.targets : [tile]);
    return focusTile();
  }
  const isAdded = event.ctrlKey || event.metaKey || (event.pointerType === "touch" && cursor.selection.length > 0);
  if (tile) cursor.handleClick(tile, { shift: event.shiftKey, toggle: isAdded || Boolean(event.target.closest(".tick")) });
  sweep.showMarked();
});

new Touch({
  stage,
  side: document.getElementById("side"),
  run: (name) => run({ name }),
  select: (tile) => cursor.handleClick(tile, { toggle: true }),
  nextImage: () => cursor.move("right", false),
});

document.addEventListener("dblclick", (event) => {
  if (event.target.closest("#grid .tile") && side.state === "closed" && !cursor.isMarking) side.enlarge();
});

// Decide the item in the detail pane, if its tile is on this page.
function decideInDetail(button) {
  const tile = pages.grid.querySelector(`#item-${button.dataset.item}`);
  if (!tile) return toast("This image is not on the current page. Open it on its own page to label it.");
  decideTile(tile, button.dataset.decide, button.dataset.label ? classes.ofId(button.dataset.label) : null);
}

// Decide one tile. In a sweep, the other marks stay.
function decideTile(tile, kind, label) {
  if (turning !== null) return;
  const marked = sweep.marked.filter((other) => other !== tile);
  cursor.clear();
  cursor.focus(cursor.tiles.indexOf(tile));
  if (sweep.kind === "group") return decide(kind, label);
  decideTiles(kind, label, [tile]);
  for (const other of marked) cursor.mark(other);
  sweep.showMarked();
}

// -- The queue's form -------------------------------------------------------------------------------
// The browser's Back closes what covers the tiles, or goes back to the queue before.
window.addEventListener("popstate", () => {
  if (compare.isOpen && !isCovered("compare")) return compare.close();
  if (side.isCover && !isCovered("detail")) return side.retreat();
  const query = new URLSearchParams(location.search);
  toggleSheet(false);
  if (`${query}` !== `${pages.query}`) queueForm.reopen(query);
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
  const text = `${counted(n, "unsent label")} ${outbox.isStorageFull ? "in this page, which must stay open" : "in this browser"}: ${trouble.text}.`;
  const isSignIn = trouble.kind === "signed-out";
  setBanner("outbox", {
    text,
    rank: isSignIn ? 4 : 2,
    link: isSignIn ? { href: bench.dataset.signIn, text: "Sign in to send them" } : null,
    button: isSignIn ? null : { text: "Try now", press: () => outbox.retryNow() },
  });
}

// Counting reads all unsent labels, so do it once for several changes.
let countTimer = null;
outbox.addEventListener("change", () => {
  countTimer ??= setTimeout(() => {
    countTimer = null;
    showOutbox();
  }, 30);
});
let hadTrouble = false;
outbox.addEventListener("change", () => {
  if (outbox.trouble) hadTrouble = true;
  if (!hadTrouble || outbox.trouble || outbox.waiting().length) return;
  hadTrouble = false;
  toast("The server can be reached again. All labels are saved.");
});

labels.addEventListener("saved", () => {
  document.body.dispatchEvent(new CustomEvent("hoshina:saved"));
  side.refresh();
});

// -- The rest of the page ---------------------------------------------------------------------------
document.body.addEventListener("hoshina:focus-lost", focusTile);
// After this event, a closed dialog returns the focus to its button. Focus the tile instead, so that keys act on it.
document.addEventListener("close", (event) => { if (event.target instanceof HTMLDialogElement) setTimeout(focusTile); }, true);
document.addEventListener("htmx:oobAfterSwap", (event) => {
  if (event.detail.target?.id !== "class-pane") return;
  keysDialog.draw(); // a command gives way to the letter of a class
  queueForm.reload(); // its filter lists the classes
  for (const tile of cursor.tiles) {
    drawChip(tile);
    drawSuggestion(tile);
  }
});
document.addEventListener("hoshina:layout", layOut);
new ResizeObserver(() => { if (isReady && side.state === "closed") layout.apply(pages.grid); }).observe(stage);

async function start() {
  document.body.classList.toggle("reasons", recall("reasons", false) === true);
  followHandle(document.getElementById("pane-width"), bench);
  introduction.follow();
  setBlind(recall("blind", false) === true, false);
  const recorded = window.hoshinaEarly;
  document.removeEventListener("keydown", recorded.listener);
  earlyCommands.push(...recorded.keys.map((event) => keys.read(event)).filter(Boolean));
  await outbox.flush(1500);
  await open(pages.query);
  isReady = true;
  for (const command of earlyCommands.splice(0)) if (pages.hasTiles || command.name === "keys") run(command);
}

start();

// Decisions: on the tile at once, in the outbox behind it, and brought in line with what the server answers.
import { classes, showCounts } from "./classes.js";
import { newUuid } from "../outbox.js";
import { shownAs } from "../stretch.js";
import { OUTCOME, idOf, mark, setConflict, setPending, stateOf } from "../tiles.js";
import { say, toast } from "../toast.js";
import { counted } from "../plural.js";

const SAID = { unsure: "unsure", skip: "skipped", clear: "mark taken off" };

// Where the server showed the tile: it looks up the rest itself.
function placeOf(tile) {
  const { round_id, rank } = JSON.parse(tile.dataset.shown || "{}");
  return { round_id, rank };
}

export class Labels extends EventTarget {
  #mine = new Map(); // uuid -> record, while it waits
  #undoStack = [];

  constructor({ outbox, clock }) {
    super();
    Object.assign(this, { outbox, clock, tilesOf: () => [], isBlind: () => false });
    for (const { record } of outbox.waiting()) this.#mine.set(record.action.uuid, record);
    outbox.addEventListener("results", ({ detail }) => this.#answered(detail));
  }

  // What the newest waiting record makes of the item: {state, label}, or null.
  effectOf(id) {
    const found = [...this.#mine.values()].reverse().flatMap((record) => record.effect).find((one) => one.id === id);
    return found ?? null;
  }

  pendingOf(id) {
    return [...this.#mine.values()].filter((record) => record.effect.some((one) => one.id === id)).length;
  }

  // kind: assign (with a class), unsure, skip or clear. Tiles that are `later` look decided, and come back some day.
  decide(kind, label, tiles, { later = [] } = {}) {
    const before = [...tiles, ...later].map(stateOf);
    const outcome = (tile) => ({ id: idOf(tile), state: OUTCOME[kind], label: label?.id ?? null });
    const effect = tiles.map(outcome);
    const seconds = this.clock.share(tiles.length);
    const rendering = shownAs();
    const hasSuggestion = tiles.some((tile) => tile.querySelector(".suggestion"));
    const action = {
      uuid: newUuid(),
      kind,
      label: label?.id ?? null,
      at: new Date().toISOString(),
      suggestion_shown: hasSuggestion ? !this.isBlind() : null,
      overwrite: tiles.every((tile) => tile.dataset.conflict !== undefined),
      items: tiles.map((tile) => ({ id: idOf(tile), seen: Number(tile.dataset.seen) || 0, seconds, shown: { ...placeOf(tile), rendering } })),
    };
    this.clock.restart();
    for (const tile of tiles) setConflict(tile, null);
    this.#keep({ action, effect: [...effect, ...later.map(outcome)], before });
    this.#undoStack.push({ uuid: action.uuid, before, effect });
    const what = label?.name ?? SAID[kind];
    say(before.length === 1 ? what : `${counted(before.length, "image")}: ${what}`);
  }

  // Takes the newest decision back. The id of an item that it was about, where this page knows it.
  undo() {
    const last = this.#undoStack.pop();
    const action = { uuid: newUuid(), kind: "undo", at: new Date().toISOString(), items: [] };
    this.#keep({ action, effect: last?.before ?? [], before: last?.effect ?? [], undoes: last?.uuid });
    this.clock.restart();
    const n = last?.before.length ?? 0;
    if (n === 1) say("Undone");
    else if (n) toast(`Undid ${counted(n, "label")}.`, "", "undo");
    return last?.before[0]?.id ?? null;
  }

  #keep(record) {
    this.#mine.set(record.action.uuid, record);
    this.#paint(record.effect);
    this.outbox.add(record);
  }

  #paint(states) {
    for (const one of states) {
      const pending = this.pendingOf(one.id);
      for (const tile of this.tilesOf(one.id)) {
        this.#mark(tile, one);
        setPending(tile, pending);
      }
    }
  }

  // On the tile, and told to what else shows the item.
  #mark(tile, { state, label, changed }) {
    mark(tile, { state, label, changed });
    const detail = { row: Number(tile.dataset.row), state: Number(state), label: label ?? null };
    document.body.dispatchEvent(new CustomEvent("hoshina:marked", { detail }));
  }

  #answered({ pairs, counts }) {
    for (const [record, result] of pairs) {
      const isMine = this.#mine.delete(record.action.uuid);
      if (result.status === "refused") this.#refused(record, result, isMine);
      else this.#saved(record, result, isMine);
      for (const { id } of record.effect) {
        for (const tile of this.tilesOf(id)) setPending(tile, this.pendingOf(id));
      }
    }
    if (!this.#mine.size) showCounts(counts);
    this.dispatchEvent(new CustomEvent("saved"));
  }

  #saved(record, result, isMine) {
    const isUndo = record.action.kind === "undo";
    for (const item of result.items ?? []) this.#settle(item);
    for (const conflict of result.conflicts ?? []) {
      this.#settle(conflict);
      if (isUndo) continue;
      for (const tile of this.tilesOf(conflict.id)) setConflict(tile, conflict.by || "Someone");
    }
    if (isUndo && result.status === "saved") this.#settleUndo(record, result, isMine);
    else if (result.conflicts?.length && isMine) this.#drop(record, result.conflicts);
  }

  // What the undo was expected to restore but did not stays as the server has it.
  #settleUndo(record, result, isMine) {
    const restored = new Set([...(result.items ?? []), ...(result.conflicts ?? [])].map(({ id }) => id));
    this.#paintFree(record.before.filter(({ id }) => !restored.has(id)));
    if (isMine && !record.effect.length && result.items?.length) {
      const n = result.items.length;
      toast(`Undid ${counted(n, "label")}, perhaps on other pages.`, "", "undo");
    }
  }

  #refused(record, result, isMine) {
    this.#withdrawUndo(record);
    this.#paintFree(record.before);
    this.#undoStack = this.#undoStack.filter(({ uuid }) => uuid !== record.action.uuid);
    if (isMine) toast(result.error || "The server refused that.", record.action.kind === "undo" ? "" : "error");
  }

  // Others decided those meanwhile: an undo of this action can't bring them back.
  #drop(record, conflicts) {
    const theirs = new Set(conflicts.map(({ id }) => id));
    if (record.action.items.every(({ id }) => theirs.has(id))) this.#withdrawUndo(record);
    const entry = this.#undoStack.find(({ uuid }) => uuid === record.action.uuid);
    if (entry) {
      entry.before = entry.before.filter(({ id }) => !theirs.has(id));
      entry.effect = entry.effect.filter(({ id }) => !theirs.has(id));
      if (!entry.before.length) this.#undoStack.splice(this.#undoStack.indexOf(entry), 1);
    }
    const [first] = conflicts;
    const name = classes.ofId(first.label)?.name;
    const words = conflicts.length === 1 ? `${first.by} decided this image meanwhile${name ? ` (${name})` : ""}.` : `${conflicts.length} images were decided by others meanwhile.`;
    toast(`${words} Label again to overwrite.`, "warning");
  }

  // Nothing came of the action on the server: an undo of it would take back an earlier one.
  #withdrawUndo(record) {
    for (const { action } of this.outbox.withdraw(({ undoes }) => undoes === record.action.uuid)) this.#mine.delete(action.uuid);
  }

  #paintFree(states) {
    this.#paint(states.filter(({ id }) => !this.pendingOf(id)));
  }

  #settle(item) {
    const isFree = !this.pendingOf(item.id);
    for (const tile of this.tilesOf(item.id)) {
      tile.dataset.seen = String(item.annotation);
      if (isFree) this.#mark(tile, item);
    }
  }
}

// Decisions: shown on the tile at once, sent through the outbox, and updated from the server's response.
import { classes, showCounts } from "./classes.js";
import { newUuid } from "../outbox.js";
import { describeDisplay } from "../stretch.js";
import { OUTCOME, idOf, isKeptBack, setAccepted, setConflict, setPending, showDecision, stateOf } from "../tiles.js";
import { say, toast } from "../toast.js";
import { counted } from "../plural.js";

const ANNOUNCEMENTS = { unsure: "unsure", skip: "skipped", clear: "label cleared" };

// Return the round and rank of a tile. The server looks up the rest of its provenance.
function provenanceOf(tile) {
  const { round_id, rank } = JSON.parse(tile.dataset.shown || "{}");
  return { round_id, rank };
}

export class Labels extends EventTarget {
  #waiting = new Map(); // uuid -> record not confirmed yet
  #undoStack = [];
  #redoStack = [];

  constructor({ outbox, clock }) {
    super();
    Object.assign(this, { outbox, clock, tilesOf: () => [], isBlind: () => false });
    for (const { record } of outbox.waiting()) this.#waiting.set(record.action.uuid, record);
    outbox.addEventListener("results", ({ detail }) => this.#handleResults(detail));
  }

  // Return the {state, label} that the newest waiting record gives the item, or null.
  effectOf(id) {
    const effects = [...this.#waiting.values()].reverse().flatMap((record) => record.effect);
    return effects.find((effect) => effect.id === id) ?? null;
  }

  pendingOf(id) {
    return [...this.#waiting.values()].filter((record) => record.effect.some((effect) => effect.id === id)).length;
  }

  // Decide tiles. `kind` is assign (with a class), unsure, skip or clear. Tiles in `later` are accepted but not sent:
  // the queue Checks shows them again.
  decide(kind, label, tiles, { later = [], isRedo = false } = {}) {
    if (!isRedo) this.#redoStack = [];
    const before = [...tiles, ...later].map(stateOf);
    const outcome = (tile) => ({ id: idOf(tile), state: OUTCOME[kind], label: label?.id ?? null });
    const effect = tiles.map(outcome);
    const seconds = this.clock.share(tiles.length);
    const rendering = describeDisplay();
    const hasSuggestion = tiles.some((tile) => tile.querySelector(".suggestion"));
    const action = {
      uuid: newUuid(),
      kind,
      label: label?.id ?? null,
      at: new Date().toISOString(),
      suggestion_shown: hasSuggestion ? !this.isBlind() : null,
      overwrite: tiles.every((tile) => tile.dataset.conflict !== undefined),
      items: tiles.map((tile) => ({ id: idOf(tile), seen: Number(tile.dataset.seen) || 0, seconds, shown: { ...provenanceOf(tile), rendering } })),
    };
    this.clock.restart();
    document.body.dispatchEvent(new CustomEvent("hoshina:labeled", { detail: { tiles, effect } }));
    for (const tile of tiles) setConflict(tile, null);
    for (const tile of [...tiles, ...later]) setAccepted(tile, later.length ? label : null);
    this.#send({ action, effect: [...effect, ...later.map(outcome)], before });
    this.#undoStack.push({ uuid: action.uuid, before, effect, kind, label, later: later.map(idOf) });
    const message = label?.name ?? ANNOUNCEMENTS[kind];
    say(before.length === 1 ? message : `${counted(before.length, "image")}: ${message}`);
  }

  // Undo the newest decision. Return the id of one of its items, if this page knows it.
  undo() {
    const last = this.#undoStack.pop();
    const action = { uuid: newUuid(), kind: "undo", at: new Date().toISOString(), items: [] };
    this.#send({ action, effect: last?.before ?? [], before: last?.effect ?? [], undoes: last?.uuid });
    this.clock.restart();
    if (!last) return null;
    this.#redoStack.push(last);
    const n = last.effect.length;
    const what = last.label?.name ?? ANNOUNCEMENTS[last.kind];
    const [tile] = n === 1 ? this.tilesOf(last.effect[0].id) : [];
    toast(n === 1 ? `Undid ${what}${tile ? ` on ${tile.dataset.name}` : ""}.` : `Undid ${counted(n, "label")}.`, "", "undo");
    return last.before[0]?.id ?? null;
  }

  // Decide again what the newest undo took back, as far as its images are on this page or a previous one. Return their
  // tiles, or null if there is nothing to redo.
  redo() {
    const last = this.#redoStack.pop();
    if (!last) return null;
    const tilesOf = (ids) => ids.map((id) => this.tilesOf(id)[0]).filter(Boolean);
    const tiles = tilesOf(last.effect.map(({ id }) => id));
    if (tiles.length) this.decide(last.kind, last.label, tiles, { later: tilesOf(last.later), isRedo: true });
    return tiles;
  }

  #send(record) {
    this.#waiting.set(record.action.uuid, record);
    this.#paint(record.effect);
    this.outbox.add(record);
  }

  #paint(states) {
    for (const state of states) {
      const pending = this.pendingOf(state.id);
      for (const tile of this.tilesOf(state.id)) {
        this.#show(tile, state);
        setPending(tile, pending);
      }
    }
  }

  // Show a decision on a tile, and notify the other parts of the page that show the item.
  #show(tile, { state, label, changed }) {
    showDecision(tile, { state, label, changed });
    if (isKeptBack(tile)) return;
    const detail = { row: Number(tile.dataset.row), state: Number(state), label: label ?? null };
    document.body.dispatchEvent(new CustomEvent("hoshina:decided", { detail }));
  }

  #handleResults({ pairs, counts }) {
    for (const [record, result] of pairs) {
      const isMine = this.#waiting.delete(record.action.uuid);
      if (result.status === "refused") this.#revert(record, result, isMine);
      else this.#saved(record, result, isMine);
      for (const { id } of record.effect) {
        for (const tile of this.tilesOf(id)) setPending(tile, this.pendingOf(id));
      }
    }
    if (!this.#waiting.size) showCounts(counts);
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
    else if (result.conflicts?.length && isMine) this.#handleConflicts(record, result.conflicts);
  }

  // Keep the server's state for items that the undo did not restore.
  #settleUndo(record, result, isMine) {
    const restored = new Set([...(result.items ?? []), ...(result.conflicts ?? [])].map(({ id }) => id));
    this.#paintSettled(record.before.filter(({ id }) => !restored.has(id)));
    if (isMine && !record.effect.length && result.items?.length) {
      const n = result.items.length;
      document.body.dispatchEvent(new CustomEvent("hoshina:undone-elsewhere"));
      toast(`Undid ${counted(n, "label")}, some of which may be on other pages.`, "", "undo");
    }
  }

  #revert(record, result, isMine) {
    this.#withdrawUndo(record);
    this.#paintSettled(record.before);
    this.#undoStack = this.#undoStack.filter(({ uuid }) => uuid !== record.action.uuid);
    if (isMine) toast(result.error || "The server refused this label. Reload the page and try again.", record.action.kind === "undo" ? "" : "error");
  }

  // Remove the items that others decided in the meantime from the undo stack.
  #handleConflicts(record, conflicts) {
    const conflicting = new Set(conflicts.map(({ id }) => id));
    if (record.action.items.every(({ id }) => conflicting.has(id))) this.#withdrawUndo(record);
    const entry = this.#undoStack.find(({ uuid }) => uuid === record.action.uuid);
    if (entry) {
      entry.before = entry.before.filter(({ id }) => !conflicting.has(id));
      entry.effect = entry.effect.filter(({ id }) => !conflicting.has(id));
      if (!entry.before.length) this.#undoStack.splice(this.#undoStack.indexOf(entry), 1);
    }
    const [first] = conflicts;
    const name = classes.ofId(first.label)?.name;
    const message = conflicts.length === 1 ? `${first.by} labeled this image in the meantime${name ? ` (${name})` : ""}.` : `Others labeled ${conflicts.length} of these images in the meantime.`;
    toast(`${message} Label again to overwrite.`, "warning");
  }

  // The server did not apply the action, so an undo of it would undo an earlier one: withdraw it.
  #withdrawUndo(record) {
    for (const { action } of this.outbox.withdraw(({ undoes }) => undoes === record.action.uuid)) this.#waiting.delete(action.uuid);
  }

  #paintSettled(states) {
    this.#paint(states.filter(({ id }) => !this.pendingOf(id)));
  }

  #settle(item) {
    const isFree = !this.pendingOf(item.id);
    for (const tile of this.tilesOf(item.id)) {
      tile.dataset.seen = String(item.annotation);
      if (isFree) this.#show(tile, item);
    }
  }
}

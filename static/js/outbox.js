// The queue of unsent labels. Each action is stored in this browser under its own key until the server confirms it, so that
// a reload, a crash or an unreachable server loses nothing. The server uses the uuid to count each action once.
const BATCH = 50;
const RETRY_DELAYS = [1000, 2000, 4000, 8000, 15000, 30000];
const TIMEOUT = 30000;
const FAILURES_IN_A_ROW = 3; // after so many records that fail alone, the server rather than a record has a problem
const AWAY = { kind: "away", text: "the server has a problem" };
const UNREADABLE = "The server could not read this label. Reload the page and label the image again.";

export function newUuid() {
  if (crypto.randomUUID) return crypto.randomUUID(); // only in a secure context
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

export function csrfToken() {
  const cookie = document.cookie.split("; ").find((pair) => pair.startsWith("csrftoken="));
  return cookie ? decodeURIComponent(cookie.slice(10)) : JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];
}

// Events: "change" (the queue or the connection changed), "results" with detail {pairs: [[record, result]], counts}.
export class Outbox extends EventTarget {
  #prefix;
  #url;
  #memory = new Map(); // records that storage refused, kept for as long as the page
  #parsed = new Map(); // records read from storage
  #lastStamp = 0;
  #sending = null;
  #timer = null;
  #failures = 0;
  #channel = null;

  constructor({ name, url }) {
    super();
    this.#prefix = `hoshina:outbox:${name}:`;
    this.#url = url;
    this.lockName = `hoshina-outbox-${name}`;
    this.trouble = null; // {kind: "away" | "signed-out" | "refused", text}
    this.isStorageFull = false;
    if ("BroadcastChannel" in window) {
      this.#channel = new BroadcastChannel(this.lockName);
      this.#channel.addEventListener("message", ({ data }) => this.#announce(data));
    }
    window.addEventListener("online", () => this.retryNow());
    window.addEventListener("storage", (event) => this.#handleStorage(event));
    window.addEventListener("pagehide", () => this.#sendOnLeave());
    window.addEventListener("beforeunload", (event) => { if (this.#memory.size) event.preventDefault(); });
    document.addEventListener("visibilitychange", () => { if (!document.hidden && this.trouble) this.retryNow(); });
  }

  // Store a record ({action, effect, before}) and send it soon, after the waiting ones.
  add(record) {
    const key = this.#nextKey(record.action.uuid);
    try {
      localStorage.setItem(key, JSON.stringify(record));
    } catch (error) {
      console.info("Storage is full or refused. This label is kept in the page's memory.", error);
      this.#memory.set(key, record);
      this.isStorageFull = true;
    }
    this.#notify();
    this.#schedule(this.trouble ? null : 15);
  }

  // Return the records of all tabs that the server has not confirmed, in the order of the decisions.
  waiting() {
    const records = new Map(this.#memory);
    try {
      for (let i = 0; i < localStorage.length; i += 1) {
        const key = localStorage.key(i);
        if (!key.startsWith(this.#prefix)) continue;
        if (!this.#parsed.has(key)) this.#parsed.set(key, parse(localStorage.getItem(key)));
        if (this.#parsed.get(key)) records.set(key, this.#parsed.get(key));
      }
    } catch (error) {
      console.info("Storage can't be read.", error);
    }
    return [...records].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, record]) => ({ key, record }));
  }

  // Return the number of unsent decisions: the items of all waiting actions.
  count() {
    return this.waiting().reduce((sum, { record }) => sum + Math.max(1, record.action.items?.length ?? 0), 0);
  }

  // Remove the waiting records that match, before they are sent, and return them.
  withdraw(matches) {
    const withdrawn = this.waiting().filter(({ record }) => matches(record));
    for (const { key } of withdrawn) this.#remove(key);
    return withdrawn.map(({ record }) => record);
  }

  retryNow() {
    this.#failures = 0;
    return this.#send();
  }

  // Resolve when nothing waits, or after `timeout` ms.
  async flush(timeout) {
    if (!this.waiting().length) return;
    const expired = new Promise((resolve) => setTimeout(resolve, timeout));
    await Promise.race([this.#send(), expired]);
  }

  #nextKey(uuid) {
    this.#lastStamp = Math.max(Date.now() * 1000, this.#lastStamp + 1);
    return `${this.#prefix}${String(this.#lastStamp).padStart(17, "0")}:${uuid}`;
  }

  #schedule(delay) {
    if (this.#timer !== null || this.#sending) return;
    const wait = delay ?? RETRY_DELAYS[Math.min(this.#failures, RETRY_DELAYS.length) - 1] ?? RETRY_DELAYS[0];
    this.#timer = setTimeout(() => this.#send(), wait);
  }

  #send() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#sending ??= this.#sendAll().finally(() => {
      this.#sending = null;
      if (this.waiting().length) this.#schedule(this.trouble ? null : 15);
    });
    return this.#sending;
  }

  // One tab at a time sends the records of all tabs, so that the server receives them in the order of the decisions.
  #sendAll() {
    if (navigator.locks) return navigator.locks.request(this.lockName, () => this.#drain());
    return this.#drain(); // no locks outside a secure context; the uuids make a repeated batch harmless
  }

  async #drain() {
    let size = BATCH;
    let isAnySaved = false;
    const failed = new Set(); // uuids of records at which the server failed; the others are sent all the same
    while (isAnySaved || failed.size < FAILURES_IN_A_ROW) {
      const batch = this.#next(size, failed);
      if (!batch.length) break;
      const response = await this.#post(batch.map(({ record }) => record.action));
      if (response.malformed && batch.length > 1) {
        size = 1; // find the malformed record; the others are valid
        continue;
      }
      if (response.failed) {
        if (batch.length === 1) failed.add(batch[0].record.action.uuid);
        size = 1;
        continue;
      }
      if (response.trouble) {
        this.#failures += 1;
        this.trouble = response.trouble;
        this.#notify();
        return;
      }
      this.#acknowledge(batch, response);
      isAnySaved = true;
    }
    if (!failed.size) return;
    this.#failures += 1;
    this.trouble = isAnySaved ? { kind: "refused", text: "the server could not save it, but saved the others" } : AWAY;
    this.#notify();
  }

  // Return the next records to send. An undo waits for the result of the action that it undoes.
  #next(size, failed = new Set()) {
    const isHeld = ({ record }) => failed.has(record.action.uuid) || failed.has(record.undoes);
    const batch = this.waiting().filter((entry) => !isHeld(entry)).slice(0, size);
    const uuids = new Set(batch.map(({ record }) => record.action.uuid));
    const cut = batch.findIndex(({ record }) => uuids.has(record.undoes));
    return cut > 0 ? batch.slice(0, cut) : batch;
  }

  #remove(key) {
    this.#parsed.delete(key);
    if (!this.#memory.delete(key)) localStorage.removeItem(key);
  }

  // Another tab stored a label. That tab sends it; this tab does so if the other one is closed first.
  #handleStorage(event) {
    if (!event.key?.startsWith(this.#prefix)) return;
    this.#notify();
    if (event.newValue !== null) this.#schedule(5000);
  }

  // Send the latest decisions when the page is left. They stay in storage until the next page gets the confirmation.
  #sendOnLeave() {
    if (this.#sending || this.trouble) return;
    const actions = this.#next(BATCH).map(({ record }) => record.action);
    const body = JSON.stringify({ actions });
    if (!actions.length || body.length > 60000) return;
    fetch(this.#url, { method: "POST", headers: this.#headers(), body, credentials: "same-origin", keepalive: true }).catch((error) => {
      console.info("The last labels are sent at the next visit.", error);
    });
  }

  #headers() {
    return { "Content-Type": "application/json", "X-CSRFToken": csrfToken(), Accept: "application/json" };
  }

  #acknowledge(batch, response) {
    this.#failures = 0;
    this.trouble = null;
    const results = new Map((response.results ?? []).map((result) => [result.uuid, result]));
    const pairs = [];
    for (const { key, record } of batch) {
      const { uuid } = record.action;
      const error = response.malformed ?? "The server did not confirm this label. Label the image again.";
      pairs.push([record, results.get(uuid) ?? { uuid, status: "refused", error, items: [], conflicts: [] }]);
      this.#remove(key);
    }
    const detail = { pairs, counts: response.counts };
    this.#channel?.postMessage(detail);
    this.#announce(detail);
  }

  #announce(detail) {
    this.dispatchEvent(new CustomEvent("results", { detail }));
    this.#notify();
  }

  #notify() {
    this.dispatchEvent(new CustomEvent("change"));
  }

  // Resolve to {results, counts}, {malformed: message}, or {trouble} if the batch must be sent again.
  async #post(actions) {
    let response;
    try {
      response = await fetch(this.#url, {
        method: "POST",
        headers: this.#headers(),
        body: JSON.stringify({ actions }),
        credentials: "same-origin",
        redirect: "error",
        signal: AbortSignal.timeout(TIMEOUT),
      });
      if (response.ok) return await response.json();
    } catch (error) {
      console.info("The labels could not be sent. They are kept.", error);
      return { trouble: { kind: "away", text: "the server cannot be reached" } };
    }
    if (response.status === 400 || response.status === 413) return { malformed: await errorOf(response) };
    if (response.status === 401) return { trouble: { kind: "signed-out", text: "you were signed out" } };
    if (response.status === 500) return { failed: true };
    if (response.status > 500) return { trouble: AWAY };
    if (response.status === 403) return { trouble: { kind: "refused", text: "the page was open for too long, or your role changed, so reload it" } };
    return { trouble: { kind: "refused", text: `the server refused them (${response.status})` } };
  }
}

function parse(raw) {
  try {
    return raw === null ? null : JSON.parse(raw);
  } catch (error) {
    console.warn("A stored label can't be read and is skipped.", error);
    return null;
  }
}

async function errorOf(response) {
  try {
    return (await response.json()).error || UNREADABLE;
  } catch {
    return UNREADABLE;
  }
}

// Labels on their way to the server. Each action is kept in this browser under a key of its own until the server
// said that it has it: a reload, a crash or a server that is away loses nothing, and the uuid lets it count once.
const BATCH = 50;
const WAITS = [1000, 2000, 4000, 8000, 15000, 30000];
const TIMEOUT = 30000;

export function newUuid() {
  if (crypto.randomUUID) return crypto.randomUUID(); // only in a secure context
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

export function csrfToken() {
  const cookie = document.cookie.split("; ").find((one) => one.startsWith("csrftoken="));
  return cookie ? decodeURIComponent(cookie.slice(10)) : JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];
}

// Events: "change" (the queue or the connection changed), "results" with detail {pairs: [[record, result]], counts}.
export class Outbox extends EventTarget {
  #prefix;
  #url;
  #memory = new Map(); // what storage refused to take: lasts as long as this page
  #parsed = new Map(); // what was read from storage already
  #last = 0;
  #sending = null;
  #timer = null;
  #failures = 0;
  #channel = null;

  constructor({ name, url }) {
    super();
    this.#prefix = `hoshina:outbox:${name}:`;
    this.#url = url;
    this.lockName = `hoshina-outbox-${name}`;
    this.trouble = null; // {kind: "away" | "signed-out" | "refused", words}
    this.isStorageFull = false;
    if ("BroadcastChannel" in window) {
      this.#channel = new BroadcastChannel(this.lockName);
      this.#channel.addEventListener("message", ({ data }) => this.#heard(data));
    }
    window.addEventListener("online", () => this.retryNow());
    window.addEventListener("storage", (event) => this.#heardStorage(event));
    window.addEventListener("pagehide", () => this.#partingShot());
    window.addEventListener("beforeunload", (event) => { if (this.#memory.size) event.preventDefault(); });
    document.addEventListener("visibilitychange", () => { if (!document.hidden && this.trouble) this.retryNow(); });
  }

  // Keeps the record ({action, effect, before}) and sends it soon, behind whatever waits already.
  add(record) {
    const key = this.#nextKey(record.action.uuid);
    try {
      localStorage.setItem(key, JSON.stringify(record));
    } catch (error) {
      console.info("Storage is full or refused: this label is kept in the page's memory.", error);
      this.#memory.set(key, record);
      this.isStorageFull = true;
    }
    this.#changed();
    this.#schedule(this.trouble ? null : 15);
  }

  // Every record that the server has not acknowledged, of all tabs, in the order in which they were made.
  waiting() {
    const found = new Map(this.#memory);
    try {
      for (let i = 0; i < localStorage.length; i += 1) {
        const key = localStorage.key(i);
        if (!key.startsWith(this.#prefix)) continue;
        if (!this.#parsed.has(key)) this.#parsed.set(key, parse(localStorage.getItem(key)));
        if (this.#parsed.get(key)) found.set(key, this.#parsed.get(key));
      }
    } catch (error) {
      console.info("Storage can't be read.", error);
    }
    return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, record]) => ({ key, record }));
  }

  // How many decisions wait: the items of every waiting action.
  count() {
    return this.waiting().reduce((sum, { record }) => sum + Math.max(1, record.action.items?.length ?? 0), 0);
  }

  // Takes back waiting records that `isMeant`, before they are sent.
  withdraw(isMeant) {
    const taken = this.waiting().filter(({ record }) => isMeant(record));
    for (const { key } of taken) this.#forget(key);
    return taken.map(({ record }) => record);
  }

  retryNow() {
    this.#failures = 0;
    return this.#send();
  }

  // Resolves when nothing waits, or when `patience` ms are over.
  async flush(patience) {
    if (!this.waiting().length) return;
    const enough = new Promise((resolve) => setTimeout(resolve, patience));
    await Promise.race([this.#send(), enough]);
  }

  #nextKey(uuid) {
    this.#last = Math.max(Date.now() * 1000, this.#last + 1);
    return `${this.#prefix}${String(this.#last).padStart(17, "0")}:${uuid}`;
  }

  #schedule(delay) {
    if (this.#timer !== null || this.#sending) return;
    const wait = delay ?? WAITS[Math.min(this.#failures, WAITS.length) - 1] ?? WAITS[0];
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

  // One tab at a time sends for all tabs, so that the order of the person's keys is the order on the server.
  #sendAll() {
    if (navigator.locks) return navigator.locks.request(this.lockName, () => this.#drain());
    return this.#drain(); // no locks outside a secure context: the server's uuids make a doubled batch harmless
  }

  async #drain() {
    let size = BATCH;
    for (;;) {
      const batch = this.#next(size);
      if (!batch.length) break;
      const answer = await this.#post(batch.map(({ record }) => record.action));
      if (answer.malformed && batch.length > 1) {
        size = 1; // find the one that the server can't read; the others are good
        continue;
      }
      if (answer.trouble) {
        this.#failures += 1;
        this.trouble = answer.trouble;
        this.#changed();
        return;
      }
      this.#acknowledge(batch, answer);
    }
  }

  // The next records to send. An undo waits until it is known what became of the action that it takes back.
  #next(size) {
    const batch = this.waiting().slice(0, size);
    const uuids = new Set(batch.map(({ record }) => record.action.uuid));
    const cut = batch.findIndex(({ record }) => uuids.has(record.undoes));
    return cut > 0 ? batch.slice(0, cut) : batch;
  }

  #forget(key) {
    this.#parsed.delete(key);
    if (!this.#memory.delete(key)) localStorage.removeItem(key);
  }

  // Another tab keeps labels: it sends them, and should it be closed before that, this one does.
  #heardStorage(event) {
    if (!event.key?.startsWith(this.#prefix)) return;
    this.#changed();
    if (event.newValue !== null) this.#schedule(5000);
  }

  // The page is left: what was just decided goes on its way, and stays in storage until the next page hears of it.
  #partingShot() {
    if (this.#sending || this.trouble) return;
    const actions = this.#next(BATCH).map(({ record }) => record.action);
    const body = JSON.stringify({ actions });
    if (!actions.length || body.length > 60000) return;
    fetch(this.#url, { method: "POST", headers: this.#headers(), body, credentials: "same-origin", keepalive: true }).catch((error) => {
      console.info("The last labels wait for the next visit.", error);
    });
  }

  #headers() {
    return { "Content-Type": "application/json", "X-CSRFToken": csrfToken(), Accept: "application/json" };
  }

  #acknowledge(batch, answer) {
    this.#failures = 0;
    this.trouble = null;
    const results = new Map((answer.results ?? []).map((result) => [result.uuid, result]));
    const pairs = [];
    for (const { key, record } of batch) {
      const { uuid } = record.action;
      const words = answer.malformed ?? "The server did not answer for this label.";
      pairs.push([record, results.get(uuid) ?? { uuid, status: "refused", error: words, items: [], conflicts: [] }]);
      this.#forget(key);
    }
    const detail = { pairs, counts: answer.counts };
    this.#channel?.postMessage(detail);
    this.#heard(detail);
  }

  #heard(detail) {
    this.dispatchEvent(new CustomEvent("results", { detail }));
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new CustomEvent("change"));
  }

  // {results, counts}, or {malformed: words}, or {trouble} when the batch has to be sent again.
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
      console.info("The labels could not be sent; they are kept.", error);
      return { trouble: { kind: "away", words: "the server is away" } };
    }
    if (response.status === 400 || response.status === 413) return { malformed: await refusalWords(response) };
    if (response.status === 401) return { trouble: { kind: "signed-out", words: "you were signed out" } };
    if (response.status >= 500) return { trouble: { kind: "away", words: "the server is in trouble" } };
    if (response.status === 403) return { trouble: { kind: "refused", words: "this page was open too long: reload it" } };
    return { trouble: { kind: "refused", words: `the server refuses them (${response.status})` } };
  }
}

function parse(raw) {
  try {
    return raw === null ? null : JSON.parse(raw);
  } catch (error) {
    console.warn("A kept label can't be read and is left alone.", error);
    return null;
  }
}

async function refusalWords(response) {
  try {
    return (await response.json()).error || "The server could not read this label.";
  } catch {
    return "The server could not read this label.";
  }
}

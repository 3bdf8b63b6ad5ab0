// Seconds that a person spent on a decision: since the one before (or since the page came), while it was visible.
const MOST = 120; // somebody who was away that long was not looking

export class Clock {
  #kept = 0;
  #since = performance.now();

  constructor() {
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) {
        this.#kept += performance.now() - this.#since;
      } else {
        this.#since = performance.now();
      }
    });
  }

  restart() {
    this.#kept = 0;
    this.#since = performance.now();
  }

  // The share of each of `n` items decided at once, in seconds.
  share(n) {
    const running = document.hidden ? 0 : performance.now() - this.#since;
    const seconds = Math.min(MOST, (this.#kept + running) / 1000);
    return Math.round((seconds / Math.max(1, n)) * 1000) / 1000;
  }
}

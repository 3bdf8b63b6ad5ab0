// The time spent on a decision: the visible seconds since the previous decision, or since the page was loaded.
const MAX_SECONDS = 120; // longer pauses are breaks

export class Clock {
  #elapsed = 0;
  #since = performance.now();

  constructor() {
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) {
        this.#elapsed += performance.now() - this.#since;
      } else {
        this.#since = performance.now();
      }
    });
  }

  restart() {
    this.#elapsed = 0;
    this.#since = performance.now();
  }

  // Return the seconds for each of `n` items that are decided together.
  share(n) {
    const running = document.hidden ? 0 : performance.now() - this.#since;
    const seconds = Math.min(MAX_SECONDS, (this.#elapsed + running) / 1000);
    return Math.round((seconds / Math.max(1, n)) * 1000) / 1000;
  }
}

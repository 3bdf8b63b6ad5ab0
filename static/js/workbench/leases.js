// Leases: the images shown in this window are not shown to anyone else. They are renewed while the person works here and
// end when the window is left. Each window has a random name, which distinguishes the windows of one person.
import { csrfToken, newUuid } from "../outbox.js";

const RENEW_AFTER = 4 * 60 * 1000; // a lease lasts 15 minutes
const CHECK_EVERY = 30 * 1000;

export const windowName = newUuid();

export class Leases {
  #renewedAt = Date.now();
  #isActive = false;

  // `itemIds()` returns the ids of the images on the page.
  constructor({ renewUrl, releaseUrl, itemIds }) {
    Object.assign(this, { renewUrl, releaseUrl, itemIds });
    for (const kind of ["keydown", "pointerdown", "wheel"]) {
      document.addEventListener(kind, () => { this.#isActive = true; }, { capture: true, passive: true });
    }
    setInterval(() => this.#renewIfActive(), CHECK_EVERY);
    window.addEventListener("pagehide", () => this.#post(this.releaseUrl, {}));
    // After the browser's Back, the page is as it was left: lease its images again, if they are still free.
    window.addEventListener("pageshow", (event) => { if (event.persisted) this.renew(); });
  }

  #renewIfActive() {
    if (!this.#isActive || Date.now() - this.#renewedAt < RENEW_AFTER) return;
    this.renew();
  }

  renew() {
    this.#isActive = false;
    this.#renewedAt = Date.now();
    return this.#post(this.renewUrl, { items: this.itemIds().join(",") });
  }

  // Release the leases of these images, which this window does not show after all.
  release(ids) {
    return ids.length ? this.#post(this.releaseUrl, { items: ids.join(",") }) : null;
  }

  // Release the leases of all windows of the person.
  releaseAll() {
    return this.#post(this.releaseUrl, { all: "1" });
  }

  async #post(url, fields) {
    const body = new URLSearchParams({ window: windowName, ...fields });
    const headers = { "X-CSRFToken": csrfToken() };
    try {
      return await fetch(url, { method: "POST", headers, body, credentials: "same-origin", keepalive: true });
    } catch (error) {
      console.info("The leases could not be changed. They end after 15 minutes.", error);
      return null;
    }
  }
}

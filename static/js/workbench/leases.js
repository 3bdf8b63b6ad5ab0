// Leases: the images that this window shows are shown to nobody else. They last while somebody works here and end when
// the window is left. Two windows of one person are told apart by a name that each makes up.
import { csrfToken, newUuid } from "../outbox.js";

const RENEW_AFTER = 4 * 60 * 1000; // of the quarter of an hour that a lease lasts
const LOOK_EVERY = 30 * 1000;

export const windowName = newUuid();

export class Leases {
  #renewedAt = Date.now();
  #isActive = false;

  // `itemIds` gives the ids of the images on the page that is shown.
  constructor({ renewUrl, releaseUrl, itemIds }) {
    Object.assign(this, { renewUrl, releaseUrl, itemIds });
    for (const kind of ["keydown", "pointerdown", "wheel"]) {
      document.addEventListener(kind, () => { this.#isActive = true; }, { capture: true, passive: true });
    }
    setInterval(() => this.#look(), LOOK_EVERY);
    window.addEventListener("pagehide", () => this.#post(this.releaseUrl, {}));
    // The page comes back as it was left (the browser's Back): what it shows is leased again, where it is still free.
    window.addEventListener("pageshow", (event) => { if (event.persisted) this.renew(); });
  }

  #look() {
    if (!this.#isActive || Date.now() - this.#renewedAt < RENEW_AFTER) return;
    this.renew();
  }

  renew() {
    this.#isActive = false;
    this.#renewedAt = Date.now();
    return this.#post(this.renewUrl, { items: this.itemIds().join(",") });
  }

  // The images that the person's other windows hold, too.
  takeBack() {
    return this.#post(this.releaseUrl, { all: "1" });
  }

  async #post(url, fields) {
    const body = new URLSearchParams({ window: windowName, ...fields });
    const headers = { "X-CSRFToken": csrfToken() };
    try {
      return await fetch(url, { method: "POST", headers, body, credentials: "same-origin", keepalive: true });
    } catch (error) {
      console.info("The leases could not be changed; they end after a quarter of an hour.", error);
      return null;
    }
  }
}

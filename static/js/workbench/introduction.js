// The introduction: three steps with the progress of each, until they are done or the person closes it.
import { setText } from "../text.js";
import { recall, remember } from "../store.js";

const ENOUGH = 10; // labels

export class Introduction {
  // `name` identifies the dataset and the person in this browser.
  constructor(box, name) {
    Object.assign(this, { box, key: `introduction:${name}` });
    box.querySelector("[data-close]").addEventListener("click", () => {
      this.#end();
      document.body.dispatchEvent(new CustomEvent("hoshina:focus-lost"));
    });
  }

  // Show it in a dataset without labels, and again until it ends.
  follow() {
    const state = recall(this.key, null);
    if (state === "ended" || (state === null && nLabeled() >= ENOUGH)) return;
    remember(this.key, "shown");
    this.box.hidden = false;
    this.#update();
    for (const name of ["hoshina:saved", "hoshina:labeled", "htmx:afterSettle", "hoshina:swept"]) {
      document.body.addEventListener(name, (event) => this.#update(event));
    }
    document.body.addEventListener("hoshina:page", () => this.#update());
  }

  #update(event) {
    if (this.box.hidden) return;
    const n = nLabeled();
    if (event?.type === "hoshina:swept") remember(`${this.key}:swept`, true);
    const hasSwept = recall(`${this.key}:swept`, false) === true;
    const isDone = [n >= ENOUGH, Boolean(document.getElementById("badge")?.dataset.model), hasSwept];
    setText(this.box.querySelector("[data-labeled]"), `${Math.min(n, ENOUGH)} of ${ENOUGH}`);
    const current = isDone.indexOf(false);
    [...this.box.querySelectorAll("li")].forEach((step, i) => {
      step.classList.toggle("done", isDone[i]);
      if (i === current) step.setAttribute("aria-current", "step");
      else step.removeAttribute("aria-current");
    });
    this.box.classList.toggle("complete", current < 0);
    if (current < 0) remember(this.key, "ended");
  }

  #end() {
    remember(this.key, "ended");
    this.box.hidden = true;
  }
}

function nLabeled() {
  return Number((document.querySelector('[data-count="labelled"]')?.textContent ?? "0").replace(/\D/g, ""));
}

// A short question at the foot of the tiles: the same key again, or Enter, says yes; any other key goes on.
export class Question {
  #asked = null;
  #box = null;

  get isOpen() {
    return this.#asked !== null;
  }

  // asked: {words, again: what says yes when it is done again, yes, no}
  ask(asked) {
    this.close();
    this.#asked = asked;
    const box = document.createElement("div");
    box.className = "question";
    box.setAttribute("role", "alertdialog");
    box.setAttribute("aria-label", asked.words);
    const words = document.createElement("span");
    words.textContent = `${asked.words} The same key again, or Enter, does it.`;
    box.append(words, this.#button("Yes", "button primary", () => this.#answer(true)), this.#button("No", "button", () => this.#answer(false)));
    document.body.append(box);
    this.#box = box;
    box.querySelector("button").focus();
  }

  #button(words, name, pressed) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = name;
    button.textContent = words;
    button.addEventListener("click", pressed);
    return button;
  }

  // Enter on nothing in particular says yes; on a button the button's own click does.
  pressed(event) {
    if (event.key === "Escape") {
      this.#answer(false);
      return true;
    }
    if (event.key !== "Enter" || this.#box.contains(event.target)) return false;
    this.#answer(true);
    return true;
  }

  confirms(again) {
    if (this.#asked?.again !== again) return false;
    this.#answer(true);
    return true;
  }

  #answer(isYes) {
    const asked = this.#asked;
    this.close();
    asked.no?.();
    if (isYes) asked.yes();
  }

  // Takes it away unanswered; true when there was one.
  close() {
    if (!this.#asked) return false;
    this.#box.remove();
    this.#asked = null;
    this.#box = null;
    return true;
  }
}

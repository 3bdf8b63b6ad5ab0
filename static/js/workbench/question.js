// A confirmation below the tiles. Enter or the same command again confirms it; any other key dismisses it.
export class Question {
  #current = null;
  #box = null;

  get isOpen() {
    return this.#current !== null;
  }

  // question: {text, command (which confirms when repeated), onYes, onNo}
  ask(question) {
    this.close();
    this.#current = question;
    const box = document.createElement("div");
    box.className = "question";
    box.setAttribute("role", "alertdialog");
    box.setAttribute("aria-label", question.text);
    const text = document.createElement("span");
    text.textContent = `${question.text} Press Enter or the same key again to confirm.`;
    box.append(text, this.#button("Yes", "button primary", () => this.#answer(true)), this.#button("No", "button", () => this.#answer(false)));
    document.body.append(box);
    this.#box = box;
    box.querySelector("button").focus();
  }

  #button(text, className, onClick) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = className;
    button.textContent = text;
    button.addEventListener("click", onClick);
    return button;
  }

  // Handle Enter and Escape, except Enter on the question's own buttons. Return whether the key was handled.
  handleKey(event) {
    if (event.key === "Escape") {
      this.#answer(false);
      return true;
    }
    if (event.key !== "Enter" || this.#box.contains(event.target)) return false;
    this.#answer(true);
    return true;
  }

  // Confirm the question if `command` is its own. Return whether it is.
  confirm(command) {
    if (this.#current?.command !== command) return false;
    this.#answer(true);
    return true;
  }

  #answer(isYes) {
    const question = this.#current;
    this.close();
    question.onNo?.();
    if (isYes) question.onYes();
  }

  // Dismiss the question. Return whether there was one.
  close() {
    if (!this.#current) return false;
    this.#box.remove();
    this.#current = null;
    this.#box = null;
    return true;
  }
}

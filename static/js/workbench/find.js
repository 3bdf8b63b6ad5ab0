// What the palette finds on the workbench: classes and images with the key /, commands, queues and classes with Ctrl-K.
import { addCommands, paletteOfPage } from "../commands.js";
import { TITLES } from "../keys.js";
import { classes } from "./classes.js";
import { searchImages } from "./search.js";

export class Finder {
  // `run(command)` runs a command by its name, `assign(labelClass)` labels the targets, `chooseQueue(button)` opens a queue,
  // `show(query)` shows images. `searchUrl` finds them by text.
  constructor({ keys, run, assign, chooseQueue, show, searchUrl }) {
    Object.assign(this, { keys, run, assign, chooseQueue, show, searchUrl });
    addCommands(() => [...this.#commands(), ...this.#queues(), ...this.#classes("assign class")]);
  }

  open() {
    paletteOfPage().open({
      label: "Find a class or images",
      placeholder: "Class, or part of a path, tag, note or field",
      nothing: "No class matches.",
      entries: this.#classes(),
      more: (text) => [{ name: `Images with “${text}” in the path`, run: () => this.show(new URLSearchParams({ queue: "all", state: "any", path: text })) }],
      find: (text) => searchImages(this.searchUrl, text, this.show),
    });
  }

  #classes(kind = "") {
    return classes.all().map((labelClass) => ({ name: labelClass.name, key: labelClass.key.toUpperCase(), color: labelClass.color, kind, run: () => this.assign(labelClass) }));
  }

  #commands() {
    const names = Object.keys(TITLES).filter((name) => name !== "peek");
    return names.map((name) => ({ name: TITLES[name], key: this.keys.labelOf(name), kind: "command", run: () => this.run(name) }));
  }

  #queues() {
    const buttons = [...document.querySelectorAll("#queue-menu .queue:not(:disabled)")];
    return buttons.map((button) => ({
      name: button.querySelector("b").textContent.trim(), kind: "queue", words: button.querySelector("span")?.textContent, run: () => this.chooseQueue(button),
    }));
  }
}

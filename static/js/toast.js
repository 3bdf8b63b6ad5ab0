// Short messages at the edge of the screen, and announcements for screen readers.
const DURATIONS = { "": 4000, success: 4000, error: 12000, warning: 9000 };

// Show a message. Only the newest message of a topic stays, so that a key that cycles through choices leaves one.
export function toast(text, kind = "", topic = "") {
  const region = document.getElementById("toasts");
  if (topic) region.querySelector(`[data-topic="${topic}"]`)?.remove();
  const same = [...region.children].find((message) => message.firstChild?.textContent === text);
  same?.remove();
  const message = document.createElement("p");
  message.className = `toast ${kind}`;
  message.dataset.topic = topic;
  const span = document.createElement("span");
  span.textContent = text;
  message.append(span);
  region.append(message);
  while (region.children.length > 4) region.firstElementChild.remove();
  expire(message, kind);
  return message;
}

function expire(message, kind) {
  const close = document.createElement("button");
  close.type = "button";
  close.textContent = "Dismiss";
  close.addEventListener("click", () => message.remove());
  message.append(close);
  let timer = setTimeout(() => message.remove(), DURATIONS[kind] ?? 6000);
  message.addEventListener("pointerenter", () => clearTimeout(timer));
  message.addEventListener("pointerleave", () => { timer = setTimeout(() => message.remove(), 2000); });
}

// Give messages that come with the page or a fragment a close button and a timer.
export function watchToasts() {
  const region = document.getElementById("toasts");
  const adopt = () => {
    for (const message of region.querySelectorAll(":scope > .toast:not(:has(> button))")) {
      expire(message, ["error", "warning"].find((kind) => message.classList.contains(kind)) ?? "");
    }
  };
  new MutationObserver(adopt).observe(region, { childList: true });
  adopt();
}

// Announce a text to screen readers.
export function say(text) {
  const line = document.getElementById("announcements");
  // A repeated text gets an invisible space, so that screen readers announce it again.
  if (line) line.textContent = line.textContent === text ? `${text}\u00a0` : text;
}

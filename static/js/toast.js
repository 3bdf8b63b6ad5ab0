// Short messages at the edge of the screen, and announcements for screen readers.
const DURATIONS = { "": 4000, error: 12000, warning: 9000 };
const SHORT = 1000; // while another message waits

// Show a message after those that wait. Only the newest message of a topic stays, so that a key that cycles through choices
// leaves one.
export function toast(text, kind = "", topic = "") {
  const region = document.getElementById("toasts");
  const isReplaced = (message) => (topic && message.dataset.topic === topic) || message.querySelector("span")?.textContent === text;
  for (const message of [...region.children].filter(isReplaced)) message.remove();
  const message = document.createElement("p");
  message.className = `toast ${kind}`;
  message.dataset.topic = topic;
  const span = document.createElement("span");
  span.textContent = text;
  message.append(span);
  region.append(message);
  return message;
}

function kindOf(message) {
  return ["error", "warning"].find((kind) => message.classList.contains(kind)) ?? "";
}

// Give a message a close button, and a timer that starts when it is shown. Return a function that shortens the timer.
function show(message) {
  const close = document.createElement("button");
  close.type = "button";
  close.textContent = "Dismiss";
  close.addEventListener("click", () => message.remove());
  message.append(close);
  let timer = null;
  const removeAfter = (duration) => {
    clearTimeout(timer);
    timer = setTimeout(() => message.remove(), duration);
  };
  removeAfter(DURATIONS[kindOf(message)]);
  message.addEventListener("pointerenter", () => clearTimeout(timer));
  message.addEventListener("pointerleave", () => removeAfter(2000));
  return removeAfter;
}

// Show one message at a time (parts.css hides the others), also those that come with the page or a fragment. An ordinary
// message soon gives way to the next one; an error or a warning stays.
export function watchToasts() {
  const region = document.getElementById("toasts");
  let shown = null;
  let removeAfter = null;
  const update = () => {
    const first = region.querySelector(":scope > .toast");
    if (first && first !== shown) removeAfter = show(first);
    shown = first;
    if (first && first !== region.lastElementChild && !kindOf(first)) removeAfter(SHORT);
  };
  new MutationObserver(update).observe(region, { childList: true });
  update();
}

// Announce a text to screen readers.
export function say(text) {
  const line = document.getElementById("announcements");
  // A repeated text gets an invisible space, so that screen readers announce it again.
  if (line) line.textContent = line.textContent === text ? `${text}\u00a0` : text;
}

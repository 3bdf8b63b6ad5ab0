// Quiet words at the edge of the screen, and a line for screen readers.
const LASTS = { "": 4000, success: 4000, error: 12000, warning: 9000 };

// Of one topic only the newest is shown: a key that goes through a few choices leaves no pile.
export function toast(words, kind = "", topic = "") {
  const region = document.getElementById("toasts");
  if (topic) region.querySelector(`[data-topic="${topic}"]`)?.remove();
  const same = [...region.children].find((shown) => shown.firstChild?.textContent === words);
  same?.remove();
  const shown = document.createElement("p");
  shown.className = `toast ${kind}`;
  shown.dataset.topic = topic;
  const text = document.createElement("span");
  text.textContent = words;
  shown.append(text);
  region.append(shown);
  while (region.children.length > 4) region.firstElementChild.remove();
  expire(shown, kind);
  return shown;
}

function expire(shown, kind) {
  const close = document.createElement("button");
  close.type = "button";
  close.textContent = "Dismiss";
  close.addEventListener("click", () => shown.remove());
  shown.append(close);
  let timer = setTimeout(() => shown.remove(), LASTS[kind] ?? 6000);
  shown.addEventListener("pointerenter", () => clearTimeout(timer));
  shown.addEventListener("pointerleave", () => { timer = setTimeout(() => shown.remove(), 2000); });
}

// Messages that came with the page or with a fragment.
export function watchToasts() {
  const region = document.getElementById("toasts");
  const adopt = () => {
    for (const shown of region.querySelectorAll(":scope > .toast:not(:has(> button))")) {
      expire(shown, ["error", "warning"].find((kind) => shown.classList.contains(kind)) ?? "");
    }
  };
  new MutationObserver(adopt).observe(region, { childList: true });
  adopt();
}

export function say(words) {
  const line = document.getElementById("said");
  // The same words twice are two messages: the second one differs by an invisible space.
  if (line) line.textContent = line.textContent === words ? `${words}\u00a0` : words;
}

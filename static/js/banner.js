// One line under the header for what needs the person's attention: labels that wait, or a sign-in that ended.
const reasons = new Map();

// `note` is {words, rank, link: {href, words}, button: {words, press}}; null takes the reason's line away.
export function setBanner(reason, note) {
  const before = reasons.get(reason);
  if (!note && !before) return;
  if (note && before && before.words === note.words) return;
  if (note) reasons.set(reason, note);
  else reasons.delete(reason);
  draw();
}

function draw() {
  const banner = document.getElementById("banner");
  const shown = [...reasons.values()].sort((a, b) => (b.rank ?? 0) - (a.rank ?? 0))[0];
  banner.hidden = !shown;
  if (!shown) return banner.replaceChildren();
  const words = document.createElement("span");
  words.textContent = shown.words;
  const parts = [words];
  if (shown.link) {
    const link = document.createElement("a");
    link.href = shown.link.href;
    link.textContent = shown.link.words;
    parts.push(link);
  }
  if (shown.button) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button small";
    button.textContent = shown.button.words;
    button.addEventListener("click", shown.button.press);
    parts.push(button);
  }
  banner.replaceChildren(...parts);
}

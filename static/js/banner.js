// The line under the header for what needs attention: unsent labels, an ended session, a page that failed to load.
const reasons = new Map();

// Set the notice for `reason`: {text, rank, link: {href, text}, button: {text, press}}. null removes it.
// Only the notice with the highest rank is shown.
export function setBanner(reason, notice) {
  const before = reasons.get(reason);
  if (!notice && !before) return;
  if (notice && before && before.text === notice.text) return;
  if (notice) reasons.set(reason, notice);
  else reasons.delete(reason);
  draw();
}

function draw() {
  const banner = document.getElementById("banner");
  const shown = [...reasons.values()].sort((a, b) => (b.rank ?? 0) - (a.rank ?? 0))[0];
  banner.hidden = !shown;
  if (!shown) return banner.replaceChildren();
  const text = document.createElement("span");
  text.textContent = shown.text;
  const parts = [text];
  if (shown.link) {
    const link = document.createElement("a");
    link.href = shown.link.href;
    link.textContent = shown.link.text;
    parts.push(link);
  }
  if (shown.button) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button small";
    button.textContent = shown.button.text;
    button.addEventListener("click", shown.button.press);
    parts.push(button);
  }
  banner.replaceChildren(...parts);
}

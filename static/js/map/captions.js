// Places the captions of clusters so that they neither cover each other nor leave the map. Sizes and positions are CSS pixels.
const GAP = 3; // between an outline and its caption, and between captions
const MAX_WIDTH = 190; // of a line, before it wraps
const context = new OffscreenCanvas(1, 1).getContext("2d");

// Return the width of a text in a font in CSS notation.
export function widthOf(text, font) {
  context.font = font;
  return context.measureText(text).width;
}

// Break a text into one or two lines of similar width; what does not fit on two lines is cut.
export function wrapped(text, font, maxWidth = MAX_WIDTH) {
  if (widthOf(text, font) <= maxWidth) return [text];
  const words = text.split(" ");
  const splits = words.slice(1).map((_, i) => [words.slice(0, i + 1).join(" "), words.slice(i + 1).join(" ")]);
  const widest = (lines) => Math.max(...lines.map((line) => widthOf(line, font)));
  const best = splits.reduce((least, lines) => (least && widest(least) <= widest(lines) ? least : lines), null) ?? [text];
  return best.map((line) => shortened(line, font, maxWidth));
}

function shortened(text, font, maxWidth) {
  if (widthOf(text, font) <= maxWidth) return text;
  let n = text.length - 1;
  while (n > 1 && widthOf(`${text.slice(0, n)}…`, font) > maxWidth) n -= 1;
  return `${text.slice(0, n).trimEnd()}…`;
}

// Return a box {left, right, top, bottom} for each of `captions`, or null where there is no room. `captions` are
// [{width, height, around}], the most important first; `around` is the box of the outline. `obstacles` are boxes to keep free.
export function placeCaptions(captions, { width, height, obstacles = [] }) {
  const taken = [...obstacles];
  return captions.map((caption) => {
    const free = candidates(caption, { width, height }).filter((candidate) => taken.every((other) => isApart(candidate, other)));
    const isClear = (candidate) => captions.every((other) => other === caption || isApart(candidate, other.around));
    const box = free.find(isClear) ?? free[0] ?? null; // off the other clusters, if there is such a place
    if (box) taken.push(box);
    return box;
  });
}

// Return the boxes where a caption could be, the best first: above its outline, below, on it, beside it. All lie in the view.
export function candidates({ width, height, around }, view) {
  const seen = { left: Math.max(0, around.left), right: Math.min(view.width, around.right), top: Math.max(0, around.top), bottom: Math.min(view.height, around.bottom) };
  if (seen.left > seen.right || seen.top > seen.bottom || width > view.width || height > view.height) return [];
  const [middle, center] = [(seen.left + seen.right) / 2 - width / 2, (seen.top + seen.bottom) / 2 - height / 2];
  const [above, below] = [seen.top - GAP - height, seen.bottom + GAP];
  const [before, after] = [seen.left - GAP - width, seen.right + GAP];
  const places = [
    [middle, above], [middle, below], [middle, center], [seen.left, above], [seen.right - width, above],
    [seen.left, below], [seen.right - width, below], [after, center], [before, center],
    [middle, seen.top + GAP], [middle, seen.bottom - GAP - height],
  ];
  return places.map(([left, top]) => boxAt(clamp(left, view.width - width), clamp(top, view.height - height), width, height));
}

function boxAt(left, top, width, height) {
  return { left, top, right: left + width, bottom: top + height };
}

function clamp(value, most) {
  return Math.max(0, Math.min(most, value));
}

// Return whether two boxes neither overlap nor touch.
export function isApart(a, b) {
  return a.right + GAP <= b.left || b.right + GAP <= a.left || a.bottom + GAP <= b.top || b.bottom + GAP <= a.top;
}

// Set an element's text, unless it has that text: each new text node makes the browser lay the page out again.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

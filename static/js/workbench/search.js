// The search of the palette: images by a text in their path, tags, notes or fields.
const DELAY = 150; // ms without typing before the server is asked

let running = null;

// Return entries for the palette, each of which shows its images by `show(query)`. An outdated search is never answered.
export async function searchImages(url, text, show) {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  await new Promise((resolve) => setTimeout(resolve, DELAY));
  if (signal.aborted) return null;
  const response = await fetch(`${url}?${new URLSearchParams({ q: text })}`, { credentials: "same-origin", headers: { Accept: "application/json" }, signal });
  if (!response.ok) throw new Error(`The search failed (${response.status}).`);
  const { choices } = await response.json();
  return choices.map(({ name, count, query }) => ({ name, kind: count, run: () => show(new URLSearchParams(query)) }));
}

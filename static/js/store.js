// Small settings kept in this browser. Where storage is refused (a private window), they last as long as the page.
const kept = new Map();

export function recall(name, fallback = null) {
  const key = `hoshina:${name}`;
  if (kept.has(key)) return kept.get(key);
  try {
    const raw = localStorage.getItem(key);
    return raw === null ? fallback : JSON.parse(raw);
  } catch (error) {
    console.info(`The setting ${name} could not be read.`, error);
    return fallback;
  }
}

export function remember(name, value) {
  const key = `hoshina:${name}`;
  kept.set(key, value);
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch (error) {
    console.info(`The setting ${name} is kept for this page only.`, error);
  }
}

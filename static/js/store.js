// Settings stored in this browser. If storage is refused (as in a private window), they last as long as the page.
const memory = new Map();

export function recall(name, fallback = null) {
  const key = `hoshina:${name}`;
  if (memory.has(key)) return memory.get(key);
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
  memory.set(key, value);
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch (error) {
    console.info(`The setting ${name} lasts for this page only.`, error);
  }
}

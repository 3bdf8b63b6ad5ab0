// What covers the tiles has an entry in the browser's history, so that Back closes it instead of leaving the page.

export function isCovered(name) {
  return history.state?.cover === name;
}

export function addCover(name) {
  if (!isCovered(name)) history.pushState({ cover: name }, "");
}

// Remove the entry after the cover was closed in another way.
export function removeCover(name) {
  if (isCovered(name)) history.back();
}

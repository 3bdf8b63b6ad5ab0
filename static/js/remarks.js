// The flag, the tags and the notes that a tile shows. The server writes the same (sampling/queues/tile_html.py).
const ICONS = { flagged: "flag", tags: "tag", noted: "note" };

export function remarksOf(tile) {
  const { flagged, tags, noted } = tile.dataset;
  return { flagged: flagged !== undefined, tags: tags ? tags.split(";") : [], noted: noted !== undefined };
}

// Return what is read out after the tile's name and state.
export function remarksText(tile) {
  const { flagged, tags, noted } = remarksOf(tile);
  return [flagged && "flagged", tags.length && `tagged ${tags.join(", ")}`, noted && "has a note"].filter(Boolean);
}

export function showRemarks(tile, { flagged, tags, noted }) {
  tile.toggleAttribute("data-flagged", flagged);
  tile.toggleAttribute("data-noted", noted);
  if (tags.length) tile.dataset.tags = tags.join(";");
  else delete tile.dataset.tags;
  tile.querySelector(".tile-notes")?.remove();
  const names = Object.entries({ flagged, tags: tags.length > 0, noted }).filter(([, isShown]) => isShown).map(([name]) => ICONS[name]);
  if (!names.length) return;
  const line = document.createElement("span");
  line.className = "tile-notes";
  line.setAttribute("aria-hidden", "true");
  line.title = remarksText(tile).join(", ");
  line.innerHTML = names.map((name) => `<svg class="icon remark-${name}"><use href="#i-${name}"/></svg>`).join("");
  tile.append(line);
}

// Offers a new map or new points, but never replaces the map on screen.
const NOTICES = { project_map: ["A map is ready.", "Show map"], place_on_maps: ["New images were added to the map.", "Show them"] };

// Return whether the newest map is shown. The page may have been opened after the map was written and before its job ended.
async function isShown() {
  const pane = document.getElementById("map-pane").dataset;
  const newest = await fetch(pane.newest, { method: "HEAD" }).catch(() => null);
  return newest?.headers.get("X-Map") === pane.map;
}

document.body.addEventListener("hoshina:job-finished", async ({ detail }) => {
  for (const kind of detail.kinds) {
    if (!(kind in NOTICES) || detail.states[kind] !== "succeeded") continue;
    if (kind === "project_map" && (await isShown())) continue;
    const [text, linkText] = NOTICES[kind];
    const notice = document.getElementById("map-notice");
    const link = notice.querySelector("a");
    // A new map is the newest map; new points are on the map that is shown.
    link.href = kind === "project_map" ? document.getElementById("map-pane").dataset.newest : location.href;
    link.textContent = linkText;
    notice.querySelector("span").textContent = text;
    notice.classList.add("visible");
    document.querySelector(".map-quick")?.remove(); // it says that the map is being computed
  }
});

// A map that was made meanwhile is offered, and never put in the place of the one that somebody looks at.
const WORDS = { project_map: ["A map is ready.", "Show it"], place_on_maps: ["New images have their places.", "Show them"] };

// Whether the newest map is the one that is shown: the page may have been opened between a map's end and its job's.
async function isShown() {
  const pane = document.getElementById("map-pane").dataset;
  const newest = await fetch(pane.newest, { method: "HEAD" }).catch(() => null);
  return newest?.headers.get("X-Map") === pane.map;
}

document.body.addEventListener("hoshina:job-finished", async ({ detail }) => {
  for (const kind of detail.kinds) {
    if (!(kind in WORDS) || detail.states[kind] !== "succeeded") continue;
    if (kind === "project_map" && (await isShown())) continue;
    const [words, offer] = WORDS[kind];
    const news = document.getElementById("map-news");
    const link = news.querySelector("a");
    // A new map is the newest one; new places are on the map that is shown.
    link.href = kind === "project_map" ? document.getElementById("map-pane").dataset.newest : location.href;
    link.textContent = offer;
    news.querySelector("span").textContent = words;
    news.classList.add("told");
    document.querySelector(".map-quick")?.remove(); // it says that the map is being made
  }
});

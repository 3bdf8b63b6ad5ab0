// A map that was made meanwhile is offered, and never put in the place of the one that somebody looks at.
const WORDS = { project_map: ["A map is ready.", "Show it"], place_on_maps: ["New images have their places.", "Show them"] };

document.body.addEventListener("hoshina:job-finished", ({ detail }) => {
  for (const kind of detail.kinds) {
    if (!(kind in WORDS) || detail.states[kind] !== "succeeded") continue;
    const [words, offer] = WORDS[kind];
    const news = document.getElementById("map-news");
    const link = news.querySelector("a");
    // A new map is the newest one; new places are on the map that is shown.
    link.href = kind === "project_map" ? document.getElementById("map-pane").dataset.newest : location.href;
    link.textContent = offer;
    news.querySelector("span").textContent = words;
    news.classList.add("told");
  }
});

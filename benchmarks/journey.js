// Measures in the page what a person waits for: from an input event, or the start of the navigation, to the second frame
// after the change, with all pictures decoded. Playwright's own latency is not part of it.
window.journey = (() => {
  const shifts = [];
  let result = null;

  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      const moved = entry.sources.map(({ node, previousRect: from, currentRect: to }) => `${nameOf(node)} ${corner(from)} to ${corner(to)}`);
      shifts.push({ value: entry.value, hadInput: entry.hadRecentInput, moved });
    }
  }).observe({ type: "layout-shift", buffered: true });

  function nameOf(node) {
    const element = node instanceof Element ? node : node?.parentElement;
    return element ? `${element.localName}${element.id && `#${element.id}`}.${element.className}` : "a removed element";
  }

  const corner = ({ x, y, width, height }) => `${Math.round(x)},${Math.round(y)} ${Math.round(width)}x${Math.round(height)}`;
  const grid = () => document.querySelector("#grid:not(.is-waiting):has(.tile)");
  const focused = () => document.querySelector("#grid .tile.here");
  const large = () => document.querySelector("#side-body .zoom img");
  const badge = () => document.getElementById("badge")?.dataset.model;
  const frame = () => new Promise(requestAnimationFrame);

  // Changes of marks alone, without new pictures.
  const marks = new Set(["mark", "undone"]);

  // Each remembers the page as it is now, and returns a function that says whether the change is there.
  const changes = {
    open: () => () => grid(),
    page: () => {
      const before = grid();
      return () => grid() && grid() !== before;
    },
    mark: () => {
      const tile = focused();
      return () => tile.dataset.state !== "0";
    },
    undone: () => {
      const tiles = [...grid().querySelectorAll('.tile:not([data-state="0"])')];
      return () => tiles.some((tile) => tile.dataset.state === "0");
    },
    detail: () => {
      const before = large();
      return () => large() && large() !== before;
    },
    map: () => () => document.getElementById("map-wait")?.hidden && document.getElementById("map").dataset.drawn === "true",
    whole: () => () => document.readyState === "complete" && !document.querySelector(".htmx-request, .htmx-settling"),
    // New suggestions appear with the next page, which is requested as soon as the header shows the new model.
    suggestions: () => {
      const before = badge();
      let wasTurned = false;
      return () => {
        if (badge() === before) return false;
        if (!wasTurned) document.dispatchEvent(new KeyboardEvent("keydown", { key: "n", bubbles: true }));
        wasTurned = true;
        return grid()?.dataset.model === badge();
      };
    },
  };

  async function wait(began, change, isShown) {
    while (!isShown()) await frame();
    const images = marks.has(change) ? [] : [...document.querySelectorAll('#grid img:not([loading="lazy"]), #side-body .zoom img')];
    await Promise.all(images.map((image) => image.decode()));
    await frame();
    await frame();
    return performance.now() - began;
  }

  return {
    shifts,
    // Measure from the next event of this type until the change is painted.
    arm(type, change) {
      const isShown = changes[change]();
      result = new Promise((resolve, reject) => {
        const begin = (event) => wait(event.timeStamp, change, isShown).then(resolve, reject);
        document.addEventListener(type, begin, { capture: true, once: true });
      });
    },
    result: () => result,
    sinceNavigation: (change) => wait(0, change, changes[change]()),
  };
})();

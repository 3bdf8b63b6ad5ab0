"""Time the map's page in Chromium at two sizes: first paint, recoloring, a label, and a frame of a drag.

    python -m benchmarks.map_browser [--small 100000] [--large 1000000] [--times 5]

Real web servers and a real browser without a GPU; the two sizes take turns, so that disturbances affect both. Prints
medians and their ratios.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.map import with_map
from benchmarks.pages import line
from benchmarks.stage import stage
from tests.parts import CHROMIUM_ARGS, chromium

# Resolves to the milliseconds from `began` until `shown()` holds and the canvas has been drawn.
WAIT = """
const drawn = (shown, began) => new Promise((resolve) => {
  const look = () => {
    if (shown() && document.getElementById("map").dataset.drawn === "true") resolve(performance.now() - began);
    else requestAnimationFrame(look);
  };
  look();
});
"""
FIRST = f"() => {{ {WAIT} return drawn(() => document.getElementById('map-wait').hidden, 0); }}"
RECOLOUR = f"""(by) => {{ {WAIT}
  const began = performance.now();
  const choice = document.getElementById("map-by");
  choice.value = by;
  choice.dispatchEvent(new Event("change"));
  return drawn(() => document.querySelector(`#map-legend-slot [data-by="${{by}}"]`), began);
}}"""
LABEL = f"""(row) => {{ {WAIT}
  const label = Number(document.querySelector("#class-pane [data-class]").dataset.class);
  const began = performance.now();
  document.body.dispatchEvent(new CustomEvent("hoshina:marked", {{ detail: {{ row, state: 1, label }} }}));
  return drawn(() => true, began);
}}"""
DRAG = f"""async () => {{ {WAIT}
  const view = document.getElementById("map");
  const box = view.getBoundingClientRect();
  const at = (name, i) => view.dispatchEvent(new PointerEvent(name, {{
    bubbles: true, pointerId: 1, button: 0, clientX: box.left + 200 + 3 * i, clientY: box.top + 200 + 2 * i,
  }}));
  view.setPointerCapture = () => {{}}; // there is no such pointer
  at("pointerdown", 0);
  const times = [];
  for (let i = 1; i <= 20; i += 1) {{
    const began = performance.now();
    at("pointermove", i);
    times.push(await drawn(() => true, began));
  }}
  at("pointerup", 20);
  return times.sort((a, b) => a - b)[10];
}}"""


def open_page(browser: Browser, address: str) -> tuple[Page, float]:
    """Return the page in a browser with an empty cache, and its first paint in ms after the request."""
    page = browser.new_context(viewport={"width": 1280, "height": 720}).new_page()
    page.goto(f"{address}/d/stage/map/?queue=all", wait_until="commit")
    page.locator("#map-wait").wait_for(state="attached")
    return page, float(page.evaluate(FIRST))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=int, default=100_000)
    parser.add_argument("--large", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    times: dict[str, list[list[float]]] = {
        name: [[], []] for name in ("first paint", "predicted instead of label", "one label", "a frame of a drag")
    }
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        addresses = []
        for name, n in (("small", options.small), ("large", options.large)):
            addresses.append(stack.enter_context(stage(Path(folder) / name, n)))
            with_map(Path(folder) / name)
        browser = stack.enter_context(sync_playwright()).chromium.launch(executable_path=chromium(), args=CHROMIUM_ARGS)
        for time in range(options.times + 1):
            for size, address in enumerate(addresses):
                page, first = open_page(browser, address)
                page.wait_for_load_state("networkidle")
                values = (
                    first,
                    page.evaluate(RECOLOUR, "predicted"),
                    page.evaluate(LABEL, 77),
                    page.evaluate(DRAG),
                )
                for name, value in zip(times, values, strict=True):
                    if time:  # the first round also reads arrays and imports modules
                        times[name][size].append(value)
                page.context.close()
        browser.close()
    for name, (small, large) in times.items():
        line(f"{name}, small", small)
        line(f"{name}, large", large)
    first_small, first_large = (statistics.median(values) for values in times["first paint"])
    print(f"  -> first paint large / small = {first_large / first_small:.2f} (target 3)")
    recolour = statistics.median(times["predicted instead of label"][1])
    print(f"  -> recolouring / first paint, large = {recolour / first_large:.2f} (target 0.3)")


if __name__ == "__main__":
    main()

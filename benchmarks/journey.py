"""Measure what a person waits for during a labeler's day in a real browser: p50 and p95 at several sizes.

    python -m benchmarks.journey [--items 10000 100000 1000000] [--rounds 3] [--folder FOLDER]

Each size has its own store, which is built once in FOLDER (`benchmarks.journey_store`: all items share 1,797 pictures
and thumbnails) and copied for each run. `hoshina up` serves it with its real workers. Nothing is warmed up: the longest
times include what processes read or import once. Times are measured in the page (`journey.js`), from the key, click or
navigation to the second frame after the change, with all thumbnails decoded. A round takes about a minute.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright
from sklearn.datasets import load_digits

from benchmarks.journey_store import CLASSES, N_DIGITS, SLUG, built_store, copied_store, environment
from benchmarks.stage import ROOT, _free_port, _wait_for
from tests.parts import CHROMIUM_ARGS, chromium

SCRIPT = Path(__file__).with_name("journey.js")
# 60 tiles of the default size.
VIEWPORT = {"width": 1500, "height": 1010}
# The width in pixels of the smallest tiles (static/js/workbench/layout.js).
SMALL = 52
QUEUES = ("all", "uncertain", "diverse", "oddities", "band", "auto")
PAGES_TURNED, PAGES_LABELED = 5, 3
# Milliseconds between two labels: as fast as a person can press keys.
PACE = 150
TARGETS = load_digits().target.tolist()
Times = dict[str, list[float]]


class Day:
    """Measure one round of a labeler's day in a browser with an empty cache."""

    def __init__(self, browser: Browser, address: str, times: Times) -> None:
        self.address, self.times = address, times
        self.shifts: list[dict[str, Any]] = []
        self.context = browser.new_context(viewport=VIEWPORT, reduced_motion="reduce")
        self.context.add_init_script(path=SCRIPT)
        self.page = self._new_page()

    def _new_page(self) -> Page:
        page = self.context.new_page()
        page.set_default_timeout(300_000)
        page.on("pageerror", _fail)
        return page

    # -- Measuring ------------------------------------------------------------------------------------
    def open(self, name: str, path: str, change: str) -> None:
        """Measure a page from the start of its navigation."""
        self._note_shifts()
        self.page.goto(f"{self.address}/d/{SLUG}/{path}", wait_until="commit")
        self.times[name].append(self.page.evaluate("change => journey.sinceNavigation(change)", change))

    def measure(self, name: str, act: Callable[[], object], change: str = "page", event: str = "keydown") -> None:
        """Measure from the event of an act until the change that it causes is painted."""
        self.page.evaluate("([event, change]) => journey.arm(event, change)", [event, change])
        act()
        self.times[name].append(self.page.evaluate("journey.result()"))

    def press(self, name: str, key: str, change: str = "page") -> None:
        self.measure(name, lambda: self.page.keyboard.press(key), change)

    def choose(self, name: str, queue: str) -> None:
        """Measure the choice of a queue in the header's menu."""
        self.page.keyboard.press("q")
        button = self.page.locator(f'#queue-menu .queue[value="{queue}"]')
        self.measure(name, button.click, event="click")
        self._settle()

    def _note_shifts(self) -> None:
        if self.page.url != "about:blank":
            self.shifts += self.page.evaluate("journey.shifts")

    def _settle(self) -> None:
        """Wait as a person looks at the page, and until its form and menu belong to the queue."""
        self.page.wait_for_timeout(300)
        self.page.wait_for_function("() => !document.querySelector('#queues-slot.htmx-request')")

    # -- The day --------------------------------------------------------------------------------------
    def live(self) -> None:
        self.open("open the workbench", "", "open")
        self.page.locator("#queue-menu details").wait_for()
        self.turn_pages()
        for queue in QUEUES:
            self.choose(f"queue: {queue.capitalize()}", queue)
        for _ in range(PAGES_LABELED):
            self.label_page()
        self.look_closer()
        self.retrain()
        self.choose("queue: Sweep", "sweep")
        self.page.evaluate("size => localStorage.setItem('hoshina:tile-size', size)", SMALL)
        self.open("open the workbench, small tiles", "", "open")
        self.label_some(20)
        self.open("open the map", "map/", "map")
        self.open("open the accuracy page", "accuracy/", "whole")
        self._note_shifts()
        self.context.close()

    def turn_pages(self) -> None:
        for _ in range(PAGES_TURNED):
            self.press("next page", "n")
            self.page.wait_for_timeout(PACE)

    def label_page(self) -> None:
        """Label all tiles of a page, and measure each mark and the automatic turn to the next page."""
        n = self._n_tiles()
        for _ in range(n - 1):
            self.label(f"key to mark, {n} tiles")
        self.press("automatic page turn", self._key())
        self._settle()

    def label_some(self, n: int) -> None:
        n_tiles = self._n_tiles()
        for _ in range(n):
            self.label(f"key to mark, {n_tiles} tiles")

    def label(self, name: str) -> None:
        self.press(name, self._key(), "mark")
        self.page.wait_for_timeout(PACE)

    def look_closer(self) -> None:
        """Label an image and undo it, open the details of images, look for similar ones, and filter by state."""
        self.label("key to mark")
        self.press("undo", "z", "undone")
        self.press("detail: open", "Enter", "detail")
        for _ in range(3):
            self.press("detail: next image", "ArrowRight", "detail")
        self.page.keyboard.press("Escape")
        self.press("Similar", "s")
        self._settle()
        self.choose("queue: All", "all")
        state = self.page.locator("#choice-state")
        self.measure("filter by state", lambda: state.select_option("labelled"), event="change")
        self._settle()

    def retrain(self) -> None:
        """Measure from the key R until a page shows suggestions of the new model."""
        self.choose("queue: Uncertain", "uncertain")
        self.label("key to mark")
        self.press("key R to new suggestions", "r", "suggestions")
        self._settle()

    def _n_tiles(self) -> int:
        return self.page.locator("#grid .tile").count()

    def _key(self) -> str:
        """Return the key of the true class of the focused tile; a nine has no class and is unsure."""
        row = int(self.page.locator("#grid .tile.here").get_attribute("data-row") or 0)
        target = TARGETS[row % N_DIGITS]
        return self.keys[CLASSES[target]] if target < len(CLASSES) else "0"

    @cached_property
    def keys(self) -> dict[str, str]:
        """Return the key of each class by its name."""
        buttons = "buttons => buttons.map(({ dataset }) => [dataset.name, dataset.key])"
        return dict(self.page.locator("#class-pane [data-class]").evaluate_all(buttons))


def _fail(error: object) -> None:
    raise RuntimeError(f"The page's script failed: {error}")


@contextmanager
def running(store: Path) -> Iterator[str]:
    """Run `up` on a store: web server and workers. Yield its address."""
    port = _free_port()
    command = [sys.executable, "manage.py", "up", "--no-browser", "--no-token", "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, env=environment(store), stdout=subprocess.DEVNULL) as up:
        try:
            _wait_for(f"http://127.0.0.1:{port}")
            yield f"http://127.0.0.1:{port}"
        finally:
            up.terminate()


def journey(browser: Browser, store: Path, rounds: int) -> tuple[Times, list[dict[str, Any]]]:
    """Return the times of each wait, and the layout shifts, of some rounds of the day on a copy of the store."""
    times: Times = defaultdict(list)
    shifts: list[dict[str, Any]] = []
    with (
        tempfile.TemporaryDirectory(dir=store.parent) as folder,
        running(copied_store(store, Path(folder) / "store")) as address,
    ):
        for number in range(rounds):
            print(f"{store.name} items, round {number + 1}, load average {os.getloadavg()[0]:.1f}", flush=True)
            day = Day(browser, address, times)
            day.live()
            shifts += day.shifts
    return times, shifts


def report(items: list[int], measured: list[tuple[Times, list[dict[str, Any]]]]) -> None:
    """Print the table: a row for each wait, with p50 and p95 in milliseconds for each size."""
    print(f"\n{'milliseconds, p50 and p95':<34}" + "".join(f"{n:>22,}" for n in items))
    for name in measured[0][0]:
        print(f"{name:<34}" + "".join(_cell(times.get(name, [])) for times, _ in measured))
    for name, had_input in (("layout shift without input", False), ("layout shift after input", True)):
        sums = [sum(shift["value"] for shift in shifts if shift["hadInput"] == had_input) for _, shifts in measured]
        print(f"{name:<34}" + "".join(f"{value:>22.4f}" for value in sums))
    for n, (_, shifts) in zip(items, measured, strict=True):
        for shift in shifts:
            print(f"  {n:,} items: {shift['value']:.4f}{' after input' if shift['hadInput'] else ''}: {shift['moved']}")


def _cell(values: list[float]) -> str:
    if not values:
        return f"{'-':>22}"
    return f"{np.percentile(values, 50):>9.0f}{np.percentile(values, 95):>8.0f} ({len(values):>2})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "hoshina-journey")
    options = parser.parse_args()
    stores = [built_store(options.folder.absolute(), n) for n in options.items]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_ARGS)
        measured = [journey(browser, store, options.rounds) for store in stores]
        browser.close()
    report(options.items, measured)


if __name__ == "__main__":
    main()

"""The page of a map as a test sees it: where points are on the screen, and their colors."""

from typing import Any

import numpy as np
from playwright.sync_api import expect

from modeling.models import Projection
from sampling.maps.quantized import drawn_of
from tests.browser.bench import Bench

EDGE = 28  # pixels that the page leaves free around all points
RING = 3.5  # pixels from the middle of a large point to its line


class Map:
    """The open page: where points are on the screen, and the colours that they were drawn in."""

    def __init__(self, bench: Bench, projection: Projection) -> None:
        self.bench, self.page, self.projection = bench, bench.page, projection
        self.view = bench.page.locator("#map")

    def open(self, query: str = "queue=all") -> "Map":
        self.page.goto(f"{self.bench.url}map/?{query}")
        self.bench.ready()
        self.drawn()
        return self

    def drawn(self) -> None:
        expect(self.page.locator("#map-wait")).to_be_hidden()
        expect(self.view).to_have_attribute("data-drawn", "true")

    def spots(self) -> np.ndarray:
        """Return where each row's point is in the pane, (n, 2), while the whole map is shown."""
        box = self._box()
        points = drawn_of(self.projection).points.astype(float)
        low, high = points.min(axis=0), points.max(axis=0)
        scale = min((box["width"] - 2 * EDGE) / (high[0] - low[0]), (box["height"] - 2 * EDGE) / (high[1] - low[1]))
        away = (points - (low + high) / 2) * scale
        return np.stack([box["width"] / 2 + away[:, 0], box["height"] / 2 - away[:, 1]], axis=1)

    def colour(self, row: int) -> tuple[int, ...]:
        """Return the canvas's color of a row's point beside its center, where rings and discs are equally opaque."""
        x, y = self.spots()[row]
        found = self.page.evaluate(
            "([x, y]) => [...document.getElementById('map-points').getContext('2d').getImageData(x, y, 1, 1).data]",
            [float(x) + RING, float(y)],
        )
        return tuple(found[:3])

    def lasso(self, rows: np.ndarray, *, margin: float = 24) -> None:
        """Draw around the points of these rows, with Shift held."""
        box, spots = self._box(), self.spots()[rows]
        low, high = spots.min(axis=0) - margin, spots.max(axis=0) + margin
        corners = [(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1])]
        mouse = self.page.mouse
        self.page.keyboard.down("Shift")
        mouse.move(box["x"] + corners[0][0], box["y"] + corners[0][1])
        mouse.down()
        for x, y in corners[1:]:
            mouse.move(box["x"] + x, box["y"] + y, steps=8)
        mouse.up()
        self.page.keyboard.up("Shift")

    def click(self, spot: np.ndarray) -> None:
        box = self._box()
        self.page.mouse.click(box["x"] + spot[0], box["y"] + spot[1])

    def shows(self, rows: np.ndarray) -> None:
        """Wait until the tiles are those of exactly these rows."""
        self.page.wait_for_function(
            """rows => JSON.stringify([...document.querySelectorAll('#grid .tile')]
                .map(tile => Number(tile.dataset.row)).sort((a, b) => a - b)) === JSON.stringify(rows)""",
            arg=sorted(rows.tolist()),
        )

    def _box(self) -> Any:
        return self.view.bounding_box()

"""The workbench as a test sees it: tiles, keys, and what the database says."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, Request, expect

from labeling.models import Annotation, Dataset, Item


class Bench:
    """One open workbench."""

    def __init__(self, page: Page, address: str, dataset: Dataset) -> None:
        self.page, self.address, self.dataset = page, address, dataset
        self.sent: list[Request] = []
        page.on("request", lambda request: self.sent.append(request) if "/annotate/" in request.url else None)

    @property
    def url(self) -> str:
        return f"{self.address}/d/{self.dataset.slug}/"

    def open(self, query: str = "queue=all&state=unlabelled") -> Bench:
        """Open the page and wait for the tiles."""
        self.page.goto(f"{self.url}?{query}")
        self.ready()
        return self

    def ready(self) -> None:
        expect(self.page.locator("#grid:not(.is-waiting)")).to_be_visible()
        expect(self.page.locator(".tile.here, #grid.is-empty")).to_have_count(1)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    @property
    def tiles(self) -> Locator:
        return self.page.locator("#grid .tile")

    @property
    def focused(self) -> Locator:
        return self.page.locator("#grid .tile.here")

    @property
    def selected(self) -> Locator:
        return self.page.locator('#grid .tile[aria-selected="true"]')

    @property
    def banner(self) -> Locator:
        return self.page.locator("#banner")

    @property
    def toasts(self) -> Locator:
        return self.page.locator("#toasts")

    def n_tiles(self) -> int:
        return self.tiles.count()

    def index(self) -> int:
        """Return the place of the focused tile on the page."""
        return int(self.focused.evaluate("tile => [...tile.parentElement.querySelectorAll('.tile')].indexOf(tile)"))

    def columns(self) -> int:
        return int(self.page.locator("#grid").get_attribute("data-columns") or 0)

    def ids(self) -> list[int]:
        """Return the items of the tiles on the page, in order."""
        return [int(one) for one in self.tiles.evaluate_all("tiles => tiles.map(tile => tile.dataset.item)")]

    def states(self) -> list[str]:
        return list(self.tiles.evaluate_all("tiles => tiles.map(tile => tile.dataset.state)"))

    def chip(self, index: int) -> str:
        """Return the text of the tile's chip; "" without one."""
        chip = self.tiles.nth(index).locator(".chip")
        return chip.inner_text().replace("\n", " ").strip() if chip.is_visible() else ""

    def settle(self) -> None:
        """Wait until every label is with the server."""
        self.page.wait_for_function("""() => !document.querySelector('.tile[data-pending]')
            && !Object.keys(localStorage).some(key => key.startsWith('hoshina:outbox:'))""")

    def waiting(self) -> int:
        """Return how many actions wait in the browser."""
        return int(
            self.page.evaluate(
                "() => Object.keys(localStorage).filter(key => key.startsWith('hoshina:outbox:')).length"
            )
        )

    # -- The database's word
    def outcome(self, item_id: int) -> tuple[int, str]:
        """Return the item's state, and its class's name or ""."""
        item = Item.objects.select_related("label").get(pk=item_id)
        return item.state, item.label.name if item.label else ""

    def n_annotations(self) -> int:
        return Annotation.objects.filter(item__dataset=self.dataset).count()

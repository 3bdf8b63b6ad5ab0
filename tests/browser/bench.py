"""The workbench as a test sees it: tiles, keys, and what the database says."""

import re
import time
from collections.abc import Callable, Sequence

from playwright.sync_api import Locator, Page, Request, Route, expect

from labeling.models import Annotation, Dataset, Item
from tests.parts import BROWSER_TIMEOUT


def tell_job_finished(page: Page, *kinds: str) -> None:
    """Tell a page that jobs of these kinds have ended well, as its strip of jobs does."""
    detail = {"kinds": kinds, "states": dict.fromkeys(kinds, "succeeded")}
    page.evaluate("detail => document.body.dispatchEvent(new CustomEvent('hoshina:job-finished', { detail }))", detail)


def wait_while_the_page_runs(page: Page, condition: Callable[[], object], *, why: str) -> None:
    """Wait for what the page's requests bring about: their handlers run only while Playwright waits."""
    until = time.monotonic() + BROWSER_TIMEOUT / 1000
    while not condition():
        assert time.monotonic() < until, f"Waited in vain for {why}."
        page.wait_for_timeout(20)


def open_whole(page: Page, address: str) -> None:
    """Open a page and wait for all that it asks for by itself; "networkidle" would wait half a second longer."""
    running: set[Request] = set()

    def begin(request: Request) -> None:
        running.add(request)

    def end(request: Request) -> None:
        running.discard(request)

    page.on("request", begin)
    page.on("requestfinished", end)
    page.on("requestfailed", end)
    page.goto(address)
    n_quiet = 0
    while n_quiet < 4:
        page.wait_for_timeout(25)
        # The answer comes once the page has worked off what arrived before.
        is_waiting = page.evaluate("document.querySelector('.htmx-request, .htmx-settling, .htmx-swapping') !== null")
        n_quiet = 0 if running or is_waiting else n_quiet + 1
    page.remove_listener("request", begin)
    page.remove_listener("requestfinished", end)
    page.remove_listener("requestfailed", end)


class Held:
    """Holds requests that match a pattern until they are released, in the order that the test wants."""

    def __init__(self, page: Page, pattern: str | re.Pattern[str]) -> None:
        self.page, self.routes, self._is_open = page, list[Route](), False
        page.route(pattern, self._came)

    def _came(self, route: Route) -> None:
        if self._is_open:
            route.continue_()
        else:
            self.routes.append(route)

    def wait_for(self, n: int) -> None:
        wait_while_the_page_runs(self.page, lambda: len(self.routes) >= n, why=f"{n} requests")

    def release(self, at: int = 0) -> None:
        self.routes.pop(at).continue_()

    def let_others_pass(self) -> None:
        """Hold no further requests."""
        self._is_open = True

    def release_all(self) -> None:
        self.let_others_pass()
        while self.routes:
            self.release()


class Labeler:
    """A person who knows what the pictures show: each is named after its class, with a number behind."""

    def __init__(self, page: Page, classes: Sequence[str]) -> None:
        self.page, self.classes = page, classes
        self.labels: dict[str, str] = {}

    def add_classes(self) -> None:
        for name in self.classes:
            self.page.locator("#first-class-name").fill(name)
            self.page.keyboard.press("Enter")
            expect(self.page.locator(".first-classes-list")).to_contain_text(name)
            expect(self.page.locator("#first-class-name")).to_have_value("")
        self.page.keyboard.press("Escape")
        expect(self.page.locator("#class-pane [data-class]")).to_have_count(len(self.classes))

    def label(self, n: int) -> None:
        """Label the next ``n`` tiles, one key each; where a page ends, once the next one is there."""
        here, path = self.page.locator("#grid .tile.here"), ""
        for _ in range(n):
            expect(here).not_to_have_attribute("data-name", path)
            path = here.get_attribute("data-name") or ""
            name = re.sub(r"\d+\..*", "", path)
            self.page.keyboard.press(str(self.classes.index(name) + 1))
            self.labels[path] = name

    def settle(self) -> None:
        self.page.wait_for_function("() => !Object.keys(localStorage).some(key => key.startsWith('hoshina:outbox:'))")


class Bench:
    """One open workbench."""

    def __init__(self, page: Page, address: str, dataset: Dataset) -> None:
        self.page, self.address, self.dataset = page, address, dataset
        self.sent: list[Request] = []
        page.on("request", lambda request: self.sent.append(request) if "/annotate/" in request.url else None)

    @property
    def url(self) -> str:
        return f"{self.address}/d/{self.dataset.slug}/"

    def open(self, query: str = "queue=all&state=unlabelled") -> "Bench":
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

    def rows(self) -> list[int]:
        """Return the rows of the tiles on the page, in order."""
        return [int(row) for row in self.tiles.evaluate_all("tiles => tiles.map(tile => tile.dataset.row)")]

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
        script = "() => Object.keys(localStorage).filter(key => key.startsWith('hoshina:outbox:')).length"
        return int(self.page.evaluate(script))

    # -- The database's word
    def outcome(self, item_id: int) -> tuple[int, str]:
        """Return the item's state, and its class's name or ""."""
        item = Item.objects.select_related("label").get(pk=item_id)
        return item.state, item.label.name if item.label else ""

    def n_annotations(self) -> int:
        return Annotation.objects.filter(item__dataset=self.dataset).count()

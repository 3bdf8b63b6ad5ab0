"""Take a picture of every page at two widths, dark and light, for docs/reference/screens.md.

    uv run --group docs python docs/screens.py [PAGE ...]

Uses the collection ``clothes`` of screenshots.py. Needs Chromium. With names of pages, takes only these.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from screenshots import CHROMIUM, IMAGES, clothes, prepare, running

SCREENS = IMAGES / "screens"
PAGE = IMAGES.parent / "reference" / "screens.md"
WIDTHS = {1280: 800, 390: 800}
SCHEMES = ("dark", "light")
QUALITY = 60


def nothing(page: Page) -> None:
    """Leave the page as it opens."""


def press(*keys: str) -> Callable[[Page], None]:
    """Return a function that presses keys on the page, one after the other."""

    def act(page: Page) -> None:
        for key in keys:
            page.keyboard.press(key)
            page.wait_for_timeout(700)

    return act


def mark_two(page: Page) -> None:
    """Mark two tiles of a sweep as wrong."""
    for at in (1, 3):
        page.locator("#grid .tile").nth(at).click()


@dataclass(frozen=True)
class Screen:
    """Describe a page, or a state of it. ``path``: below the dataset's address; with a slash, from the root."""

    name: str
    title: str
    path: str
    act: Callable[[Page], None] = nothing


SCREENS_OF_DATASET = (
    Screen("label", "Label: images chosen by Auto", "?queue=auto"),
    Screen("queues", "The menu of queues", "?queue=auto", press("q")),
    Screen("detail", "Detail of the focused image", "?queue=auto", press("Enter")),
    Screen("sweep", "Sweep: one class at a time", "?queue=sweep", mark_two),
    Screen("suspects", "Suspects: labels that the model disagrees with", "?queue=suspects"),
    Screen("band", "Band: a range of probability", "?queue=band"),
    Screen("compare", "Compare an image with labeled ones", "?queue=uncertain", press("y")),
    Screen("guide", "The class guide", "guide/"),
    Screen("classes", "Classes", "classes/"),
    Screen("palette", "Find a page or a command", "?queue=auto", press("Control+k")),
    Screen("keys", "Keys", "?queue=auto", press("?")),
    Screen("map", "Map", "map/"),
    Screen("results", "Results", "results/"),
    Screen("progress", "Progress", "progress/"),
    Screen("model", "Model", "model/"),
    Screen("versions", "Two models side by side", "model/compare/?a=2&b=5"),
    Screen("accuracy", "Accuracy", "accuracy/"),
    Screen("quick", "Quick training", "quick/"),
    Screen("item", "An item on its own page", "items/3/"),
    Screen("fields", "Fields", "fields/"),
    Screen("export", "Import and export", "export/"),
    Screen("near-duplicates", "Near-duplicates", "near-duplicates/"),
    Screen("problems", "Problems", "problems/"),
    Screen("manage", "Settings of the dataset", "manage/"),
    Screen("images", "Settings of images", "images/"),
    Screen("encoders", "Encoders", "encoders/"),
    Screen("retraining", "Settings of retraining", "model/policy/"),
    Screen("datasets", "Datasets", "/datasets/"),
    Screen("jobs", "Jobs", "/jobs/"),
    Screen("disk", "Disk", "/disk/"),
    Screen("account", "Account, with tokens for programs", "/account/"),
    Screen("api", "Documentation of the REST API", "/api/docs"),
    Screen("help", "A page of the help", "/docs/explanation/queues/"),
    Screen("admin", "Admin", "/admin/labeling/labelclass/"),
)


def shoot(browser: Browser, address: str, screens: list[Screen]) -> None:
    """Take the pictures of ``screens`` at each width and in each scheme."""
    root = address.split("/d/")[0]
    for width, height in WIDTHS.items():
        for scheme in SCHEMES:
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme=scheme,  # type: ignore[arg-type]
                has_touch=width < 600,
                is_mobile=width < 600,
            )
            # The introduction belongs to new datasets, and the handle of a pane to none of the pages' subjects.
            page = context.new_page()
            for screen in screens:
                page.goto(root + screen.path if screen.path.startswith("/") else address + screen.path)
                page.wait_for_load_state("networkidle")
                page.wait_for_timeout(500)
                screen.act(page)
                page.wait_for_timeout(900)
                save(page, SCREENS / f"{screen.name}-{width}-{scheme}.webp")
            context.close()


def save(page: Page, target: Path) -> None:
    """Save the window as a WebP."""
    with Image.open(BytesIO(page.screenshot(animations="disabled"))) as image:
        image.convert("RGB").save(target, quality=QUALITY, method=6)
    print(target, target.stat().st_size // 1000, "kB")


def write_page() -> None:
    """Write the page that shows all pictures."""
    lines = [
        "<!-- Written by docs/screens.py. -->",
        "",
        "# Screens",
        "",
        "Every page with 3,000 images of Fashion-MNIST, of which 600 are labeled: on a computer and on a phone, dark",
        "and light.",
    ]
    for screen in SCREENS_OF_DATASET:
        lines += ["", f"## {screen.title}", ""]
        for width in WIDTHS:
            for scheme in SCHEMES:
                alt = f"{screen.title}, {width} pixels wide, {scheme}"
                share = 48 if width > 600 else 24
                lines.append(f"![{alt}](../images/screens/{screen.name}-{width}-{scheme}.webp){{ width={share}% }}")
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Take the pictures of all pages, or of those named."""
    SCREENS.mkdir(exist_ok=True)
    chosen = [screen for screen in SCREENS_OF_DATASET if screen.name in sys.argv[1:] or not sys.argv[1:]]
    with tempfile.TemporaryDirectory(prefix="hoshina-screens-") as folder:
        store = Path(folder)
        collection = clothes(store)
        prepare(collection, store)
        with running(collection, store) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
            shoot(browser, address, chosen)
            browser.close()
    write_page()


if __name__ == "__main__":
    main()

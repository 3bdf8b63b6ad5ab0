"""Take the pictures of the documentation from the running product.

    uv run --group docs python docs/screenshots.py [clothes] [digits]

``clothes``: 3,000 images of Fashion-MNIST (Zalando, MIT license), for the README: from the Debian package
``dataset-fashion-mnist``, or from the folder of its four files named by ``FASHION_MNIST``. ``digits``: ``up --demo``,
for the tutorial. Needs Chromium. Each run fills a store of its own, imports true labels in steps, retrains after each,
and takes the pictures.
"""

from __future__ import annotations

import csv
import gzip
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

BASE = Path(__file__).resolve().parent.parent
IMAGES = BASE / "docs" / "images"
FASHION = Path(os.environ.get("FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))
CLOTHES = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
CHROMIUM = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
SIZE = {"width": 1280, "height": 800}
MAX_BYTES = 300_000


@dataclass(frozen=True)
class Collection:
    """A folder of images with their true labels."""

    name: str
    folder: Path
    labels: list[tuple[str, str]]
    steps: tuple[int, ...]


def clothes(store: Path) -> Collection:
    """Write 3,000 test images of Fashion-MNIST."""
    with gzip.open(FASHION / "t10k-images-idx3-ubyte.gz") as stream:
        pixels = np.frombuffer(stream.read(), np.uint8, offset=16).reshape(-1, 28, 28)[:3000]
    with gzip.open(FASHION / "t10k-labels-idx1-ubyte.gz") as stream:
        classes = np.frombuffer(stream.read(), np.uint8, offset=8)[:3000]
    folder = store / "clothes"
    folder.mkdir()
    for number, image in enumerate(pixels):
        Image.fromarray(255 - image).save(folder / f"clothes{number:04d}.png")
    labels = [(f"clothes{number:04d}.png", CLOTHES[label]) for number, label in enumerate(classes.tolist())]
    return Collection("clothes", folder, labels, (60, 140, 260, 420, 600))


def digits(store: Path) -> Collection:
    """Write scikit-learn's digits, as ``up --demo`` does."""
    from sklearn.datasets import load_digits

    data = load_digits()
    folder = store / "digits"
    folder.mkdir()
    for number, image in enumerate(np.rint(data.images * (255 / 16)).astype(np.uint8)):
        Image.fromarray(image).save(folder / f"digit{number:04d}.png")
    labels = [(f"digit{number:04d}.png", str(label)) for number, label in enumerate(data.target.tolist())]
    return Collection("digits", folder, labels, (40, 90, 150))


def prepare(collection: Collection, store: Path) -> None:
    """Read the folder, then label and retrain in steps, and make a map."""
    manage(store, "ingest", "--data-dir", str(collection.folder), "--dataset", collection.name)
    manage(store, "embed")
    order = np.random.default_rng(4).permutation(len(collection.labels))
    for step in collection.steps:
        import_labels(collection, store, order[:step])
        manage(store, "retrain")
    manage(store, "project_map", "--seed", "1")


def import_labels(collection: Collection, store: Path, rows: NDArray[np.int64]) -> None:
    """Import the true labels of ``rows``, each class first in its own order so that keys follow it."""
    chosen = sorted((collection.labels[row] for row in rows.tolist()), key=lambda pair: position(pair[1]))
    file = store / "labels.csv"
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("path", "label"))
        writer.writerows(chosen)
    manage(store, "import_labels", str(file), "--create-classes")


def position(label: str) -> int:
    """Return the place of a class among its classes."""
    return CLOTHES.index(label) if label in CLOTHES else int(label) or 10


def environment(store: Path) -> dict[str, str]:
    """Return the environment of the product's processes."""
    return {**os.environ, "AL_STORE_DIR": str(store / "store"), "AL_TOKEN": "0"}


def manage(store: Path, *arguments: str) -> None:
    """Run a management command to its end."""
    subprocess.run([sys.executable, "manage.py", *arguments], cwd=BASE, env=environment(store), check=True)


@contextmanager
def running(collection: Collection, store: Path) -> Iterator[str]:
    """Run ``up``; yield the address of the dataset's workbench."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "manage.py", "up", str(collection.folder), "--no-browser", "--port", str(port)]
    process = subprocess.Popen([*command, "--dataset", collection.name], cwd=BASE, env=environment(store))
    try:
        wait_for(f"http://127.0.0.1:{port}/healthz")
        time.sleep(10)  # the folder is read once more
        yield f"http://127.0.0.1:{port}/d/{collection.name}/"
    finally:
        process.terminate()
        process.wait(60)


def wait_for(address: str) -> None:
    """Wait until the server answers."""
    for _ in range(120):
        try:
            with urllib.request.urlopen(address, timeout=5):  # noqa: S310 - our own server
                return
        except OSError:
            time.sleep(1)
    raise TimeoutError(f"{address} does not answer.")


@contextmanager
def window(browser: Browser, scheme: str) -> Iterator[Page]:
    """Open a page in light or dark."""
    context = browser.new_context(viewport=SIZE, device_scale_factor=1.5, color_scheme=scheme)  # type: ignore[arg-type]
    try:
        yield context.new_page()
    finally:
        context.close()


def tiles(page: Page, address: str) -> None:
    """Open a workbench and wait for its tiles and their pictures."""
    page.goto(address)
    page.locator("#grid .tile").first.wait_for(timeout=120_000)
    page.wait_for_load_state("networkidle")


def save(page: Page, name: str) -> None:
    """Save the window as a PNG with a palette, small enough for a repository."""
    page.wait_for_timeout(800)
    target = IMAGES / f"{name}.png"
    with Image.open(BytesIO(page.screenshot(animations="disabled"))) as image:
        picture = image.convert("RGB")
    for n_grays in (112, 56, 28):
        picture.quantize(palette=palette_of(picture, n_grays), dither=Image.Dither.NONE).save(target, optimize=True)
        if target.stat().st_size <= MAX_BYTES:
            break
    print(target, target.stat().st_size // 1000, "kB")


def palette_of(picture: Image.Image, n_grays: int) -> Image.Image:
    """Return a palette of grays and of the picture's colors, so that small dots of a class keep their color."""
    pixels = np.asarray(picture).reshape(-1, 3)
    colorful = pixels[np.ptp(pixels, axis=1) > 20]
    n_colors = 256 - n_grays
    strip = Image.fromarray(colorful[None]).quantize(n_colors, dither=Image.Dither.NONE)
    grays = np.repeat(np.linspace(0, 255, n_grays).astype(np.uint8), 3).tolist()
    palette = Image.new("P", (1, 1))
    palette.putpalette(grays + (strip.getpalette() or [])[: 3 * n_colors])
    return palette


def exceptions_on_page(page: Page, truth: dict[str, str]) -> list[str]:
    """Return the ids of the tiles of a sweep whose true label is not the one suggested."""
    return [
        str(tile.get_attribute("id"))
        for tile in page.locator("#grid .tile").all()
        if truth[tile.get_attribute("data-row") or ""] != tile.locator(".suggestion .name").inner_text()
    ]


def take_workbench(page: Page, address: str, truth: dict[str, str], name: str) -> None:
    """Take tiles with suggestions, the first of them just labeled."""
    tiles(page, f"{address}?queue=auto")
    page.keyboard.press("+")
    for tile in page.locator("#grid .tile").all()[:9]:
        label(page, truth[tile.get_attribute("data-row") or ""])
    page.locator("#grid .tile[data-pending]").first.wait_for(state="detached")
    save(page, name)
    page.keyboard.press("-")


def label(page: Page, name: str) -> None:
    """Give the focused image its class: by key, or by name for the tenth."""
    if position(name) < 9:
        page.keyboard.press(str(position(name) + 1) if name in CLOTHES else name)
    else:
        page.keyboard.press("/")
        page.keyboard.type(name)
        page.keyboard.press("Enter")
    page.wait_for_timeout(200)


def take_sweep(page: Page, address: str, truth: dict[str, str], name: str) -> None:
    """Take the sweep with the most exceptions, marked."""
    tiles(page, f"{address}?queue=sweep")
    classes = [option.get_attribute("value") for option in page.locator("#sweep-of option").all()]
    pages = [f"{address}?queue=sweep&of={of}&at_most=0.05" for of in classes]
    best, wrong = pages[0], -1
    for candidate in pages:
        page.goto(candidate)
        page.locator("#grid .tile, #grid.is-empty").first.wait_for(timeout=120_000)
        n_wrong = len(exceptions_on_page(page, truth))
        if wrong < n_wrong <= 5:
            best, wrong = candidate, n_wrong
    tiles(page, best)
    for tile in exceptions_on_page(page, truth):
        page.locator(f"#{tile}").click()
    save(page, name)


def take_map(page: Page, address: str, name: str) -> None:
    """Take the map, colored by predicted class."""
    tiles(page, f"{address}map/")
    page.locator("#map-wait").wait_for(state="hidden", timeout=60_000)
    page.locator("#map-by").select_option("predicted")
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(2500)
    save(page, name)


def take_model(page: Page, address: str, name: str) -> None:
    """Take the page of the newest model."""
    page.goto(f"{address}model/")
    page.wait_for_load_state("networkidle")
    page.get_by_role("heading", name="Reliability").evaluate("heading => heading.closest('section').scrollIntoView()")
    save(page, name)


def shoot_clothes(browser: Browser, address: str, truth: dict[str, str]) -> None:
    """Take the pictures of the README, light and dark."""
    for scheme in ("light", "dark"):
        with window(browser, scheme) as page:
            take_workbench(page, address, truth, f"workbench-{scheme}")
            take_sweep(page, address, truth, f"sweep-{scheme}")
            take_map(page, address, f"map-{scheme}")
            take_model(page, address, f"model-{scheme}")


def shoot_digits(browser: Browser, address: str, truth: dict[str, str]) -> None:
    """Take the pictures of the tutorial."""
    with window(browser, "light") as page:
        tiles(page, f"{address}?queue=auto")
        page.keyboard.press("c")
        page.locator("#dialog[open]").wait_for()
        save(page, "tutorial-classes")
        page.keyboard.press("Escape")
        tiles(page, f"{address}?queue=auto")
        save(page, "tutorial-labels")
        take_sweep(page, address, truth, "tutorial-sweep")
        take_map(page, address, "tutorial-map")
        take_model(page, address, "tutorial-model")


def main() -> None:
    """Take the pictures of the collections named."""
    IMAGES.mkdir(exist_ok=True)
    takes = {"clothes": (clothes, shoot_clothes), "digits": (digits, shoot_digits)}
    for name in sys.argv[1:] or takes:
        make, shoot = takes[name]
        with tempfile.TemporaryDirectory(prefix="hoshina-pictures-") as folder:
            store = Path(folder)
            collection = make(store)
            prepare(collection, store)
            truth = {str(row): label for row, (_, label) in enumerate(collection.labels)}
            with running(collection, store) as address, sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
                shoot(browser, address, truth)
                browser.close()


if __name__ == "__main__":
    main()

"""From an empty store to images on the screen without a terminal: a folder, uploaded images, the demo."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.axe import require_accessible, require_no_wider_than_the_window
from tests.factories import MakeFolder
from tests.parts import BROWSER_TIMEOUT, free_port
from tests.processes import Up

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide a home folder with images."""
    home = tmp_path_factory.mktemp("home")
    folder = home / "Pictures" / "night 1 & 2"
    folder.mkdir(parents=True)
    for number in range(7):
        Image.effect_noise((24, 24), 40 + number).save(folder / f"image{number:04d}.png")
    return home


@pytest.fixture(scope="module")
def running(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Provide a real server that was started without a folder, for all tests of this file."""
    running = Up(
        tmp_path_factory.mktemp("first") / "store", "--port", str(free_port()), HOME=str(home), AL_AUTOMATIC_MAPS="0"
    )
    running.wait_until_well()
    yield running
    running.end()


@pytest.fixture
def page(running: Up, browser: Browser) -> Iterator[Page]:
    """Provide the page of all datasets."""
    context = browser.new_context(base_url=f"http://127.0.0.1:{running.port}", reduced_motion="reduce")
    context.set_default_timeout(BROWSER_TIMEOUT)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto("/datasets/")
    yield page
    context.close()
    assert not errors, errors


def _see_tiles(page: Page, name: str, n: int) -> None:
    page.wait_for_url(f"**/d/{name}/")
    expect(page.locator("#grid .tile.here")).to_be_visible()
    expect(page.locator("[data-count=items]").first).to_have_text(f"{n:,}")


def test_three_ways_to_a_dataset(page: Page, picture_folder: MakeFolder) -> None:
    """Begin with an empty store: this is the first test of the file."""
    page.goto("/")
    expect(page.get_by_role("heading", name="Welcome")).to_be_visible()
    page.get_by_role("button", name="Choose a folder…").click()
    page.get_by_role("button", name="Pictures", exact=True).click()
    page.get_by_role("button", name="night 1 & 2").click()
    expect(page.locator(".folder-here")).to_contain_text("7 images")
    expect(page.locator(".folder-here img")).to_have_js_property("complete", True)
    assert page.locator(".folder-here img").evaluate("img => img.naturalWidth") == 24
    require_accessible(page)
    require_no_wider_than_the_window(page)
    page.get_by_role("button", name="Open this folder").click()
    _see_tiles(page, "night-1-2", 7)

    page.goto("/datasets/")
    page.get_by_label("Name of the dataset").fill("From my phone")
    images = picture_folder(60, name="phone")
    page.locator("#upload-images").set_input_files([*sorted(images.iterdir())])
    _see_tiles(page, "from-my-phone", 60)

    page.goto("/datasets/")
    page.get_by_role("button", name="Open the demo").click()
    _see_tiles(page, "digits", 1797)


def test_a_folder_among_many_is_found_by_name(page: Page, home: Path) -> None:
    for number in range(600):
        (home / "Pictures" / f"field {number:04}").mkdir()
    page.get_by_role("button", name="Choose a folder…").click()
    page.get_by_role("button", name="Pictures", exact=True).click()
    expect(page.locator("#folders")).to_contain_text("And 101 more folders")
    page.get_by_role("link", name="enter a path").click()
    expect(page.get_by_role("textbox", name="Folder", exact=True)).to_be_visible()
    page.get_by_label("Find a folder by name").press_sequentially("ld 05", delay=50)
    expect(page.locator(".folder-entries > li")).to_have_count(100)
    expect(page.get_by_label("Find a folder by name")).to_be_focused()
    page.keyboard.type("99")
    expect(page.get_by_label("Find a folder by name")).to_have_value("ld 0599")
    expect(page.locator(".folder-entries > li")).to_have_count(1)
    require_accessible(page)
    page.get_by_role("button", name="field 0599").click()
    expect(page.locator(".folder-here")).to_contain_text("field 0599")


def test_an_upload_that_fails_is_continued(page: Page, picture_folder: MakeFolder) -> None:
    n_requests = 0

    def fail_second(route: Route) -> None:
        nonlocal n_requests
        n_requests += 1
        route.abort() if n_requests == 2 else route.continue_()

    page.route("**/datasets/upload/**", fail_second)
    images = sorted(picture_folder(60, name="phone").iterdir())
    page.get_by_label("Name of the dataset").fill("Continued")
    page.locator("#upload-images").set_input_files(images)
    expect(page.locator("#upload-status")).to_contain_text("Choose the same images again to continue.")
    page.locator("#upload-images").set_input_files(images)
    _see_tiles(page, "continued", 60)


def test_dropped_files_and_what_is_not_an_image(page: Page) -> None:
    drop = """(name) => {
        const data = new DataTransfer();
        data.items.add(new File(["x"], name));
        document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
    }"""
    page.evaluate(drop, "notes.txt")
    expect(page.locator("#upload-status")).to_have_text("notes.txt is not an image in a format that HOSHINA reads.")
    page.evaluate(drop, "damaged.png")
    page.wait_for_url("**/d/uploaded-images/")
    expect(page.locator("main")).to_contain_text("has no readable images")

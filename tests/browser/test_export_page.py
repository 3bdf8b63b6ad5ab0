"""The Export page in a browser: layouts with their code, and the tick box for images keeps what was chosen."""

import io

from playwright.sync_api import Page, expect

from labeling.importing.save_table import import_labels
from tests.browser.bench import Bench
from tests.factories import decide, manifest, opened


def _images(page: Page) -> list[str]:
    """Download the archive and return the images in it."""
    with page.expect_download() as download:
        page.get_by_role("button", name="Download pictures.zip").click()
    archive = opened(download.value.path().read_bytes())
    names = [name for name in archive.namelist() if name.startswith("images/")]
    assert manifest(archive)["options"]["images"] is bool(names)
    return names


def test_images_are_ticked_and_stay_unticked(bench: Bench) -> None:
    decide(bench.dataset, "assign", [0, 1], "cat")
    page = bench.page
    page.goto(f"{bench.address}/d/{bench.dataset.slug}/export/")
    box = page.get_by_label("Image files of the labeled items")
    expect(box).to_be_checked()
    expect(page.locator("#images-size")).to_contain_text("files of 2 labeled images, 200 bytes in total")
    assert _images(page) == ["images/image0000.png", "images/image0001.png"]

    box.uncheck()
    page.locator("#id_seed").fill("7")
    with page.expect_response("**/export/?*seed=7*"):
        page.locator("#id_seed").press("Tab")
    expect(box).not_to_be_checked()
    assert _images(page) == []
    box.check()
    expect(box).to_be_checked()
    assert len(_images(page)) == 2


def test_a_layout_is_chosen_by_key_and_downloaded(bench: Bench) -> None:
    decide(bench.dataset, "assign", [0, 1], "cat")
    page = bench.page
    page.goto(f"{bench.address}/d/{bench.dataset.slug}/export/")
    page.get_by_label("Tables (CSV)").focus()
    with page.expect_response("**/export/?*layout=imagefolder*"):
        page.keyboard.press("ArrowDown")
    expect(page.get_by_label("Class folders")).to_be_checked()
    expect(page.get_by_label("Class folders")).to_be_focused()
    expect(page.get_by_label("Image files of the labeled items")).to_be_hidden()
    page.get_by_text("Load it with Keras").click()
    expect(page.get_by_label("Code for Keras")).to_contain_text("image_dataset_from_directory")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download pictures.zip").click()
    archive = opened(download.value.path().read_bytes())
    names = [name for name in archive.namelist() if name.endswith(".png")]
    assert len(names) == 2
    assert all(name.split("/")[1] == "cat" for name in names)
    assert manifest(archive)["options"]["layout"] == "imagefolder"


def test_an_import_is_undone_later_and_the_page_counts_again(bench: Bench) -> None:
    import_labels(bench.dataset, io.BytesIO(b"path,label\nimage0000.png,cat\nimage0001.png,cat\n"), user=None)
    page = bench.page
    page.goto(f"{bench.address}/d/{bench.dataset.slug}/export/")
    contents = page.get_by_role("region", name="Files")
    expect(contents).to_contain_text("2 labeled")
    page.locator("#past-imports").get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Undo the import").click()
    expect(page.get_by_text("The import was undone: 2 images went back")).to_be_visible()
    expect(contents).to_contain_text("0 labeled")

"""Facts from a CSV file to filtered, sorted images and a grouped export, with mouse and keyboard."""

import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from labeling.fields.metadata_table import Wish
from labeling.fields.save_table import import_fields
from labeling.models import Field
from tests.browser.axe import serious_violations
from tests.browser.bench import Bench
from tests.factories import opened, table
from tests.modeling.factories import import_labels

N = 60


def mass(row: int) -> int | None:
    return None if row % 10 == 9 else row * 17 % 60


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    """Write mass, band and night of 60 pictures, and of one that is missing."""
    lines = ["path,mass,band,night"]
    lines += [f"image{row:04d}.png,{mass(row) or '-'},{'grz'[row % 3]},{row // 6:04d}" for row in range(N)]
    file = tmp_path / "facts.csv"
    file.write_text("\n".join([*lines, "other.png,1,g,0000"]))
    return file


def _import(page: Page, bench: Bench, file: Path) -> None:
    page.goto(f"{bench.url}fields/")
    page.locator("#fields-file").set_input_files(file)
    page.get_by_role("button", name="Import").click()
    expect(page.locator("#fields-import")).to_contain_text("60 images imported")


def test_from_a_file_to_a_grouped_export(bench: Bench, page: Page, csv_file: Path) -> None:
    _import(page, bench, csv_file)
    expect(page.locator("#fields-import")).to_contain_text("1 of 61 lines not imported")
    expect(page.locator("#fields-list tbody tr")).to_have_count(3)
    expect(page.locator("#fields-list")).to_contain_text("text")
    assert serious_violations(page) == []

    # The same file again changes nothing, and says so.
    page.get_by_role("button", name="Import").click()
    expect(page.locator("#fields-import")).to_contain_text("No new values")

    bench.open("queue=all")
    page.get_by_label("Filter by").select_option(label="mass")
    page.get_by_label("mass from").fill("10")
    page.get_by_label("mass to").fill("30.5")
    page.keyboard.press("Enter")
    expect(page.locator("#field-controls .inside")).not_to_have_count(0)
    inside = [row for row in range(N) if mass(row) and 10 <= mass(row) <= 30.5]
    expect(bench.tiles).to_have_count(len(inside))
    assert bench.rows() == inside
    expect(page).to_have_url(re.compile(re.escape("f.mass=10..30.5")))

    page.get_by_label("Filter by").select_option(label="band")
    page.get_by_label("g 20").check()
    expect(bench.tiles).to_have_count(len([row for row in inside if row % 3 == 0]))
    page.get_by_label("r 20").check()
    both = [row for row in inside if row % 3 != 2]
    expect(bench.tiles).to_have_count(len(both))

    page.get_by_label("Sort by").select_option("mass")
    page.get_by_label("Order").select_option(label="descending")
    falling = sorted(both, key=lambda row: -(mass(row) or 0))
    expect(bench.tiles.first).to_have_attribute("data-row", str(falling[0]))
    assert bench.rows() == falling
    assert serious_violations(page) == []

    # The address alone shows the same to a colleague.
    page.reload()
    bench.ready()
    assert bench.rows() == falling
    page.get_by_role("button", name="Remove the filter by band").click()
    expect(bench.tiles).to_have_count(len(inside))

    # Detail has the facts.
    bench.press("Enter")
    expect(page.locator("#side")).to_contain_text("night")

    import_labels(bench.dataset, list(range(N)), np.zeros(N))
    page.goto(f"{bench.url}export/")
    page.get_by_label("Group by").select_option("night")
    expect(page.locator("#export")).to_contain_text("Images with the same night")
    page.get_by_label("Fields of the labeled items").check()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    archive = opened(download.value.path().read_bytes())
    splits = defaultdict(set)
    for line in table(archive, "splits.csv"):
        assert line["group"] == f"{int(line['path'][5:9]) // 6:04d}"
        splits[line["group"]].add(line["split"])
    assert [len(found) for found in splits.values()] == [1] * 10
    assert {split for found in splits.values() for split in found} == {"train", "val", "test"}
    assert table(archive, "metadata.csv")[3]["mass"] == "51"


def test_fields_are_renamed_changed_and_deleted(bench: Bench, page: Page, csv_file: Path) -> None:
    _import(page, bench, csv_file)
    page.get_by_label("Edit night").click()
    expect(page.get_by_label("Name", exact=True)).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.type("Band")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("already a field")
    page.keyboard.press("Control+a")
    page.get_by_label("Name", exact=True).fill("date")
    page.get_by_label("Kind").select_option("number")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#fields-list")).to_contain_text("Saved date.")
    page.get_by_label("Edit band").click()
    page.get_by_label("Kind").select_option("time")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("band stays text")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_label("Delete mass").click()
    # Not the same button twice.
    expect(page.locator("#fields-list")).to_contain_text("Delete this field and its values?")
    page.get_by_role("button", name="Delete mass").click()
    expect(page.locator("#fields-list")).to_contain_text("Deleted mass")
    assert list(Field.objects.values_list("name", "kind")) == [("band", "text"), ("date", "number")]


def test_what_is_being_typed_outlives_a_form_that_is_renewed(bench: Bench, page: Page, csv_file: Path) -> None:
    with csv_file.open("rb") as stream:
        import_fields(bench.dataset, stream, Wish())
    bench.open("queue=all&f.mass=..50")
    high = page.get_by_label("mass to")
    high.press("End")
    high.press_sequentially("9")
    with page.expect_response(lambda response: "/queues/?" in response.url or response.url.endswith("/queues/")):
        page.evaluate("document.body.dispatchEvent(new Event('hoshina:job-finished'))")
    expect(high).to_have_value("509")
    high.press("Enter")
    expect(page).to_have_url(re.compile(r"f\.mass=\.\.509"))

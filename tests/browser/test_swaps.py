"""Requests that meet: none aborts another, and an answer that comes late undoes nothing that a person did meanwhile."""

import io
import re

from playwright.sync_api import Page, expect

from labeling.fields.metadata_table import Wish
from labeling.fields.save_table import import_fields
from tests.browser.bench import Bench, Held
from tests.browser.conftest import Site


def test_a_preview_does_not_abort_the_measurement(sky: Bench) -> None:
    """The preview that a choice asks for starts while the limits are measured; both come."""
    page = sky.page
    page.goto(f"{sky.address}/d/pictures/images/")
    measuring, previews = Held(page, "**/images/limits/**"), Held(page, "**/images/preview/**")
    page.get_by_label("Stretch", exact=True).select_option("linear")
    page.get_by_role("button", name="Measure limits").click()
    measuring.wait_for(1)
    previews.wait_for(1)
    previews.release()
    page.wait_for_timeout(100)
    measuring.release_all()
    expect(page.get_by_label("White point")).to_have_value(re.compile(r"\d"))
    previews.wait_for(1)
    previews.release_all()
    expect(page.locator("#images-preview img").first).to_have_attribute("src", re.compile("high="))


def test_the_last_of_two_quick_choices_counts(site: Site, page: Page) -> None:
    dataset = site.dataset(12)
    lines = ["path,night,patient", *(f"image{row:04d}.png,n{row // 3},p{row // 4}" for row in range(12))]
    import_fields(dataset, io.BytesIO("\n".join(lines).encode()), Wish())
    page.goto(f"{site.address}/d/{dataset.slug}/fields/")
    held = Held(page, "**/fields/together/")
    choice = page.locator("#together-field")
    choice.select_option("night")
    held.wait_for(1)
    choice.select_option("patient")
    held.wait_for(2)
    held.release_all()
    expect(page.locator("#together-summary")).to_contain_text("3 groups")
    expect(page.locator("#together-field")).to_have_value("patient")
    page.reload()
    expect(page.locator("#together-field")).to_have_value("patient")


def test_what_is_typed_while_an_answer_is_on_its_way_stays(bench: Bench) -> None:
    page = bench.page
    bench.open()
    bench.press("1", "2")
    bench.settle()
    page.goto(f"{bench.url}export/")
    held = Held(page, re.compile(r"/export/\?"))
    page.locator("#id_images").click()
    held.wait_for(1)
    seed = page.get_by_label("Seed", exact=True)
    seed.fill("77")
    held.release()
    page.wait_for_timeout(300)
    expect(seed).to_have_value("77")
    seed.press("Tab")
    held.wait_for(1)
    held.release_all()
    expect(seed).to_have_value("77")
    expect(page.locator("#id_images")).to_be_checked(checked=page.locator("#id_images").is_checked())


def test_the_dialog_shows_what_was_asked_for_last(bench: Bench) -> None:
    page = bench.page
    bench.open()
    held = Held(page, re.compile(r"/classes/list/|/quick/$"))
    page.evaluate("document.getElementById('open-classes').click()")
    held.wait_for(1)
    page.evaluate("document.getElementById('open-quick').click()")
    held.wait_for(2)
    held.release(1)
    expect(page.locator("#dialog-body #quick")).to_be_visible()
    held.release_all()
    page.wait_for_timeout(300)
    expect(page.locator("#dialog-body #quick")).to_be_visible()
    expect(page.locator("#dialog-body #class-list")).to_have_count(0)

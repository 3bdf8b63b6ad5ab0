"""The page Progress in a browser: reached from the pages, read at any width, a goal set by keyboard."""

from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from hoshina.core.http import local_user
from labeling.models import Dataset
from tests.browser.axe import require_accessible, require_no_wider_than_the_window
from tests.browser.conftest import Site
from tests.factories import decide


@pytest.fixture
def labeled(site: Site) -> Dataset:
    dataset = site.make_dataset(60, classes=("cat", "dog"))
    for ago in reversed(range(4)):
        at = timezone.now() - timedelta(days=ago, minutes=5)
        decide(dataset, "assign", range(9 * ago, 9 * ago + 8), "cat", at=at, seconds=2.5, user=local_user())
        decide(dataset, "unsure", [9 * ago + 8], at=at, seconds=4.0, user=local_user())
    return dataset


@pytest.mark.parametrize("width", [390, 1280, 1920])
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_it_is_read_at_any_width(page: Page, site: Site, labeled: Dataset, width: int, scheme: str) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.goto(f"{site.address}/d/pictures/progress/")
    expect(page.get_by_role("region", name="How far?")).to_contain_text("36 of 60 images with a decision")
    expect(page.get_by_role("region", name="How fast?")).to_contain_text("9 decisions since")
    expect(page.get_by_role("region", name="When is it done?")).to_contain_text("95 % range")
    page.get_by_text("Learn more").click()
    page.get_by_text("Table", exact=True).click()
    require_accessible(page)
    require_no_wider_than_the_window(page)


def test_the_curve_is_read_by_keyboard(page: Page, site: Site, labeled: Dataset) -> None:
    page.goto(f"{site.address}/d/pictures/progress/")
    curve = page.get_by_role("application", name="Labels over time")
    curve.press("End")
    expect(page.locator("#plot-progress .plot-tip")).to_contain_text("32 labels")
    curve.press("ArrowLeft")
    expect(page.locator("#plot-progress .plot-tip")).to_contain_text("24 labels")


def test_a_goal_is_set_by_keyboard(page: Page, site: Site, labeled: Dataset) -> None:
    page.goto(f"{site.address}/d/pictures/progress/")
    page.get_by_text("Set a goal").press("Enter")
    value = page.get_by_label("Goal", exact=True)
    value.fill("0")
    value.press("Enter")
    expect(page.get_by_role("alert")).to_have_text(
        "The goal must be a whole number above 0. Leave it empty for every image."
    )
    require_accessible(page)
    value.fill("50")
    value.press("Enter")
    expect(page.get_by_role("region", name="How far?")).to_contain_text("32 of 50 labels")
    expect(page.locator("#plot-progress .plot-keys")).to_contain_text("goal")

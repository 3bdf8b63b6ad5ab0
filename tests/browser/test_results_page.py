"""The page Results in a browser: from the badge to the answers, from an answer to its images or its action."""

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from hoshina.jobs.lifecycle import run_now
from labeling.models import Dataset
from modeling.models import ModelVersion
from tests.browser.axe import require_accessible, require_no_wider_than_the_window
from tests.browser.conftest import Site
from tests.modeling.factories import add_three_kinds, import_labels


@pytest.fixture
def trained(site: Site) -> Dataset:
    """Provide three kinds that overlap, half of them labeled, with a real model."""
    dataset = site.make_dataset(180, classes=("cat", "dog", "wolf"))
    _, y = add_three_kinds(dataset, 180)
    y = np.array(y)
    y[:90:10] = (y[:90:10] + 1) % 3
    import_labels(dataset, list(range(90)), y)
    run_now("retrain", dataset_id=dataset.pk)
    return dataset


def test_from_the_badge_to_the_confused_images(page: Page, site: Site, trained: Dataset) -> None:
    page.goto(f"{site.address}/d/pictures/?queue=all")
    badge = page.locator("#badge")
    number = badge.locator("#share b").inner_text()
    badge.click()
    page.wait_for_url("**/d/pictures/results/")
    expect(page.locator(".answer-number b")).to_have_text(number)
    expect(page.locator(".answer-name")).to_have_text("Held-out accuracy of model 1")
    pair = page.get_by_role("region", name="Where is it wrong?").get_by_role("link").first
    n = int(pair.inner_text().split()[0])
    pair.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".tile")).to_have_count(n)


def test_the_next_step_is_one_button(page: Page, site: Site, trained: Dataset) -> None:
    page.goto(f"{site.address}/d/pictures/results/")
    page.get_by_role("link", name="Label 20 random images").click()
    page.wait_for_url("**/d/pictures/?queue=audit")
    ModelVersion.objects.update(is_chosen=True)
    import_labels(trained, [120], np.zeros(180, int))
    page.goto(f"{site.address}/d/pictures/results/")
    with page.expect_response("**/model/retrain/") as answered:
        page.get_by_role("button", name="Retrain").click()
    assert answered.value.status == 204


def test_methods_are_folded_away(page: Page, site: Site, trained: Dataset) -> None:
    page.goto(f"{site.address}/d/pictures/results/")
    expect(page.get_by_text("one column for each prediction")).to_be_hidden()
    page.get_by_text("Learn more").press("Enter")
    expect(page.get_by_text("one column for each prediction")).to_be_visible()
    require_accessible(page)


@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_the_recall_stays_in_sight_at_any_width(page: Page, site: Site, width: int) -> None:
    names = [f"a class with the long name {n}" for n in range(9)]
    dataset = site.make_dataset(18, classes=tuple(names))
    ids = list(dataset.classes.values_list("pk", flat=True))
    confusion = (np.eye(9, dtype=int) * 40 + 3).tolist()
    ModelVersion.objects.create(
        dataset=dataset, number=1, class_ids=ids, n_labels=600, n_rows=18, n_decisions=0, is_active=True,
        metrics={"accuracy": 0.6, "accuracy_interval": [0.5, 0.7], "confusion": confusion},
    )  # fmt: skip
    for path in ("results", "model"):
        page.set_viewport_size({"width": width, "height": 800})
        page.goto(f"{site.address}/d/pictures/{path}/")
        scroll = page.get_by_role("region", name="Confusion matrix")
        scroll.scroll_into_view_if_needed()
        for at in (0, 10_000):
            scroll.evaluate("(box, at) => { box.scrollLeft = at }", at)
            cells = scroll.locator("tbody tr").first
            recall, row = cells.locator("td").last.bounding_box(), cells.locator("th").bounding_box()
            assert recall is not None
            assert row is not None
            assert 0 <= row["x"] < recall["x"] < recall["x"] + recall["width"] <= width
        require_no_wider_than_the_window(page)

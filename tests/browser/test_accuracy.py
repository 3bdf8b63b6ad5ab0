"""Honest accuracy in a browser: reached from the model's page, read in dark and light, at any width."""

import pytest
from playwright.sync_api import Page, expect

from labeling.models import Dataset
from modeling.models import ModelVersion
from tests.browser.axe import require_accessible, require_no_wider_than_the_window, serious_violations
from tests.browser.conftest import Site
from tests.sampling.factories import POINTS, estimates_at


@pytest.fixture
def furnished(site: Site) -> Dataset:
    dataset = site.make_dataset(60, classes=("cat", "dog"))
    newest = estimates_at(dataset, POINTS)[-1]
    cat = dataset.classes.get(name="cat")
    newest.per_class = [{"class_id": cat.pk, "n": 20, "n_right": 18, "value": 0.9, "low": 0.699, "high": 0.972}]
    newest.save()
    ModelVersion.objects.filter(pk=newest.model_version_id).update(
        is_active=True,
        class_ids=[one.pk for one in dataset.classes.all()],
        metrics={"accuracy": 0.7, "accuracy_interval": [0.6, 0.8]},
    )
    return dataset


def test_from_the_models_page_to_the_chart(page: Page, site: Site, furnished: Dataset) -> None:
    page.goto(f"{site.address}/d/pictures/model/")
    expect(page.locator("#audited")).to_contain_text("86 % of all images, 95 % interval 74 to 93 %")
    page.get_by_role("link", name="How it is measured").click()
    expect(page.get_by_role("heading", name="Audited accuracy", exact=True)).to_be_visible()
    expect(page.locator("#plot-audited .s1 .dot[data-x]")).to_have_count(4)
    expect(page.locator("#plot-audited .s2 .band")).to_be_visible()
    expect(page.get_by_role("application", name="Audited accuracy by number of labels")).to_be_visible()
    expect(page.get_by_role("row", name="cat")).to_contain_text("70 to 97 %")
    require_accessible(page)
    require_no_wider_than_the_window(page)
    page.get_by_role("link", name="Audit", exact=True).first.click()
    page.wait_for_url("**/d/pictures/?queue=audit")


def test_the_workbench_tells_the_honest_number(page: Page, site: Site, furnished: Dataset) -> None:
    page.goto(f"{site.address}/d/pictures/?queue=all")
    expect(page.locator("#badge")).to_contain_text("86 %")
    expect(page.locator("#badge")).to_contain_text("(74 to 93)")
    assert serious_violations(page) == []

"""Honest accuracy in a browser: reached from the model's page, read in dark and light, at any width."""

import re

import pytest
from playwright.sync_api import Page, expect

from hoshina.core.http import local_user
from labeling.models import Dataset
from modeling.models import ModelVersion
from tests.browser.axe import require_accessible, require_no_wider_than_the_window, serious_violations
from tests.browser.conftest import Site
from tests.factories import decide
from tests.sampling.factories import POINTS, estimates_at

FLAT = [(n, 0.9, 5000) for n in (2000, 4000, 8000, 16_000)]


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


def test_the_forecast_says_what_another_point_takes(page: Page, site: Site, furnished: Dataset) -> None:
    for row in range(60):  # 60 decisions of two seconds each by the person who looks
        decide(furnished, "assign", [row], "cat", seconds=2.0, user=local_user())
    page.goto(f"{site.address}/d/pictures/accuracy/")
    next_point = page.locator("dt:text-is('Next point') + dd")
    sentence = (
        r"About [\d,]+ more labels \([\d.]+ \w+ at your pace\) for \+1 point \(95 % band [+-][\d.]+ to [+-][\d.]+\)"
    )
    expect(next_point).to_have_text(re.compile(sentence))
    expect(page.locator("#plot-audited .s2 .band")).to_be_visible()
    for width, scheme in ((1280, "light"), (390, "dark")):
        page.set_viewport_size({"width": width, "height": 844})
        page.emulate_media(color_scheme=scheme)
        expect(next_point).to_be_visible()
        require_no_wider_than_the_window(page)
        assert serious_violations(page) == []


def test_the_forecast_says_when_more_labels_hardly_help(page: Page, site: Site) -> None:
    estimates_at(site.make_dataset(60, classes=("cat", "dog")), FLAT)
    page.goto(f"{site.address}/d/pictures/accuracy/")
    expect(page.locator("dt:text-is('Next point') + dd")).to_contain_text("More labels would hardly help: 500 more")

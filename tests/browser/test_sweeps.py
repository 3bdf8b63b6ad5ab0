"""Sweeps in a real browser: a class with marks, a digit and one key; a group with one key, split; each one undo."""

import re

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from sampling.models import Check
from sampling.queues.pull import Filters, pull, ranked_rows
from sampling.queues.registry import STRATEGIES
from sampling.sweeps.queues import SweepParams
from tests.browser.axe import serious_violations
from tests.browser.bench import Bench
from tests.browser.conftest import Site
from tests.browser.factories import add_falling_model, label_counts
from tests.modeling.factories import add_vectors, import_labels
from tests.sampling.factories import decide_shown

N = 60


@pytest.fixture
def sweep(bench: Bench) -> Bench:
    add_falling_model(bench.dataset)
    cat = bench.dataset.classes.get(name="cat")
    return bench.open(f"queue=sweep&of={cat.pk}")


def test_a_class_is_swept_with_a_mark_a_digit_and_one_key(sweep: Bench, page: Page) -> None:
    n = sweep.n_tiles()
    assert n >= 10
    stage = page.locator("#stage")
    assert stage.evaluate("stage => stage.scrollHeight - stage.clientHeight") == 0, "bar and tiles fill the stage"
    bar = page.locator("#sweep-bar")
    expect(bar).to_contain_text(f"{n} images")
    expect(bar).to_contain_text("target: at most 1 % wrong")
    expect(bar).to_contain_text("not measured yet")
    n_later = page.locator("#grid .tile[data-later]").count()
    assert n_later == Check.objects.filter(dataset=sweep.dataset).count() >= 1
    plain = page.locator("#grid .tile:not([data-later])")
    wrong, also = plain.nth(1), plain.nth(3)
    wrong_id = int(wrong.get_attribute("data-item") or 0)

    wrong.click()
    expect(wrong).to_have_attribute("aria-selected", "true")
    also.click()
    sweep.press(" ")
    expect(also).to_have_attribute("aria-selected", "false")
    expect(bar).to_contain_text("1 marked")
    first = sweep.ids()
    sweep.press("2")
    expect(bar).to_contain_text("none marked yet")
    sweep.press("a")
    expect(page.locator("#grid .tile").first).not_to_have_id(f"item-{first[0]}")  # the page turned
    sweep.settle()
    assert label_counts(sweep.dataset) == {"cat": n - 1 - n_later, "dog": 1, "bird": 0}
    assert sweep.outcome(wrong_id) == (1, "dog")

    sweep.press("z")
    sweep.settle()
    assert label_counts(sweep.dataset) == {"cat": 0, "dog": 1, "bird": 0}, "one key takes back the whole page"
    expect(page.locator('#grid .tile[data-state="0"]')).to_have_count(n - 1)


def test_marked_tiles_keep_the_page_until_they_have_a_class(sweep: Bench, page: Page) -> None:
    n = sweep.n_tiles()
    ids = sweep.ids()
    page.locator("#grid .tile:not([data-later])").nth(2).click()
    page.locator("#sweep-bar").get_by_role("button", name=re.compile(r"(All|The other) \d+ are cat")).click()
    expect(page.locator('#grid .tile[data-state="0"]')).to_have_count(1)
    expect(sweep.selected).to_have_count(1)
    assert sweep.ids() == ids
    n_kept = page.locator("#grid .tile[data-later]").count()
    accepted = page.locator('#grid .tile[data-state="1"]')
    chips = accepted.locator(".chip").all_inner_texts()
    assert chips == ["accepted"] * (n - 1), "no check looks labeled, and nothing tells them from the others"
    for tile in accepted.all():
        expect(tile).to_have_attribute("aria-label", re.compile("^[^,]+, accepted, "))
    bar = page.locator("#sweep-bar")
    checks = "1 check" if n_kept == 1 else f"{n_kept} checks"
    expect(bar).to_contain_text(f"{n - 1 - n_kept} labeled as cat, {checks} kept back without a label. 1 marked: press")
    expect(bar.get_by_text("likely")).to_be_hidden()
    sweep.press("z")
    expect(bar.get_by_text("likely")).to_be_visible()
    expect(page.locator('#grid .tile[data-state="0"]')).to_have_count(n)
    expect(sweep.selected).to_have_count(1)
    sweep.press("a")
    expect(bar).to_contain_text("kept back without a label")
    sweep.press("3")
    expect(page.locator(f"#item-{ids[0]}")).to_have_count(0)
    sweep.settle()
    n_checks = Check.objects.filter(item__in=ids).count()
    assert label_counts(sweep.dataset) == {"cat": n - 1 - n_checks, "dog": 0, "bird": 1}


@pytest.fixture
def checks(bench: Bench, page: Page) -> Bench:
    """Accept pages of cats, so that three checks wait, and open them."""
    add_falling_model(bench.dataset)
    cat = bench.dataset.classes.get(name="cat")
    params = SweepParams(cat.pk, 0.5)
    for seed in range(3):
        round_ = pull(bench.dataset, STRATEGIES["sweep"], params, Filters(), seed=seed, holder="other", k=12)
        rows = [row for row in ranked_rows(round_).tolist() if row not in round_.params["facts"]["checks"]]
        decide_shown(bench.dataset, rows, "cat", queue="sweep", round_id=round_.pk)
    return bench.open("queue=checks")


def test_checks_come_back_as_a_page_without_suggestions_and_measure(checks: Bench, page: Page) -> None:
    bar = page.locator("#sweep-bar")
    expect(bar).to_contain_text("3 images from sweeps of this class, shown again")
    expect(bar).not_to_contain_text("likely")
    expect(page.locator("#grid .suggestion")).to_have_count(0)
    ids = checks.ids()
    assert set(ids) == set(Check.objects.values_list("item_id", flat=True))
    checks.tiles.nth(1).click()
    expect(bar).to_contain_text("1 marked")
    checks.press("a")
    expect(page.locator('#grid .tile[data-state="0"]')).to_have_count(1)
    checks.press("2")
    # What was marked comes back alone, and is decided without a bar.
    expect(checks.tiles).to_have_count(1)
    expect(page.locator("#sweep-bar")).to_have_count(0)
    assert checks.ids() == [ids[1]]
    expect(page.locator("#grid .chip .name")).to_have_text("")
    checks.press("2")
    expect(page.locator("#grid")).to_contain_text("No checks are waiting")
    checks.settle()
    assert checks.outcome(ids[0]) == (1, "cat")
    assert checks.outcome(ids[1]) == (1, "dog")
    checks.open("queue=sweep")
    decided = Check.objects.exclude(outcome=Check.Outcome.DEALT).values_list("outcome", flat=True)
    assert sorted(decided) == [Check.Outcome.RIGHT] * 2 + [Check.Outcome.WRONG]


def test_a_page_of_checks_is_undone_with_one_key(checks: Bench, page: Page) -> None:
    before = label_counts(checks.dataset)["cat"]
    ids = checks.ids()
    checks.press("a")
    expect(page.locator("#grid")).to_contain_text("No checks are waiting")
    checks.press("z")
    expect(checks.tiles).to_have_count(3)
    checks.settle()
    assert checks.ids() == ids
    assert label_counts(checks.dataset)["cat"] == before


@pytest.fixture
def alike(bench: Bench, ranked_at_once: None) -> Bench:
    """Provide vectors in four heaps of 15, the first by far the tightest; ranked by the server, not a worker."""
    rng = np.random.default_rng(0)
    heap = np.arange(N) % 4
    spread = np.where(heap == 0, 0.1, 2.0)[:, None]
    add_vectors(bench.dataset, (heap[:, None] * 10 + spread * rng.normal(size=(N, 6))).astype(np.float32))
    return bench.open("queue=groups&loose=1&looseness=2")


def test_a_group_is_labelled_with_one_key_and_taken_back_with_one(alike: Bench, page: Page) -> None:
    rows, ids = alike.rows(), alike.ids()
    assert len(rows) > 3
    assert {row % 4 for row in rows} == {0}
    expect(page.locator("#sweep-bar")).to_contain_text("all of them")
    alike.tiles.nth(1).click()
    alike.press("2")
    question = page.get_by_role("alertdialog")
    expect(question).to_contain_text(
        "No labeled pairs are this similar, so it is not known whether such images share a class. "
        f"Label all {len(ids) - 1} images as dog?"
    )
    alike.press("Escape")
    expect(question).to_have_count(0)
    assert alike.n_annotations() == 0, "one key labels nothing yet"
    alike.press("2", "2")
    expect(page.locator(f"#item-{ids[0]}")).to_have_count(0)
    alike.settle()
    assert label_counts(alike.dataset) == {"cat": 0, "dog": len(ids) - 1, "bird": 0}
    assert alike.outcome(ids[1]) == (0, "")
    alike.press("z")
    expect(alike.toasts).to_contain_text(f"Undid {len(ids) - 1} labels.")
    alike.settle()
    assert label_counts(alike.dataset) == {"cat": 0, "dog": 0, "bird": 0}


@pytest.mark.usefixtures("ranked_at_once")
def test_a_group_that_is_known_to_agree_takes_one_key_without_a_question(site: Site, page: Page) -> None:
    dataset = site.dataset(200)
    heap = np.arange(200) % 4
    noise = 0.1 * np.random.default_rng(0).normal(size=(200, 6))
    add_vectors(dataset, (heap[:, None] * 10 + noise).astype(np.float32))
    import_labels(dataset, list(range(140)), np.arange(140) % 2)
    bench = Bench(page, site.address, dataset).open("queue=groups")
    expect(page.locator("#sweep-bar")).to_contain_text("100.0 % (95 % interval")
    shown = bench.ids()
    assert len(shown) > 3
    bench.press("1")
    expect(page.locator(f"#item-{shown[0]}")).to_have_count(0)
    bench.settle()
    assert all(bench.outcome(one) == (1, "cat") for one in shown)


def test_looser_groups_are_shown_on_request(alike: Bench, page: Page) -> None:
    alike.open("queue=groups")
    expect(page.locator("#grid")).to_contain_text("Not enough labels for groups yet")
    page.get_by_label("Looser groups").check()
    expect(alike.tiles.first).to_be_visible()
    expect(page.locator("#sweep-bar .warn")).to_contain_text("No labeled pairs are this similar")
    page.get_by_label("Looser groups").uncheck()
    expect(page.locator("#grid.is-empty")).to_be_visible()
    page.get_by_role("link", name="Show looser groups").click()
    expect(alike.tiles.first).to_be_visible()


def test_a_group_is_split(alike: Bench, page: Page) -> None:
    ids = alike.ids()
    alike.press("t")
    expect(page.locator("#sweep-bar")).to_contain_text("Half a group")
    half = alike.ids()
    assert 0 < len(half) < len(ids)
    assert set(half) < set(ids)
    alike.press("p")
    expect(alike.tiles).to_have_count(len(ids))


def test_an_empty_sweep_says_what_to_do(bench: Bench, page: Page) -> None:
    add_falling_model(bench.dataset)
    import_labels(bench.dataset, list(range(40)), np.zeros(40))
    bench.open(f"queue=sweep&of={bench.dataset.classes.get(name='cat').pk}")
    expect(page.locator("#grid")).to_contain_text("No cat left to sweep")
    bench.open("queue=sweep&of=99999")
    expect(page.locator("#grid")).to_contain_text("was not trained on this class")


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_axe_finds_nothing(sweep: Bench, page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    sweep.tiles.nth(1).click()
    expect(page.locator("#queues #sweep-of")).to_be_visible()
    assert serious_violations(page) == []

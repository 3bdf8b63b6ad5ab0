"""Quick training from the header: a run to its end, with its curves and what it changes; another that is cancelled."""

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.factories import write_digits
from tests.parts import free_port, wait_until
from tests.processes import Up, run_python

SLOW = 600_000  # TensorFlow alone takes many seconds to load where several processes share two cores


@pytest.fixture
def running(up: Callable[..., Up], tmp_path: Path) -> Up:
    """Provide ninety handwritten digits of three kinds, sixty of them labelled, with a first assistive model."""
    files = write_digits(tmp_path / "digits", ("zero", "one", "two"), 30)
    rows = [(file, file[:-6]) for number, file in enumerate(files) if number % 30 < 20]
    labels = tmp_path / "labels.csv"
    with labels.open("w", newline="") as stream:
        csv.writer(stream).writerows([("path", "label"), *rows])
    one = up(str(tmp_path / "digits"), "--port", str(free_port()))
    one.wait_until_well()
    wait_until(lambda: one.query("select n_vectors from modeling_embeddingset") == [(90,)], why="the vectors")
    run_python("manage.py", "import_labels", labels, "--create-classes", store=tmp_path / "store")
    wait_until(lambda: one.query("select number from modeling_modelversion where is_active") == [(1,)], why="a model")
    return one


@pytest.fixture
def page(browser: Browser, running: Up) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(f"http://127.0.0.1:{running.port}/d/digits/?queue=all&state=unlabelled")
    expect(page.locator("#grid .tile").first).to_be_visible()
    yield page
    page.close()


def _begin(page: Page, epochs: int) -> None:
    """Start a small network with random weights, so that no weights are needed."""
    page.locator("#open-quick").click()
    expect(page.locator("#quick")).to_contain_text(" train, ")
    page.locator(".quick-more summary").click()
    page.locator("#id_weights").select_option("random")
    page.get_by_label("Whole network").check()
    page.locator("#id_image_side").fill("32")
    page.locator("#id_epochs").fill(str(epochs))
    page.locator("#id_early_stopping").fill("0")
    page.get_by_label("Use the model as soon as it is trained").check()
    page.locator("#quick-start").click()
    expect(page.locator("#quick-live")).to_be_visible()


def _suggestions(page: Page) -> list[str]:
    return page.locator("#grid .tile .suggestion").all_inner_texts()


def test_a_training_runs_to_its_end_while_labelling_goes_on(page: Page, running: Up) -> None:
    before = _suggestions(page)
    _begin(page, epochs=12)
    strip = page.locator('.strip-job[data-kind="quick_train"]')
    expect(strip).to_contain_text(re.compile(r"Quick training: Training: epoch \d+ of 12"), timeout=SLOW)
    expect(page.locator("#quick-live figure.plot")).to_have_count(2, timeout=SLOW)
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    wait_until(lambda: running.query("select n_labelled from labeling_dataset") == [(61,)], why="the label")
    expect(page.locator("#badge")).to_contain_text("model 2", timeout=SLOW)

    page.locator("#open-quick").click()
    expect(page.locator(".quick-last")).to_contain_text(
        re.compile(r"Model 2 is in use: held-out accuracy\s+\d+ %\s+on 9")
    )
    page.keyboard.press("Escape")
    [(kind, is_chosen, rows)] = running.query(
        "select kind, is_chosen, n_rows from modeling_modelversion where number = 2"
    )
    assert (kind, is_chosen, rows) == ("quick", 1, 90)
    page.reload()
    expect(page.locator("#grid .tile").first).to_be_visible()
    after = _suggestions(page)
    assert len(after) == len(before) - 1 > 0
    assert after != before[1:]
    page.keyboard.press("r")  # the assistive model is back with the next retrain
    expect(page.locator("#badge")).to_contain_text("model 3", timeout=SLOW)
    assert running.query("select number, kind from modeling_modelversion where is_active") == [(3, "assistive")]


def test_a_cancelled_training_keeps_its_best_weights(page: Page, running: Up) -> None:
    _begin(page, epochs=200)
    expect(page.locator("#quick-live figure.plot")).to_have_count(2, timeout=SLOW)
    page.locator("#quick-cancel").click()
    last = page.locator(".quick-last")
    expect(last).to_contain_text("The best weights so far are kept: epoch", timeout=SLOW)
    [(state, result)] = running.query("select state, result from jobs_job where kind = 'quick_train'")
    assert state == "cancelled"
    assert json.loads(result)["kept"]["epoch"] >= 1
    assert running.query("select max(number) from modeling_modelversion") == [(1,)], "nothing changed by itself"
    page.locator("#quick-finish").click()
    expect(last).to_contain_text("Model 2 is in use", timeout=SLOW)

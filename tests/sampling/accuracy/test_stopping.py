"""Test what the page says about the cost of another point of accuracy."""

from __future__ import annotations

import json
import re
from io import StringIO

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from labeling.models import Annotation
from sampling.accuracy.estimate import measured, outlook
from sampling.accuracy.stopping import Gain, Stopping, stopping
from sampling.algorithms.learning_curves import forecast_gain
from sampling.models import AccuracyEstimate
from tests.factories import MakeDataset
from tests.sampling.factories import POINTS, decide_shown, estimates_at

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]
STEEP = [(n, 0.95 - 2 * n**-0.5, n) for n in (100, 200, 400, 800)]
FLAT = [(n, 0.9, 5000) for n in (2000, 4000, 8000, 16_000)]


def stop(make_dataset: MakeDataset, points: list[tuple[int, float, int]]) -> Stopping:
    estimates = estimates_at(make_dataset(1), points)
    found = stopping(estimates, outlook(estimates))
    assert found is not None
    return found


def test_labels_for_a_point_are_the_first_number_that_gains_one(make_dataset: MakeDataset) -> None:
    found = stop(make_dataset, STEEP)
    assert found.gain.value == pytest.approx(0.01, abs=0.002)
    on_curve = 2 * (800**-0.5 - (800 + found.gain.labels) ** -0.5)
    assert on_curve == pytest.approx(0.01, abs=0.003)
    assert found.gain.low < 0.01 < found.gain.high
    again = forecast_gain(
        *measured(list(AccuracyEstimate.objects.order_by("pk"))), [800 + found.gain.labels - 10],
        rng=np.random.default_rng(0),
    )  # fmt: skip
    assert again.values[0] < 0.01
    assert found.of_many is not None
    assert found.of_many.labels == 500
    assert found.pays
    assert found.note == ""


def test_more_labels_no_longer_pay_where_the_curve_is_flat(make_dataset: MakeDataset) -> None:
    found = stop(make_dataset, FLAT)
    assert not found.pays
    assert re.fullmatch(
        r"More labels would hardly help: 500 more are expected to gain 0\.0 points \(at most 0\.\d\)\.", found.note
    )
    assert found.sentence().startswith("No gain expected from 37,000 more labels (95 % band -")


def test_sentences() -> None:
    point = Stopping(Gain(120, 0.0104, 0.002, 0.0231), None)
    assert point.sentence(10.0) == (
        "About 120 more labels (20 min at your pace) for +1 point (95 % band +0.2 to +2.3), if the trend continues."
    )
    assert point.sentence() == ("About 120 more labels for +1 point (95 % band +0.2 to +2.3), if the trend continues.")
    assert point.pays, "500 more can't be forecast yet"
    less = Stopping(Gain(900, 0.0042, -0.001, 0.02), Gain(500, 0.003, -0.001, 0.02))
    assert less.sentence().startswith("About 900 more labels for +0.4 points (95 % band -0.1 to +2.0)")
    assert less.pays, "the band doesn't exclude a point"


def test_nothing_is_said_without_a_forecast(make_dataset: MakeDataset, client: Client) -> None:
    estimates = estimates_at(make_dataset(1), [(40, 0.5, 4), (60, 0.6, 6), (90, 0.7, 9)])
    assert stopping(estimates, outlook(estimates)) is None
    assert "Next point" not in client.get("/d/pictures/accuracy/").content.decode()


def test_the_page_and_the_command_say_it(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(30)
    estimates = estimates_at(dataset, POINTS)
    found = stopping(estimates, outlook(estimates))
    assert found is not None
    url = "/d/pictures/accuracy/"
    assert found.sentence() in client.get(url).content.decode()
    decide_shown(dataset, list(range(12)), "cat", queue="uncertain")
    Annotation.objects.update(seconds=30.0, annotator=User.objects.get())  # the local user
    page = client.get(url).content.decode()
    assert found.sentence(30.0) in page
    assert "at your pace" in page
    out = StringIO()
    call_command("accuracy", "--json", stdout=out)
    gain = found.gain
    assert json.loads(out.getvalue())["next_point"] == {
        "labels": gain.labels, "gain": gain.value, "interval": [gain.low, gain.high], "pays": True,
    }  # fmt: skip
    out = StringIO()
    call_command("accuracy", stdout=out)
    assert found.sentence() in out.getvalue()


def test_the_note_is_on_the_page(make_dataset: MakeDataset, client: Client) -> None:
    estimates_at(make_dataset(1), FLAT)
    assert "More labels would hardly help" in client.get("/d/pictures/accuracy/").content.decode()
    out = StringIO()
    call_command("accuracy", stdout=out)
    assert "More labels would hardly help" in out.getvalue()


def test_an_interval_narrower_than_that_of_the_labels_alone_is_explained(
    make_dataset: MakeDataset, client: Client
) -> None:
    newest = estimates_at(make_dataset(1), POINTS)[-1]
    url, sentence = "/d/pictures/accuracy/", "as narrow as that of 60 labels"
    assert sentence not in client.get(url).content.decode()
    halving = re.compile(r"with (\d+) more label")
    before = halving.search(client.get(url).content.decode())
    AccuracyEstimate.objects.filter(pk=newest.pk).update(n_effective=60)
    page = client.get(url).content.decode()
    assert sentence in page
    after = halving.search(page)
    assert before is not None
    assert after is not None
    assert abs(int(after[1]) - int(before[1])) <= 5, "each label narrows it as much as the last ones did"

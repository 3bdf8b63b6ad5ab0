"""The page and the command of audited accuracy, its line on the model's page, and the manifest."""

import json
import re

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from labeling.models import Dataset
from modeling.models import ModelVersion
from modeling.versions.audited_accuracy import share_text
from sampling.accuracy.estimate import history, latest, outlook
from sampling.accuracy.views import estimates_plot
from sampling.models import AccuracyEstimate
from tests.factories import (
    MakeDataset,
    archive_bytes,
    assert_contains,
    command_json,
    command_output,
    count_queries,
    manifest,
    not_none,
    opened,
    said,
)
from tests.modeling.factories import make_version
from tests.sampling.factories import POINTS, estimates_at

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]
PAGE = "/d/pictures/accuracy/"


@pytest.fixture
def furnished(make_dataset: MakeDataset) -> Dataset:
    """Provide four versions with an estimate each; the newest tells the recall of one class of two."""
    dataset = make_dataset(30)
    newest = estimates_at(dataset, POINTS)[-1]
    cat = dataset.classes.get(name="cat")
    newest.per_class = [{"class_id": cat.pk, "n": 20, "n_right": 18, "value": 0.9, "low": 0.699, "high": 0.972}]
    newest.n_undecided = 2
    newest.save()
    ModelVersion.objects.filter(pk=newest.model_version_id).update(is_active=True)
    return dataset


def words(client: Client, url: str = PAGE) -> str:
    return said(client.get(url))


def test_the_number_never_comes_without_its_interval(furnished: Dataset, client: Client) -> None:
    newest = not_none(latest(furnished))
    share = share_text(newest.value, newest.low, newest.high)
    shown = words(client)
    assert f"{share.value} % 95 % interval {share.low} to {share.high} %" in shown
    assert_contains(shown, "50 labels of a random sample, of which 43", "2 more are unsure or skipped")
    assert_contains(shown, "Audited accuracy", "predicts this share of all images in the dataset correctly")
    assert "90 % 70 to 97 %" in shown, "recall of cats"
    assert "fewer than 10 sampled" in shown, "dogs"
    assert f"{share} with 480 more labels" not in shown
    assert re.search(r"about \d+ % \(\d+ to \d+\) with 480 more labels", shown)


@pytest.mark.usefixtures("furnished")
def test_how_many_more_labels_halve_the_interval(client: Client) -> None:
    found = not_none(re.search(r"with (\d+) more labels in the queue Audit", words(client)))
    assert 120 < int(found[1]) < 170, "four times as many labels halve it, about"
    assert '/d/pictures/?queue=audit"' in client.get(PAGE).content.decode()


def test_without_a_model_and_without_audit_labels_the_next_step_is_said(
    make_dataset: MakeDataset, client: Client
) -> None:
    dataset = make_dataset(3)
    assert "There is no model yet" in words(client)
    make_version(dataset, class_ids=[], is_active=True)
    assert "Label 20 images in the queue Audit" in words(client)
    assert "not known yet" in words(client, f"{PAGE}honest/")


def test_too_few_audit_labels_for_a_forecast(make_dataset: MakeDataset, client: Client) -> None:
    estimates_at(make_dataset(3), [(40, 0.5, 4), (60, 0.6, 6), (90, 0.7, 9)])
    shown = words(client)
    assert "A forecast needs 20 audit labels; there are 9. Label" in shown
    assert "dashed" not in shown


@pytest.mark.usefixtures("furnished")
def test_the_models_page_asks_for_the_number(client: Client) -> None:
    assert f'hx-get="{PAGE}honest/"' in client.get("/d/pictures/model/").content.decode()
    told_there = words(client, f"{PAGE}honest/")
    assert_contains(told_there, "86 % of all images, 95 % interval 74 to 93 %", "from a random sample of 50 images")


@pytest.mark.usefixtures("furnished")
def test_the_badge_names_the_audited_accuracy_and_otherwise_the_held_out_one(client: Client) -> None:
    url, badge_url = f"{PAGE}share/", "/d/pictures/model/badge/"
    active = ModelVersion.objects.get(is_active=True)
    active.metrics = {"accuracy": 0.7, "accuracy_interval": [0.6, 0.8]}
    active.save()
    for shown in (words(client, url), words(client, badge_url)):
        assert_contains(shown, "audited accuracy 86 % (74 to 93)", lacks=["70 %"])
    AccuracyEstimate.objects.filter(model_version=active).delete()
    assert re.search(r"audited accuracy \d+ % \(\d+ to \d+\) of model 3", words(client, badge_url)), "an older one"
    assert client.post(url).status_code == 405
    AccuracyEstimate.objects.all().delete()
    assert client.get(url).status_code == 204
    assert "held-out accuracy 70 % (60 to 80)" in words(client, badge_url)
    assert "audited" not in words(client, badge_url)
    assert_contains(words(client), "Not known yet", "held-out accuracy: 70 % (95 % interval 60 to 80 %)")


@pytest.mark.usefixtures("furnished")
def test_versions_show_both_accuracies_by_name(client: Client) -> None:
    versions = words(client, "/d/pictures/model/versions/")
    assert_contains(versions, "Audited accuracy Held-out accuracy Calibration error", "86 % 74 to 93")
    assert "Audited accuracy" in words(client, "/d/pictures/model/")
    side_by_side = words(client, "/d/pictures/model/compare/?a=3&b=4")
    assert re.search(r"Audited accuracy \d+ % \d+ to \d+ 86 % 74 to 93 Held-out accuracy", side_by_side)


@pytest.mark.usefixtures("furnished")
def test_the_page_is_reachable_and_marks_itself(client: Client) -> None:
    assert f'href="{PAGE}" aria-current="page"' in client.get(PAGE).content.decode()
    assert client.get("/d/nothing/accuracy/").status_code == 404
    assert client.post(PAGE).status_code == 405
    assert client.post(f"{PAGE}honest/").status_code == 405


@pytest.mark.usefixtures("furnished")
def test_signing_in_is_asked_for_when_it_is_required(client: Client, settings: object) -> None:
    settings.LOGIN_REQUIRED = True  # type: ignore[attr-defined]
    assert client.get(PAGE).status_code == 302
    response = client.get(f"{PAGE}honest/", headers={"HX-Request": "true"})
    assert (response.status_code, response.headers["HX-Redirect"]) == (401, "/sign-in/")
    client.force_login(User.objects.create(username="ana"))
    assert client.get(PAGE).status_code == 200


def test_queries_do_not_grow_with_versions(make_dataset: MakeDataset, client: Client) -> None:
    counted = []
    make_dataset(1)
    client.get(PAGE)  # the first answer of a process asks more
    for name, n in (("few", 3), ("many", 40)):
        estimates_at(make_dataset(2, name=name), [(20 * k, 0.7, 20 + k) for k in range(1, n + 1)])
        assert client.get(f"/d/{name}/accuracy/").status_code == 200
        counted.append(count_queries(client.get, f"/d/{name}/accuracy/"))
    assert counted[0] == counted[1]


def _places(path: str) -> np.ndarray:
    """Return the corners of a path of SVG, (n, 2)."""
    return np.array([corner.split() for corner in path.strip("MZ").split("L")], float)


def test_everything_drawn_lies_inside_the_chart(furnished: Dataset) -> None:
    estimates = history(furnished)
    plot = estimates_plot(estimates, outlook(estimates))
    audited, forecast = plot.curves
    assert (len(audited.dots), audited.line, forecast.name) == (4, "", "forecast")
    for dot in audited.dots:
        _, top, bottom = (float(number) for number in re.findall(r"[0-9.]+", dot.bar))
        assert 0 <= top <= float(dot.y) <= bottom <= 100
    for path in (forecast.line, forecast.band):
        assert ((_places(path) >= 0) & (_places(path) <= 100)).all()
    lefts = [float(dot.x) for dot in audited.dots]
    assert lefts == sorted(lefts)
    assert 4 <= len(plot.x_ticks) <= 12
    assert 3 <= len(plot.y_ticks) <= 7
    assert _places(forecast.line)[0, 1] == pytest.approx(float(audited.dots[-1].y), abs=0.1)


@pytest.mark.parametrize("n_labels", [3, 9, 12, 99, 100, 101, 4999, 123_456])
@pytest.mark.parametrize("value", [0.0, 0.3, 0.97, 1.0])
def test_any_estimate_can_be_drawn(make_dataset: MakeDataset, n_labels: int, value: float) -> None:
    plot = estimates_plot(estimates_at(make_dataset(1), [(n_labels, value, 5)]), outlook([]))
    (dot,) = plot.curves[0].dots
    assert 0 <= float(dot.x) <= 100
    _, top, bottom = (float(number) for number in re.findall(r"[0-9.]+", dot.bar))
    assert 0 <= top <= float(dot.y) <= bottom <= 100
    assert 2 <= len(plot.x_ticks) <= 12
    assert len({tick.text for tick in plot.y_ticks}) == len(plot.y_ticks) >= 3


def test_shares_have_as_many_digits_as_the_interval_allows() -> None:
    assert str(share_text(0.924, 0.881, 0.953)) == "92 % (88 to 95)"
    assert str(share_text(0.924, 0.911, 0.933)) == "92.4 % (91.1 to 93.3)"


def test_command_in_words_and_json(furnished: Dataset) -> None:
    first = command_output("accuracy", "--json")
    told_there = json.loads(first)
    assert {"accuracy", "interval", "n_audit", "model_version", "per_class", "forecast"} <= set(told_there)
    newest = not_none(AccuracyEstimate.objects.first())
    assert (told_there["accuracy"], told_there["interval"]) == (newest.value, [newest.low, newest.high])
    assert (told_there["n_audit"], told_there["model_version"]) == (50, 4)
    assert told_there["per_class"] == [{"class": "cat", "n": 20, "recall": 0.9, "interval": [0.699, 0.972]}]
    assert told_there["forecast"]["labels"] == 960
    low, high = told_there["forecast"]["interval"]
    assert low <= told_there["forecast"]["accuracy"] <= high
    again = command_output("accuracy", "--json", "--dataset", furnished.name)
    assert again == first, "a forecast says the same again"
    out = command_output("accuracy")
    assert_contains(out, "95 % interval 73.8% to 93.0%", "cat: recall 90.0%")
    assert "more audit labels would halve the interval" in out


def test_command_without_anything_to_tell(make_dataset: MakeDataset) -> None:
    with pytest.raises(CommandError, match="no dataset yet"):
        call_command("accuracy")
    make_dataset(3)
    told_there = command_json("accuracy")
    assert told_there["accuracy"] is told_there["interval"] is told_there["forecast"] is None
    assert "label 20 images of the queue Audit" in told_there["note"]
    assert "Not known yet" in command_output("accuracy")


def test_the_manifest_tells_it_and_stays_the_same(furnished: Dataset, make_dataset: MakeDataset) -> None:
    first = archive_bytes(furnished)
    found = manifest(opened(first))["honest_accuracy"]
    assert (found["accuracy"], found["audit_labels"], found["model_version"]) == (0.86, 50, 4)
    assert found["interval"][0] < 0.86 < found["interval"][1]
    assert found["recall"][0]["class"] == "cat"
    assert archive_bytes(furnished) == first
    bare = make_dataset(2, name="bare")
    assert manifest(opened(archive_bytes(bare)))["honest_accuracy"] is None

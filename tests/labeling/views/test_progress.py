"""The page Progress: numbers that agree with the header, a goal that is set, people and the curve."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from labeling.models import Dataset
from tests.factories import MakeDataset, assert_contains, count_queries, decide, said

pytestmark = pytest.mark.django_db
PAGE = "/d/pictures/progress/"


def test_an_empty_page_says_what_will_appear(make_dataset: MakeDataset, client: Client) -> None:
    make_dataset(10)
    shown = said(client.get(PAGE), 200)
    assert_contains(shown, "0 of 10 images with a decision", "The curve appears with the first labels.")
    assert_contains(shown, "The pace appears here after the first labels", "Nobody has labeled images yet.")
    assert client.get("/d/nowhere/progress/").status_code == 404


def test_labels_pace_finish_and_people(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(100)
    ana = User.objects.create(username="ana <b>")
    now = timezone.now()
    for ago in range(4):
        decide(
            dataset, "assign", range(10 * ago, 10 * ago + 9), "cat", user=ana, at=now - timedelta(days=ago), seconds=3.0
        )
        decide(dataset, "unsure", [10 * ago + 9], user=ana, at=now - timedelta(days=ago), seconds=3.0)
    html = client.get(PAGE).content.decode()
    shown = said(html)
    assert_contains(shown, "40 of 100 images with a decision", "36 labeled, 4 unsure, 0 skipped, 60 left of 100 images")
    assert_contains(shown, "20.0 decisions per minute", "3 min of labeling for the remaining 60")
    assert_contains(shown, "of labeling a day, the mean since the first label")
    day = now.date() + timedelta(days=6)
    assert f"About {day.day} {day:%B %Y} 95 % range" in shown
    assert_contains(html, "ana &lt;b&gt;", lacks=["ana <b>"])
    assert "36 2 min 20.0 10 %" in shown
    plot = client.get(PAGE).context["plot"]
    assert [row.y for row in plot.rows][-1] == "36", "the number of labels in the header"
    assert len(plot.rows) == 5


def test_a_goal_is_set_and_refused(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(100)
    decide(dataset, "assign", [0, 1, 2], "cat")
    answer = client.post(f"{PAGE}goal/", {"value": "40", "unit": "labels"})
    assert (answer.status_code, answer["Location"]) == (302, PAGE)
    assert_contains(said(client.get(PAGE)), "3 of 40 labels", "Goal: 40 labels")
    refused = client.post(f"{PAGE}goal/", {"value": "<many>", "unit": "labels"})
    assert refused.status_code == 422
    assert_contains(refused.content.decode(), "The goal must be a whole number above 0.", 'value="&lt;many&gt;"')
    assert Dataset.objects.get().goal_labels == 40
    client.post(f"{PAGE}goal/", {"value": "3", "unit": "percent"})
    assert "Goal: 3 % of the images, reached" in said(client.get(PAGE))
    assert client.get(f"{PAGE}goal/").status_code == 405


def test_queries_do_not_grow_with_labels_and_people(make_dataset: MakeDataset, client: Client) -> None:
    make_dataset(1)
    client.get(PAGE)
    counts = []
    for name, n in (("few", 4), ("many", 60)):
        dataset = make_dataset(n, name=name)
        for row in range(n):
            user = User.objects.create(username=f"{name} {row}")
            decide(dataset, "assign", [row], "cat", user=user, at=timezone.now() - timedelta(days=row % 5))
        counts.append(count_queries(client.get, f"/d/{name}/progress/"))
    assert counts[0] == counts[1] < 25

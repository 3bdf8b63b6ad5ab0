"""The Jobs page, the strip, and /healthz."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from hoshina.jobs import lifecycle, presence
from hoshina.jobs.models import Job, Worker
from tests.factories import MakeDataset, assert_contains, count_queries, fresh, not_none, said

pytestmark = pytest.mark.django_db
S = Job.State
MakeJob = Callable[..., Job]


@pytest.fixture
def make_job() -> MakeJob:
    def make(state: str = S.QUEUED, **fields: Any) -> Job:
        now = timezone.now()
        given: dict[str, Any] = {"kind": "retrain", "queue": "interactive", "key": str(uuid4()), "state": state}
        if state != S.QUEUED:
            given |= {"started_at": now - timedelta(seconds=10), "heartbeat_at": now, "worker": presence.me()}
        if state not in Job.ACTIVE:
            given["finished_at"] = now
        return Job.objects.create(**{**given, "sent_at": now, **fields})

    return make


@pytest.fixture
def worker() -> None:
    Worker.objects.create(name=presence.me(), queues="interactive,heavy", seen_at=timezone.now())


def test_page(client: Client, make_job: MakeJob, make_dataset: MakeDataset, worker: None) -> None:
    assert_contains(said(client.get(reverse("jobs:page")), 200), "No jobs yet", lacks=["every 2s"])
    dataset = make_dataset(3, name="galaxies")
    make_job(S.FAILED, dataset_id=dataset.pk, error="No <labels> yet.", hint="Label something.")
    make_job(S.RUNNING, stage="Fitting", done=43, total=100, stage_started_at=timezone.now() - timedelta(seconds=43))
    page = client.get(reverse("jobs:page"))
    assert "No &lt;labels&gt; yet." in page.content.decode()
    for words in ("galaxies", "Label something.", "Retry", "Fitting", "43 %, 57 s left", "Cancel", "Failed"):
        assert words in said(page), words
    assert "every 2s" in page.content.decode()


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (
            {"new": 1_200, "changed": 3, "unchanged": 9, "missing": 0, "n_failed": 2},
            "1,200 new, 3 changed, 2 could not be",
        ),
        ({"new": 0, "changed": 0, "unchanged": 9, "missing": 0, "n_failed": 0}, "No file changed"),
    ],
)
def test_page_tells_what_a_scan_found(client: Client, make_job: MakeJob, result: dict[str, int], words: str) -> None:
    make_job(S.SUCCEEDED, kind="ingest", dataset_id=1, result=result)
    assert words in said(client.get(reverse("jobs:page")))


@pytest.mark.parametrize(
    ("done", "total", "words"), [(49_600, 100_000, "49 %, 41 s left, 1,240 images/s"), (100, 0, " 2.5 images/s")]
)
def test_how_fast_a_folder_is_read(
    client: Client, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, done: int, total: int, words: str
) -> None:
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)
    began = now - timedelta(seconds=40)
    job = make_job(S.RUNNING, kind="ingest", dataset_id=1, done=done, total=total, stage_started_at=began)
    strip = client.get(reverse("jobs:strip", args=[1]))
    assert words in said(strip)
    Job.objects.filter(pk=job.pk).update(kind="retrain")
    assert "images/s" not in said(client.get(reverse("jobs:strip", args=[1])))


def test_list_is_polled_only_while_something_is_active(client: Client, make_job: MakeJob) -> None:
    job = make_job(S.RUNNING)
    response = client.get(reverse("jobs:list"), headers={"HX-Request": "true"})
    assert response.status_code == 200
    assert "every 2s" in response.content.decode()
    assert "HX-Request" in response["Vary"]
    Job.objects.filter(pk=job.pk).update(state=S.SUCCEEDED)
    assert "every" not in said(client.get(reverse("jobs:list"), headers={"HX-Request": "true"}), 286)


def test_older_jobs_and_one_datasets_jobs(client: Client, make_job: MakeJob) -> None:
    jobs = [make_job(S.SUCCEEDED, dataset_id=number % 2) for number in range(55)]
    first = client.get(reverse("jobs:page")).content.decode()
    link = not_none(re.search(r'href="([^"]+)">Older', first))
    second = client.get(reverse("jobs:page") + link[1].split("/")[-1].replace("&amp;", "&")).content.decode()
    shown = [set(re.findall(r'id="job-([^"]+)"', page)) for page in (first, second)]
    assert [len(ids) for ids in shown] == [50, 5]
    assert shown[0] | shown[1] == {str(job.pk) for job in jobs}
    odd = client.get(reverse("jobs:page") + "?dataset=1&before=nonsense").content.decode()
    assert set(re.findall(r'id="job-([^"]+)"', odd)) == {str(job.pk) for job in jobs[1::2]}


def test_the_page_asks_a_constant_number_of_queries(
    client: Client, make_job: MakeJob, django_assert_num_queries: Any, worker: None
) -> None:
    make_job(S.RUNNING, dataset_id=1)
    client.get(reverse("jobs:page"))
    few = count_queries(client.get, reverse("jobs:page"))
    for number in range(20):
        make_job(S.RUNNING, dataset_id=number)
    assert count_queries(client.get, reverse("jobs:page")) <= few + 1


def test_cancel_and_retry(client: Client, make_job: MakeJob) -> None:
    job = make_job()
    cancel = reverse("jobs:cancel", args=[job.pk])
    assert client.get(cancel).status_code == 405
    response = client.post(cancel, headers={"HX-Request": "true"})
    assert response.status_code == 204
    assert "hoshina:job" in json.loads(response["HX-Trigger"])
    assert fresh(job).state == S.CANCELLED
    response = client.post(reverse("jobs:retry", args=[job.pk]))
    assert response.status_code == 302
    again = Job.objects.exclude(pk=job.pk).get()
    assert (again.kind, again.state) == ("retrain", S.QUEUED)
    assert again.created_by is not None
    assert client.post(reverse("jobs:cancel", args=[uuid4()])).status_code == 404


def test_nobody_comes_in_without_signing_in(client: Client, make_job: MakeJob, settings: Any) -> None:
    settings.LOGIN_REQUIRED = True
    job = make_job()
    for name, arguments in (("page", []), ("list", []), ("strip", [1])):
        assert client.get(reverse(f"jobs:{name}", args=arguments)).status_code == 302
        fragment = client.get(reverse(f"jobs:{name}", args=arguments), headers={"HX-Request": "true"})
        assert fragment.status_code == 401
        assert fragment["HX-Redirect"] == reverse("login")
    assert client.post(reverse("jobs:cancel", args=[job.pk])).status_code == 401
    assert fresh(job).state == S.QUEUED
    client.force_login(User.objects.create_user("ana"))
    assert client.get(reverse("jobs:page")).status_code == 200


def test_strip_while_something_runs_and_after(client: Client, make_job: MakeJob) -> None:
    url = reverse("jobs:strip", args=[1])
    assert_contains(client.get(url), 'id="strip"', lacks=["every 1s"])
    make_job(S.RUNNING, dataset_id=2)
    assert "every 1s" not in client.get(url).content.decode()
    job = make_job(S.RUNNING, dataset_id=1, kind="embed", queue="heavy", stage="Fitting", done=1, total=3)
    response = client.get(url)
    assert "HX-Trigger" not in response
    html = response.content.decode()
    assert_contains(html, "every 1s", "Fitting", "33 %")
    poll = not_none(re.search(r'hx-get="([^"]+)"', html))
    Job.objects.filter(pk=job.pk).update(state=S.SUCCEEDED, finished_at=timezone.now() - timedelta(seconds=40))
    response = client.get(poll[1].replace("&amp;", "&"))
    html = response.content.decode()
    assert_contains(html, 'hx-swap-oob="beforeend:#toasts"', "data-toast", lacks=["every 1s"])
    told = json.loads(response["HX-Trigger"])["hoshina:job-finished"]
    assert told == {"kind": "embed", "kinds": ["embed"], "states": {"embed": "succeeded"}}
    # Told once: the next answer has no toast.
    assert "data-toast" not in client.get(re.search(r'hx-get="([^"]+)"', html)[1]).content.decode()  # type: ignore[index]


def test_the_strip_polls_often_while_a_person_waits(client: Client, make_job: MakeJob) -> None:
    url = reverse("jobs:strip", args=[1])
    job = make_job(S.QUEUED, dataset_id=1, kind="retrain", queue="interactive")
    assert "every 250ms, " in client.get(url).content.decode()
    Job.objects.filter(pk=job.pk).update(created_at=timezone.now() - timedelta(seconds=6))
    assert "every 1s, " in client.get(url).content.decode()
    make_job(S.QUEUED, dataset_id=1, kind="embed", queue="heavy")
    assert "every 1s, " in client.get(url).content.decode()


def test_an_idle_strip_tells_once_what_has_just_ended(client: Client, make_job: MakeJob) -> None:
    make_job(S.FAILED, dataset_id=1, kind="retrain", error="Only one class has labels.")
    first = client.get(reverse("jobs:strip", args=[1]))
    assert "data-toast" in first.content.decode()
    assert "hoshina:job-finished" in first["HX-Trigger"]
    # Whatever asks again, and however soon: it asks at the address that the strip brought along.
    own = not_none(re.search(r'hx-get="([^"]+)"', first.content.decode()))
    again = client.get(own[1].replace("&amp;", "&"))
    assert "data-toast" not in again.content.decode()
    assert "HX-Trigger" not in again


def test_strip_tells_failures_in_their_words(client: Client, make_job: MakeJob) -> None:
    make_job(S.FAILED, dataset_id=1, error="Only one class has labels.", hint="Label another.")
    response = client.get(reverse("jobs:strip", args=[1]) + "?since=rubbish&watch=x,y")
    assert "Only one class has labels. Label another." in said(response)


def test_waiting_says_why(client: Client, make_job: MakeJob) -> None:
    job = make_job(dataset_id=1)
    url = reverse("jobs:strip", args=[1])
    assert "No worker is running: start one with hoshina worker interactive." in said(client.get(url))
    Worker.objects.create(name="elsewhere:1:1", queues="heavy", seen_at=timezone.now())
    assert "No worker is running" in said(client.get(url))
    Worker.objects.create(name="elsewhere:2:1", queues="interactive", seen_at=timezone.now())
    assert "Waiting for a worker" in said(client.get(url))
    Worker.objects.update(seen_at=timezone.now() - timedelta(minutes=2))
    assert "No worker is running" in said(client.get(url))
    Job.objects.filter(pk=job.pk).update(sent_at=None, created_at=timezone.now() - timedelta(seconds=5))
    assert "The broker cannot be reached. The job starts when the broker is back." in said(client.get(url))
    Job.objects.filter(pk=job.pk).update(state=S.RUNNING, cancel_requested=True)
    Job.objects.filter(pk=job.pk).update(heartbeat_at=timezone.now(), worker=presence.me())
    assert "Stopping…" in said(client.get(url))


def test_whoever_watches_reaps(client: Client, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    from hoshina.jobs import views

    job = make_job(S.RUNNING, dataset_id=1, heartbeat_at=timezone.now() - timedelta(minutes=2), worker="elsewhere:1:1")
    monkeypatch.setattr(lifecycle, "_cared_at", 0.0)
    monkeypatch.setattr(views, "_last_reaped", float("-inf"))
    client.get(reverse("jobs:strip", args=[1]))
    assert fresh(job).state == S.RUNNING  # nobody looked for long: the computer may have slept, its worker too
    monkeypatch.setattr(views, "_last_reaped", float("-inf"))
    client.get(reverse("jobs:strip", args=[1]))
    assert fresh(job).state == S.QUEUED  # it runs again


def test_admin_shows_jobs(admin_client: Client, make_job: MakeJob) -> None:
    job = make_job(S.SUCCEEDED)
    assert "retrain" in admin_client.get(reverse("admin:jobs_job_changelist")).content.decode()
    assert admin_client.get(reverse("admin:jobs_job_change", args=[job.pk])).status_code == 200
    assert admin_client.get(reverse("admin:jobs_job_add")).status_code == 403


@pytest.mark.parametrize(("state", "has_toast"), [(S.SUCCEEDED, False), (S.FAILED, True)])
def test_a_retrain_that_succeeds_covers_no_tiles(
    client: Client, make_job: MakeJob, state: str, has_toast: bool
) -> None:
    """The badge shows the new model; a toast after each one would lie over the images. A failure is news."""
    job = make_job(S.RUNNING, dataset_id=1, kind="retrain")
    poll = not_none(re.search(r'hx-get="([^"]+)"', client.get("/jobs/strip/1/").content.decode()))
    Job.objects.filter(pk=job.pk).update(state=state, error="It broke.", finished_at=timezone.now())
    response = client.get(poll[1].replace("&amp;", "&"))
    assert ("data-toast" in response.content.decode()) is has_toast
    assert "hoshina:job-finished" in response["HX-Trigger"], "the pages renew themselves all the same"

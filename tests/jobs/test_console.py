"""What ``up`` and the commands draw on a terminal."""

import io
import re
import sys

import pytest
from django.utils import timezone

from hoshina.jobs.console import Bars
from hoshina.jobs.models import Job


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _job(**fields: object) -> Job:
    job = Job(kind="retrain", queue="interactive", key="k", state=Job.State.RUNNING)
    for name, value in fields.items():
        setattr(job, name, value)
    job.save()
    return job


@pytest.mark.django_db
def test_a_terminal_gets_a_bar_and_then_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    bars = Bars()
    job = _job(stage="Fitting", done=30, total=100)
    bars.show([job])
    assert "Training the model: Fitting:  30%" in terminal.getvalue()
    # Another stage counts anew, and never shows the total of the one before.
    terminal.truncate(0)
    job.stage, job.done, job.total = "Predicting", 5, 10
    bars.show([job])
    assert "Predicting:  50%" in terminal.getvalue()
    assert "/100" not in terminal.getvalue()
    job.state, job.error, job.hint, job.finished_at = (
        Job.State.FAILED, "One class only.", "Label\nanother.", timezone.now(),
    )  # fmt: skip
    job.save()
    bars.show([])
    bars.close()
    assert "Training the model: failed. One class only. Label another.\n" in terminal.getvalue()


@pytest.mark.django_db
def test_the_bar_of_a_folder_counts_images(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    bars = Bars()
    job = _job(kind="ingest", stage="Reading the images", done=0, total=100)
    bars.show([job])
    job.done = 50
    bars.show([job])
    bars.close()
    assert re.search(r"50/100 \[.* images/s\]", terminal.getvalue())


@pytest.mark.django_db
def test_a_file_gets_lines_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    bars = Bars()
    job = _job(stage="Fitting", done=30, total=100)
    bars.show([job])
    Job.objects.filter(pk=job.pk).update(state=Job.State.SUCCEEDED, finished_at=timezone.now())
    bars.show([])
    bars.close()
    assert file.getvalue() == "Training the model: succeeded\n"

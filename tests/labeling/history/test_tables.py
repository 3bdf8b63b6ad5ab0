"""Test annotations.csv and annotations.parquet with pandas and pyarrow."""

import io
from importlib.util import find_spec
from typing import Any

import pytest

from labeling.exporting import Export, Options
from labeling.history.columns import COLUMNS
from labeling.models import Action, Annotation, Dataset
from tests.factories import archive_bytes, opened, table
from tests.parts import missing

pytestmark = pytest.mark.django_db
BOTH = frozenset({"annotations", "annotations-parquet"})


@pytest.fixture
def libraries() -> Any:
    for name in ("pandas", "pyarrow"):
        if not find_spec(name):
            missing(f"no {name} on this machine: uv sync --group dev --group formats")


@pytest.mark.usefixtures("libraries")
def test_pandas_reads_the_same_decisions_from_both(recorded: Dataset) -> None:
    import pandas as pd

    archive = opened(archive_bytes(recorded, extras=BOTH))
    text = pd.read_csv(io.BytesIO(archive.read("annotations.csv")), keep_default_na=False, na_values={"seconds": [""]})
    typed = pd.read_parquet(io.BytesIO(archive.read("annotations.parquet")))
    assert list(text) == list(typed) == list(COLUMNS)
    assert len(text) == len(typed) == Annotation.objects.count()
    for name in ("number", "item_id", "path", "state", "label", "annotator", "queue", "action", "undone_by"):
        assert text[name].tolist() == typed[name].tolist()
    assert typed["seconds"].dropna().tolist() == text["seconds"].dropna().tolist() == [
        *(1.25 + row / 7 for row in range(6)), 1.25
    ]  # fmt: skip
    assert str(typed["decided_at"].dtype).startswith("datetime64[us, UTC")
    assert typed["is_random_draw"].sum() == 7  # six, and the one that an undo restored
    draws = typed[typed["is_random_draw"].fillna(False).astype(bool)]
    assert set(draws["round"]) == {1}
    assert set(draws["model_version"]) == {1}
    assert set(draws["suggested_label"]) == {"=dog"}
    undone = typed[typed["undone_by"] != ""]
    assert undone["path"].tolist() == ["image0000.png", "image0024.png"]
    assert set(undone["undone_by"]) == set(map(str, Action.objects.filter(kind="undo").values_list("uuid", flat=True)))


def test_previous_and_content_changes_are_lines(recorded: Dataset) -> None:
    lines = table(opened(archive_bytes(recorded, extras=BOTH)), "annotations.csv")
    assert [line["number"] for line in lines] == [str(number) for number in range(1, len(lines) + 1)]
    cleared = next(line for line in lines if line["action_kind"] == "clear")
    before = lines[int(cleared["previous"]) - 1]
    assert (before["path"], before["label"]) == (cleared["path"], "=dog")
    assert [line["path"] for line in lines if line["content_changed_after"] == "true"] == ["image0007.png"]


def test_batches_do_not_show(recorded: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labeling.history.decisions.BATCH", 5)
    whole = opened(archive_bytes(recorded, extras=BOTH)).read("annotations.csv")
    monkeypatch.undo()
    assert opened(archive_bytes(recorded, extras=BOTH)).read("annotations.csv") == whole


def test_without_pyarrow_only_the_text_is_possible(recorded: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labeling.history.export.find_spec", lambda name: None)
    with pytest.raises(Exception, match="uv sync --extra parquet"):
        Export(recorded, Options(extras=BOTH))
    assert Export(recorded, Options(extras=frozenset({"annotations"})))

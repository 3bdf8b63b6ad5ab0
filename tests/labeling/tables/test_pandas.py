"""Test round trips of labels.csv through pandas, with numbers and class names that pandas reads as missing."""

import io
from typing import Any

import pandas
import pytest

from labeling.importing.save_table import import_labels
from labeling.models import Dataset, Item
from tests.factories import MakeDataset, archive_bytes, decide, opened
from tests.parts import ROOT

pytestmark = pytest.mark.django_db
NAMES = ("NA", "None", "nan", "null", "01", "cat")
# The recommendation of docs/tables.md.
READ: dict[str, Any] = {"dtype": {"label": str}, "keep_default_na": False, "na_values": {"label": [""]}}


@pytest.fixture
def exported(make_dataset: MakeDataset) -> tuple[Dataset, bytes]:
    dataset = make_dataset(20, classes=NAMES)
    for row, name in enumerate(NAMES):
        decide(dataset, "assign", [row, row + 10], name)
    decide(dataset, "unsure", [7])
    decide(dataset, "skip", [8])
    return dataset, opened(archive_bytes(dataset, seed=1)).read("labels.csv")


def decided(dataset: Dataset) -> dict[int, tuple[int, str | None]]:
    values = Item.objects.filter(dataset=dataset).exclude(state=0).values_list("row", "state", "label__name")
    return {row: (state, name) for row, state, name in values}


def test_pandas_by_itself_takes_them_for_missing(exported: tuple[Dataset, bytes]) -> None:
    """Check why the docs recommend options for reading the file: no quoting prevents this."""
    _, content = exported
    quoted = content.replace(b",NA,", b',"NA",')
    assert quoted != content
    for table in (content, quoted):
        read = pandas.read_csv(io.BytesIO(table))["label"]
        assert set(read.dropna()) & {"NA", "None", "nan", "null"} == set()


def test_the_line_in_the_docs_keeps_every_class(exported: tuple[Dataset, bytes]) -> None:
    _, content = exported
    table = pandas.read_csv(io.BytesIO(content), **READ)
    counts = table["label"].value_counts().to_dict()
    assert counts == dict.fromkeys(NAMES, 2)
    assert all(isinstance(name, str) for name in counts)
    assert table["label"].isna().sum() == 2  # the unsure and skipped items
    docs = ROOT / "docs" / "reference" / "tables.md"
    assert 'dtype={"label": str}, keep_default_na=False, na_values={"label": [""]}' in docs.read_text()


@pytest.mark.parametrize("index", [True, False])
def test_what_pandas_writes_comes_back_the_same(
    exported: tuple[Dataset, bytes], make_dataset: MakeDataset, index: bool
) -> None:
    dataset, content = exported
    written = pandas.read_csv(io.BytesIO(content), **READ).to_csv(index=index).encode()
    again = import_labels(dataset, io.BytesIO(written), user=None, create_classes=True)
    assert (again.applied, again.unchanged, again.created_classes) == (0, 14, [])
    other = make_dataset(20, name="other", classes=())
    import_labels(other, io.BytesIO(written), user=None, create_classes=True)
    assert decided(other) == decided(dataset)


def test_a_default_round_trip_loses_no_label(exported: tuple[Dataset, bytes]) -> None:
    """Check that, without the options in the docs, such labels become empty cells, which leave labels unchanged."""
    dataset, content = exported
    before = decided(dataset)
    written = pandas.read_csv(io.BytesIO(content)).to_csv(index=False).encode()
    import_labels(dataset, io.BytesIO(written), user=None)
    assert decided(dataset) == before


def test_numbers_that_pandas_made_floats_of(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(4, classes=("0", "1"))
    table = pandas.DataFrame({"path": [f"image000{row}.png" for row in range(4)], "label": [1, None, 0, 1]})
    written = table.to_csv(index=False).encode()
    assert b"1.0" in written
    report = import_labels(dataset, io.BytesIO(written), user=None, create_classes=True)
    assert (report.applied, report.created_classes, report.merged) == (3, [], {"1.0": "1", "0.0": "0"})
    for encoding in ("utf-16", "utf-8-sig"):
        text = table.to_csv(index=False, sep=";")
        assert import_labels(dataset, io.BytesIO(text.encode(encoding)), user=None).unchanged == 3

"""Fields out: metadata.csv, and splits that keep groups together."""

import io
import json
from collections import defaultdict
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from hoshina.core.errors import Refusal
from labeling.fields.metadata_table import Wish
from labeling.fields.save_table import import_fields
from labeling.models import Dataset, Field, Frame, Item
from tests.factories import MakeDataset, archive_bytes, assert_contains, decide, opened, table

N = 120


@pytest.fixture
def dataset(store: Path, make_dataset: MakeDataset, transactional_db: None) -> Dataset:
    """Provide 120 items of 15 nights, eight each; every ninth has no night. All but the last ten are labelled."""
    dataset = make_dataset(N)
    lines = ["path,mass,night,at"]
    for row in range(N):
        night = "" if row % 9 == 8 else f"night, {row // 8}"
        lines.append(f'image{row:04d}.png,{row / 4},"{night}",2011-06-{1 + row // 8:02d}T0{row % 8}:00')
    import_fields(dataset, io.BytesIO("\n".join(lines).encode()), Wish())
    decide(dataset, "assign", range(0, N - 10, 2), "cat")
    decide(dataset, "assign", range(1, N - 10, 2), "dog")
    decide(dataset, "skip", [N - 1])
    return dataset


def splits_of(content: bytes) -> dict[int, tuple[str, str]]:
    """Split and group by row."""
    told = table(opened(content), "splits.csv")
    return {int(line["path"][5:9]): (line["split"], line["group"]) for line in told}


def test_metadata_of_the_labelled_items(dataset: Dataset) -> None:
    archive = opened(archive_bytes(dataset, extras=frozenset({"metadata"})))
    told = table(archive, "metadata.csv")
    assert [line["path"] for line in told] == [f"image{row:04d}.png" for row in range(N - 10)]
    assert list(told[0]) == ["item_id", "path", "mass", "night", "at"]
    assert {**told[9], "item_id": ""} == {
        "item_id": "", "path": "image0009.png", "mass": "2.25", "night": "night, 1", "at": "2011-06-02T01:00:00Z",
    }  # fmt: skip
    assert told[8]["night"] == ""
    fields = json.loads(archive.read("manifest.json"))["fields"]
    assert fields[0] == {"name": "mass", "kind": "number", "source": "csv", "known": N}


def test_the_same_bytes_twice_and_back_again(dataset: Dataset, make_dataset: MakeDataset) -> None:
    options = {"extras": frozenset({"metadata"}), "group_by": "night"}
    content = archive_bytes(dataset, **options)
    assert archive_bytes(dataset, **options) == content
    again = import_fields(dataset, io.BytesIO(opened(content).read("metadata.csv")), Wish())
    assert (again.n_changed, [one.kind for one in again.fields]) == (0, ["number", "text", "time"])


def test_items_of_one_group_share_a_split(dataset: Dataset) -> None:
    # One picture twice, in nights 2 and 11: their items have to go together.
    Frame.objects.filter(item__row=8 * 11 + 3).update(sha256=Frame.objects.get(item__row=8 * 2 + 3).sha256)
    content = archive_bytes(dataset, group_by="Night", seed=5)
    found = splits_of(content)
    groups = defaultdict(set)
    for row, (split, group) in found.items():
        assert group == ("" if row % 9 == 8 else f"night, {row // 8}")
        groups[group].add(split)
    assert all(len(splits) == 1 for group, splits in groups.items() if group)
    assert groups["night, 2"] == groups["night, 11"]
    assert len(groups[""]) > 1  # unknown values are no group
    told = json.loads(opened(content).read("manifest.json"))
    assert told["options"]["group_by"] == "Night"
    assert abs(told["splits"]["test"]["items"] - 11) <= 8
    # Without groups nights are torn apart.
    torn = defaultdict(set)
    for line in table(opened(archive_bytes(dataset, seed=5)), "splits.csv"):
        torn[int(line["path"][5:9]) // 8].add(line["split"])
    assert any(len(splits) > 1 for splits in torn.values())


def test_groups_that_cannot_be_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="no field 'nights' to group by"):
        archive_bytes(dataset, group_by="nights")
    with pytest.raises(CommandError, match="no field 'nights'"):
        call_command("export", "--output", tmp_path / "x.zip", "--group-by", "nights")
    call_command("export", "--output", tmp_path / "x.zip", "--group-by", "night", "--with-metadata")
    assert len(splits_of((tmp_path / "x.zip").read_bytes())) == N - 10


def test_the_page_offers_the_fields(dataset: Dataset, client: Client) -> None:
    assert '<option value="night">same night</option>' in client.get("/d/pictures/export/").content.decode()
    answer = client.get("/d/pictures/export.zip?group_by=night&metadata=on")
    content = b"".join(answer.streaming_content)  # type: ignore[attr-defined]
    assert splits_of(content)[0][1] == "night, 0"
    assert client.get("/d/pictures/export.zip?group_by=nights").status_code == 422
    Field.objects.all().delete()
    assert_contains(client.get("/d/pictures/export/"), "There are no fields", lacks=["group_by"])


def test_items_that_came_after_the_import_are_unknown(dataset: Dataset) -> None:
    late = Item.objects.create(dataset=dataset, row=N, path="image0120.png")
    Dataset.objects.update(n_items=N + 1)
    decide(dataset, "assign", [late.row], "cat")
    archive = opened(archive_bytes(dataset, extras=frozenset({"metadata"}), group_by="night"))
    assert [table(archive, "metadata.csv")[-1][name] for name in ("path", "mass", "night")] == ["image0120.png", "", ""]

"""A dataset remembers by which field its images belong together."""

import io
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from hoshina.core.errors import Refusal
from labeling.fields import field_edits, split_groups
from labeling.fields.columns import empty
from labeling.fields.metadata_table import Wish
from labeling.fields.save_table import import_fields
from labeling.models import Dataset, Field
from tests.factories import MakeDataset, command_json, decide, fresh, not_none, opened, table

N = 60
URL = "/d/pictures/fields/together/"


def facts(rows: range) -> bytes:
    """Return a night for every six images, none for the last of each dozen; a depth of its own for each."""
    lines = ["path,night,depth,one"]
    lines += [f"image{row:04d}.png,{'' if row % 12 == 11 else f'n{row // 6}'},{row}.5,x" for row in rows]
    return "\n".join(lines).encode()


@pytest.fixture
def dataset(store: Path, make_dataset: MakeDataset, transactional_db: None) -> Dataset:
    dataset = make_dataset(N)
    import_fields(dataset, io.BytesIO(facts(range(N))), Wish())
    return dataset


def command(name: str, *arguments: str) -> dict[str, Any]:
    found = command_json(name, *arguments)
    assert isinstance(found, dict)
    return found


def test_the_page_keeps_the_choice_and_tells_its_groups(dataset: Dataset, client: Client) -> None:
    assert "Only identical files always go to the same split." in client.get("/d/pictures/fields/").content.decode()
    answer = client.post(URL, {"field": "night"}).content.decode()
    assert "<b>10</b> groups; the largest has <b>6</b> of 60 images. 5 images without a night" in answer
    assert fresh(dataset).together_by == Field.objects.get(name="night")
    assert '<option value="night" selected>' in client.get("/d/pictures/fields/").content.decode()
    answer = client.post(URL, {"field": "nights"})
    assert (answer.status_code, "There is no field &#x27;nights&#x27;" in answer.content.decode()) == (422, True)
    client.post(URL, {"field": ""})
    assert fresh(dataset).together_by is None


def test_the_choice_follows_a_name_and_goes_with_its_field(dataset: Dataset, client: Client) -> None:
    split_groups.choose(dataset, "NIGHT")
    field = Field.objects.get(name="night")
    field_edits.rename(field, "evening")
    assert '<option value="evening" selected>' in client.get("/d/pictures/fields/").content.decode()
    asked = client.get(f"/d/pictures/fields/{field.pk}/delete/").content.decode()
    assert "Splits group images by this field" in asked
    client.post(f"/d/pictures/fields/{field.pk}/delete/")
    assert split_groups.chosen(dataset) is None
    assert Dataset.objects.get().together_by_id is None
    # The same values under the same name are another field: nobody chose that.
    import_fields(dataset, io.BytesIO(facts(range(N))), Wish())
    assert split_groups.chosen(Dataset.objects.get()) is None


def test_new_values_of_the_field_are_other_groups(dataset: Dataset) -> None:
    field = not_none(split_groups.choose(dataset, "night"))
    import_fields(dataset, io.BytesIO(b"path,night\nimage0011.png,n0\nimage0023.png,n0\n"), Wish())
    field.refresh_from_db()
    tally = split_groups.tally_of(dataset, field)
    assert (tally.n_groups, tally.largest, tally.n_unknown) == (10, 8, 3)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("depth", "No two images have the same depth"),
        ("one", "All images have the same one: none can be held out"),
        ("night", "15 groups are few"),
    ],
)
def test_what_is_wrong_with_a_choice_is_said(dataset: Dataset, client: Client, name: str, words: str) -> None:
    assert words in client.post(URL, {"field": name}).content.decode()


def test_a_large_group_and_a_field_without_values_are_told(dataset: Dataset, client: Client) -> None:
    lines = [f"image{row:04d}.png,{'a' if row < 40 else row}" for row in range(N)]
    import_fields(dataset, io.BytesIO("\n".join(["path,camera", *lines]).encode()), Wish())
    assert "The largest group has 67% of the images" in client.post(URL, {"field": "camera"}).content.decode()
    empty(Field.objects.get(name="camera"))
    assert "No image has a camera yet" in client.get("/d/pictures/fields/").content.decode()


def test_damaged_values_are_told_on_the_page(dataset: Dataset, client: Client, store: Path) -> None:
    field = not_none(split_groups.choose(dataset, "night"))
    for file in (store / "fields" / str(field.pk)).glob("values-*.npy"):
        file.unlink()
    split_groups._counted.cache_clear()
    answer = client.get("/d/pictures/fields/")
    assert (answer.status_code, "is missing" in answer.content.decode()) == (200, True)
    decide(dataset, "assign", range(N), "cat")
    with pytest.raises(CommandError, match="is missing"):
        command("export", "--output", str(store / "a.zip"))


def test_the_command_chooses_alone_or_after_an_import(dataset: Dataset, tmp_path: Path) -> None:
    assert command("import_fields", "--group-by", "night") == {
        "group_by": "night", "groups": 10, "largest_group": 6, "without_group": 5,
    }  # fmt: skip
    assert split_groups.chosen(dataset) == Field.objects.get(name="night")
    file = tmp_path / "more.csv"
    file.write_bytes(b"path,camera\n" + b"".join(b"image%04d.png,%d\n" % (row, row // 2) for row in range(N)))
    told = command("import_fields", str(file), "--group-by", "camera")
    assert (told["matched"], told["group_by"], told["groups"]) == (60, "camera", 30)
    assert command("import_fields", "--group-by", "") == {"group_by": None}
    assert split_groups.chosen(dataset) is None
    with pytest.raises(CommandError, match=r"no field 'nights' to group by. There are: night, depth, one, camera"):
        call_command("import_fields", "--group-by", "nights")
    with pytest.raises(CommandError, match="Give either a file"):
        call_command("import_fields")


def _splits(content: bytes) -> dict[str, set[str]]:
    found = defaultdict(set)
    for line in table(opened(content), "splits.csv"):
        if line.get("group"):
            found[line["group"]].add(line["split"])
    return found


def test_an_export_keeps_to_the_choice_unless_told_otherwise(dataset: Dataset, client: Client, tmp_path: Path) -> None:
    decide(dataset, "assign", range(0, N, 2), "cat")
    decide(dataset, "assign", range(1, N, 2), "dog")
    split_groups.choose(dataset, "night")
    assert '<option value="night" selected>' in client.get("/d/pictures/export/").content.decode()
    file = tmp_path / "a.zip"
    for told, n_groups in ((["--output", str(file)], 10), (["--output", str(file), "--group-by", ""], 0)):
        command("export", *told)
        splits = _splits(file.read_bytes())
        assert len(splits) == n_groups
        assert all(len(sides) == 1 for sides in splits.values())
    for query, n_groups in (("", 10), ("?group_by=", 0)):
        assert len(_splits(b"".join(client.get(f"/d/pictures/export.zip{query}")))) == n_groups


def test_keys_join_files_and_groups(dataset: Dataset) -> None:
    groups = split_groups.Groups(Field.objects.get(name="night"))
    rows = np.array([0, 5, 6, 11, 23, 40])
    hashes = [("a",), ("b",), ("c", "d"), ("d",), ("e",), ("f",)]
    keys = split_groups.keys_together(groups, rows, hashes)
    # 0 and 5 are of a night; 11 has none, but shares a file with 6; 23 has none and shares nothing.
    assert [keys.tolist().index(key) for key in keys.tolist()] == [0, 0, 2, 2, 4, 5]
    assert len(set(split_groups.keys_together(None, rows, hashes).tolist())) == 5
    assert groups.known(rows).tolist() == [True, True, True, False, False, True]


def test_a_name_that_is_not_there_lists_those_that_are(dataset: Dataset) -> None:
    with pytest.raises(Refusal, match="There are: night, depth, one"):
        split_groups.choose(dataset, "patient")
    Field.objects.all().delete()
    with pytest.raises(Refusal, match="no fields yet"):
        split_groups.choose(dataset, "patient")


def test_a_dataset_goes_with_the_field_that_it_chose(dataset: Dataset) -> None:
    split_groups.choose(dataset, "night")
    Dataset.objects.get().delete()
    assert not Field.objects.exists()

"""Test that items follow moved and renamed groups of files by content."""

import os
import random
import shutil
from pathlib import Path

import pytest

from labeling.images.file_check import Examined
from labeling.ingest import moves
from labeling.ingest.moves import Member, PendingFiles
from labeling.models import Dataset, Frame, Item
from tests.factories import call_before, interrupt_at
from tests.labeling.factories import available_paths, counts_of, files_by_item, label_item, labels_by_path, write_png
from tests.labeling.groups import FLAT, ROLES, assert_consistent, ingest_groups, rename_group, write_triplets

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]


# -- One thing at a time ------------------------------------------------------------------------------
@pytest.mark.parametrize("template", [FLAT, "{id}/{role}.png", "{role}/{id}.png"])
@pytest.mark.parametrize("is_shared", [False, True])
def test_a_renamed_folder_keeps_all_items(tmp_path: Path, template: str, is_shared: bool) -> None:
    folder = tmp_path / "in"
    write_triplets(folder / "night 1", range(8), template)
    write_triplets(folder / "night 2", range(20, 22), template)
    if is_shared:  # one reference for a whole night
        first = folder / "night 1" / template.replace("{id}", "sn0").replace("{role}", "ref")
        for number in range(1, 8):
            name = template.replace("{id}", f"sn{number}").replace("{role}", "ref")
            shutil.copyfile(first, folder / "night 1" / name)
    ingest_groups(folder, template)
    for number in range(8):
        label_item(f"night 1/sn{number}")
    rows = dict(Item.objects.values_list("path", "row"))
    (folder / "night 1").rename(folder / "night 3")
    assert counts_of(ingest_groups(folder)) == {"items": 10, "moved": 24, "unchanged": 6}
    assert labels_by_path() == {f"night 3/sn{number}": f"was night 1/sn{number}" for number in range(8)}
    assert dict(Item.objects.values_list("path", "row")) == {
        path.replace("night 1", "night 3"): row for path, row in rows.items()
    }
    assert_consistent(Dataset.objects.get())
    assert counts_of(ingest_groups(folder)) == {"items": 10, "unchanged": 30}


def test_renumbered_groups_keep_their_labels(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_triplets(folder, range(5))
    ingest_groups(folder, FLAT)
    for number in range(5):
        label_item(f"sn{number}")
    for number in reversed(range(5)):
        rename_group(folder, f"sn{number}", f"sn{number + 1}")
    write_triplets(folder, [70])
    rename_group(folder, "sn70", "sn0")
    assert counts_of(ingest_groups(folder)) == {"items": 6, "new": 3, "moved": 15}
    assert labels_by_path() == {f"sn{number + 1}": f"was sn{number}" for number in range(5)}
    assert_consistent(Dataset.objects.get())


def test_two_groups_that_changed_places(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_triplets(folder, range(2))
    ingest_groups(folder, FLAT)
    label_item("sn0")
    rename_group(folder, "sn0", "aside")
    rename_group(folder, "sn1", "sn0")
    rename_group(folder, "aside", "sn1")
    assert counts_of(ingest_groups(folder)) == {"items": 2, "moved": 6}
    assert labels_by_path() == {"sn1": "was sn0"}
    assert_consistent(Dataset.objects.get())


def test_a_copy_is_a_new_item(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_triplets(folder, range(2))
    ingest_groups(folder, FLAT)
    label_item("sn0")
    for role in ROLES:
        shutil.copyfile(folder / f"sn0_{role}.png", folder / f"copy_{role}.png")
        os.utime(folder / f"sn0_{role}.png", ns=(1, 1))
    assert counts_of(ingest_groups(folder)) == {"items": 3, "new": 3, "unchanged": 6}
    assert labels_by_path() == {"sn0": "was sn0"}
    assert files_by_item()["copy"].keys() == set(ROLES)


def test_one_file_that_moves_to_another_group_leaves_its_item_and_its_label_behind(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_triplets(folder, range(2))
    (folder / "sn1_ref.png").unlink()
    ingest_groups(folder, FLAT)
    label_item("sn0")
    (folder / "sn0_ref.png").rename(folder / "sn1_ref.png")
    result = ingest_groups(folder)
    assert (counts_of(result), result["incomplete"]) == ({"items": 2, "new": 1, "unchanged": 4}, 1)
    assert labels_by_path() == {"sn0": "was sn0"}
    assert files_by_item() == {
        "sn0": {"target": "sn0_target.png", "diff": "sn0_diff.png"},
        "sn1": {role: f"sn1_{role}.png" for role in ROLES},
    }


def test_a_moved_group_with_a_file_changed_or_gone_keeps_its_label(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_triplets(folder / "a", range(3))
    ingest_groups(folder, FLAT)
    for number in range(3):
        label_item(f"a/sn{number}")
    (folder / "a").rename(folder / "b")
    (folder / "b" / "sn0_ref.png").unlink()
    for role in ("ref", "diff"):  # one of three remains, which suffices because the name is unchanged
        (folder / "b" / f"sn1_{role}.png").unlink()
    assert counts_of(ingest_groups(folder)) == {"items": 3, "moved": 6}
    assert labels_by_path() == {f"b/sn{number}": f"was a/sn{number}" for number in range(3)}
    assert_consistent(Dataset.objects.get())


def test_a_shared_reference_alone_moves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_triplets(folder, range(3))
    for number in (1, 2):
        shutil.copyfile(folder / "sn0_ref.png", folder / f"sn{number}_ref.png")
    ingest_groups(folder, FLAT)
    label_item("sn0")
    for role in ("target", "diff"):
        (folder / f"sn0_{role}.png").unlink()
    (folder / "sn0_ref.png").rename(folder / "other_ref.png")
    assert counts_of(ingest_groups(folder)) == {"items": 4, "new": 1, "unchanged": 6, "missing": 1}
    assert labels_by_path() == {}
    assert Item.objects.get(path="sn0").label is not None
    assert_consistent(Dataset.objects.get())


def test_of_identical_groups_those_with_labels_are_found_first(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for name in "abc":
        for role in ROLES:
            write_png(folder / f"{name}_{role}.png", seed=ROLES.index(role))
    ingest_groups(folder, FLAT)
    label_item("c")
    for name, other in zip("abc", "xyz", strict=True):
        rename_group(folder, name, other)
    assert counts_of(ingest_groups(folder)) == {"items": 3, "moved": 9}
    assert labels_by_path() == {"x": "was c"}


def test_a_content_that_very_many_share_tells_of_no_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves, "FEW", 3)
    folder = tmp_path / "in"
    write_triplets(folder / "a", range(5))
    for number in range(1, 5):
        shutil.copyfile(folder / "a" / "sn0_ref.png", folder / "a" / f"sn{number}_ref.png")
    ingest_groups(folder, FLAT)
    label_item("a/sn4")
    (folder / "a").rename(folder / "b")
    assert counts_of(ingest_groups(folder)) == {"items": 5, "moved": 15}
    assert labels_by_path() == {"b/sn4": "was a/sn4"}


def test_it_takes_a_few_queries_and_many_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from labeling.ingest.writer import Writer

    monkeypatch.setattr(Writer, "settled_at_once", 3)
    folder = tmp_path / "in"
    write_triplets(folder, range(10))
    ingest_groups(folder, FLAT)
    for number in range(10):
        label_item(f"sn{number}")
        rename_group(folder, f"sn{number}", f"z{(number * 7) % 10}")
    assert counts_of(ingest_groups(folder)) == {"items": 10, "moved": 30}
    assert labels_by_path() == {f"z{(number * 7) % 10}": f"was sn{number}" for number in range(10)}


# -- Anything at all ----------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(6))
def test_after_any_renaming_labels_are_where_their_files_are(tmp_path: Path, seed: int) -> None:
    """Rename, swap, remove, add and copy whole groups. Every label stays with its content."""
    rng = random.Random(seed)
    template = rng.choice([FLAT, "{role}/{id}.png", "{id}/{role}.png"])
    folder = tmp_path / "in"
    write_triplets(folder, range(10), template)
    ingest_groups(folder, template)
    # The first name of the content of each group.
    named = {f"sn{number}": f"sn{number}" for number in range(10)}
    for number in range(10):
        label_item(f"sn{number}")
    for _ in range(3):
        chosen = rng.sample(sorted(named), rng.randint(2, len(named)))
        targets = rng.sample(chosen + [f"new{rng.randint(0, 99)}" for _ in range(2)], len(chosen))
        moves = {name: to for name, to in zip(chosen, targets, strict=True) if to not in named or to in chosen}
        stay = {to for to in chosen if to not in moves}
        moves = {name: to for name, to in moves.items() if to not in stay}
        # Do not overwrite a target whose group is not moved.
        while any(to in named and to not in moves for to in moves.values()):
            moves = {name: to for name, to in moves.items() if to not in named or to in moves}
        for name in moves:
            rename_group(folder, name, f"tmp {name}", template)
        for name, to in moves.items():
            rename_group(folder, f"tmp {name}", to, template)
        named = {moves.get(name, name): content for name, content in named.items()}
        ingest_groups(folder)
        assert labels_by_path() == {name: f"was {content}" for name, content in named.items()}
        assert available_paths() == sorted(named)
        assert all(frames.keys() == set(ROLES) for frames in files_by_item().values())
        assert_consistent(Dataset.objects.get())


def test_what_is_put_aside_comes_back_by_groups_and_is_removed(tmp_path: Path) -> None:
    examined = Examined("a" * 64, 1, 2, 3, 4, "PNG")
    members = [Member(f"g{number % 7}", f"r{number // 7}", f"p{number}", examined) for number in range(21)]
    with PendingFiles() as pending:
        pending.add(members)
        groups = [group for batch in pending.batches(3) for group in batch]
        assert [group[0].group for group in groups] == [f"g{number}" for number in range(7)]
        stored = [member for group in groups for member in group]
        assert sorted(stored, key=lambda member: int(member.path[1:])) == members
        for batch in pending.batches(2):
            pending.remove({some[0].group for some in batch if some[0].group != "g4"})
        assert [some[0].group for batch in pending.batches(2) for some in batch] == ["g4"]


def test_an_interrupted_move_is_finished_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from labeling.ingest.group_writer import GroupWriter
    from labeling.ingest.writer import Writer

    monkeypatch.setattr(Writer, "settled_at_once", 2)
    folder = tmp_path / "in"
    write_triplets(folder / "a", range(6), "{role}/{id}.png")
    ingest_groups(folder, "{role}/{id}.png")
    for number in range(6):
        label_item(f"a/sn{number}")
    (folder / "a").rename(folder / "b")
    call_before(monkeypatch, GroupWriter, "_move", interrupt_at(3))
    with pytest.raises(KeyboardInterrupt):
        ingest_groups(folder)
    assert Frame.objects.filter(path__startswith="b/").count() == 12
    assert counts_of(ingest_groups(folder)) == {"items": 6, "moved": 6, "unchanged": 12}
    assert labels_by_path() == {f"b/sn{number}": f"was a/sn{number}" for number in range(6)}
    assert_consistent(Dataset.objects.get())

"""Test groups that were moved while a file was edited, files were shared or an ingest was stopped.

Labels follow a group if the match is unambiguous, and never go to another group.
"""

import random
import shutil
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from labeling.ingest.group_writer import GroupWriter
from labeling.ingest.writer import Writer
from labeling.models import Dataset, Item
from tests.factories import call_before
from tests.labeling.factories import available_paths, counts_of, files_by_item, label_item, labels_by_path, write_png
from tests.labeling.groups import FLAT, ROLES, assert_consistent, ingest_groups, rename_group, write_triplets

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]
TEMPLATES = [FLAT, "{id}/{role}.png", "{role}/{id}.png"]


def file_of(folder: Path, template: str, name: str, role: str) -> Path:
    """Return the path of a file of a group. The folders in ``name`` come first."""
    above, _, last = name.rpartition("/")
    return folder / above / template.replace("{id}", last).replace("{role}", role)


def share_reference(folder: Path, template: str, names: list[str]) -> None:
    for name in names[1:]:
        shutil.copyfile(file_of(folder, template, names[0], "ref"), file_of(folder, template, name, "ref"))


def two_labelled(folder: Path, template: str = FLAT, *, is_shared: bool = False) -> Path:
    """Ingest and label sn0 and sn1 in a/, and return the folder."""
    write_triplets(folder / "a", range(2), template)
    if is_shared:
        share_reference(folder, template, ["a/sn0", "a/sn1"])
    ingest_groups(folder, template)
    for number in range(2):
        label_item(f"a/sn{number}")
    return folder


# -- One file edited ----------------------------------------------------------------------------------
@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("edited", ROLES)
@pytest.mark.parametrize("is_shared", [False, True])
@pytest.mark.parametrize("after", ["b/sn0", "b/other", "a/other"])
def test_a_moved_group_of_which_a_file_was_edited_is_the_same_item(
    tmp_path: Path, template: str, edited: str, is_shared: bool, after: str
) -> None:
    folder = two_labelled(tmp_path / "in", template, is_shared=is_shared)
    row = Item.objects.get(path="a/sn0").row
    for role in ROLES:
        to = file_of(folder, template, after, role)
        to.parent.mkdir(parents=True, exist_ok=True)
        file_of(folder, template, "a/sn0", role).rename(to)
    write_png(file_of(folder, template, after, edited), seed=999)
    ingest_groups(folder)
    assert labels_by_path() == {after: "was a/sn0", "a/sn1": "was a/sn1"}
    assert Item.objects.get(path=after).row == row
    assert files_by_item()[after].keys() == set(ROLES)
    assert_consistent(Dataset.objects.get())
    assert counts_of(ingest_groups(folder))["unchanged"] == 6


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("edited", [None, *ROLES])
@pytest.mark.parametrize("is_shared", [False, True])
def test_two_groups_that_changed_places_while_one_was_edited(
    tmp_path: Path, template: str, edited: str | None, is_shared: bool
) -> None:
    """Test distinct references and a shared one, which is then unchanged in both places."""
    folder = two_labelled(tmp_path / "in", template, is_shared=is_shared)
    for before, after in (("sn0", "aside"), ("sn1", "sn0"), ("aside", "sn1")):
        rename_group(folder / "a", before, after, template)
    if edited:
        write_png(file_of(folder, template, "a/sn1", edited), seed=999)
    ingest_groups(folder)
    assert labels_by_path() == {"a/sn1": "was a/sn0", "a/sn0": "was a/sn1"}
    assert Dataset.objects.get().n_items == 2
    assert_consistent(Dataset.objects.get())


def test_an_edited_file_that_came_before_the_others_makes_way(tmp_path: Path) -> None:
    """Test a file that had become a separate item without a decision."""
    folder = two_labelled(tmp_path / "in")
    write_png(folder / "b" / "sn0_ref.png", seed=999)
    ingest_groups(folder)
    for role in ("target", "diff"):
        (folder / "a" / f"sn0_{role}.png").rename(folder / "b" / f"sn0_{role}.png")
    (folder / "a" / "sn0_ref.png").unlink()
    assert ingest_groups(folder)["missing"] == 1
    assert labels_by_path() == {"b/sn0": "was a/sn0", "a/sn1": "was a/sn1"}
    assert files_by_item()["b/sn0"] == {role: f"b/sn0_{role}.png" for role in ROLES}
    assert_consistent(Dataset.objects.get())


def test_it_stays_where_somebody_decided_about_it_meanwhile(tmp_path: Path) -> None:
    folder = two_labelled(tmp_path / "in")
    write_png(folder / "b" / "sn0_ref.png", seed=999)
    ingest_groups(folder)
    label_item("b/sn0")
    for role in ("target", "diff"):
        (folder / "a" / f"sn0_{role}.png").rename(folder / "b" / f"sn0_{role}.png")
    (folder / "a" / "sn0_ref.png").unlink()
    ingest_groups(folder)
    assert labels_by_path() == {"b/sn0": "was b/sn0", "a/sn1": "was a/sn1"}
    missing = Item.objects.get(is_available=False)
    assert (missing.path, missing.label.name if missing.label else "") == ("a/sn0", "was a/sn0")
    assert_consistent(Dataset.objects.get())


@pytest.mark.parametrize("order", [("target", "ref", "diff"), ("diff", "target", "ref")])
def test_files_that_move_one_by_one_between_ingests(tmp_path: Path, order: tuple[str, ...]) -> None:
    folder = two_labelled(tmp_path / "in")
    (folder / "b").mkdir()
    for role in order:
        (folder / "a" / f"sn0_{role}.png").rename(folder / "b" / f"sn0_{role}.png")
        ingest_groups(folder)
    assert labels_by_path() == {"b/sn0": "was a/sn0", "a/sn1": "was a/sn1"}
    assert_consistent(Dataset.objects.get())


def test_files_that_went_after_they_were_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Move files during the scan, so that they are found at their old and then at their new paths."""
    folder = two_labelled(tmp_path / "in")
    shutil.copytree(folder / "a", folder / "b")
    write_png(folder / "b" / "sn0_ref.png", seed=999)
    call_before(monkeypatch, GroupWriter, "settle", lambda _: shutil.rmtree(folder / "a"))
    ingest_groups(folder)
    assert labels_by_path() == {"b/sn0": "was a/sn0", "b/sn1": "was a/sn1"}
    assert Dataset.objects.get().n_items == 2
    assert_consistent(Dataset.objects.get())


# -- Never guessed ------------------------------------------------------------------------------------
def test_of_two_copies_each_edited_none_is_taken(tmp_path: Path) -> None:
    folder = two_labelled(tmp_path / "in")
    for number, other in enumerate(("x", "y")):
        for role in ROLES:
            shutil.copyfile(folder / "a" / f"sn0_{role}.png", folder / f"{other}_{role}.png")
        write_png(folder / f"{other}_diff.png", seed=900 + number)
    for role in ROLES:
        (folder / "a" / f"sn0_{role}.png").unlink()
    ingest_groups(folder)
    assert labels_by_path() == {"a/sn1": "was a/sn1"}
    assert Item.objects.filter(label__name="was a/sn0", is_available=False).count() == 1
    assert {"x", "y"} <= set(available_paths())


def test_between_two_items_that_differ_only_in_what_was_edited_none_is_chosen(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_triplets(folder, range(2))
    for role in ("target", "diff"):
        shutil.copyfile(folder / f"sn0_{role}.png", folder / f"sn1_{role}.png")
    ingest_groups(folder, FLAT)
    for number in range(2):
        label_item(f"sn{number}")
    rename_group(folder, "sn0", "new")
    write_png(folder / "new_ref.png", seed=999)
    for role in ROLES:
        (folder / f"sn1_{role}.png").unlink()
    ingest_groups(folder)
    assert labels_by_path() == {}
    assert Item.objects.filter(is_available=False, label__isnull=False).count() == 2


def test_files_that_others_have_too_are_no_reason_to_take_a_group_for_an_item(tmp_path: Path) -> None:
    """Delete one of three groups with a shared reference and black differences, and add another of that night."""
    folder = tmp_path / "in"
    write_triplets(folder, range(3))
    for number in range(1, 3):
        for role in ("ref", "diff"):
            shutil.copyfile(folder / f"sn0_{role}.png", folder / f"sn{number}_{role}.png")
    ingest_groups(folder, FLAT)
    label_item("sn0")
    rename_group(folder, "sn0", "thing")
    write_png(folder / "thing_target.png", seed=999)
    ingest_groups(folder)
    assert labels_by_path() == {}
    assert Item.objects.get(path="sn0").label is not None
    assert available_paths() == ["sn1", "sn2", "thing"]
    assert_consistent(Dataset.objects.get())


def test_a_copy_whose_original_was_edited_leaves_the_label_where_it_is(tmp_path: Path) -> None:
    folder = two_labelled(tmp_path / "in")
    for role in ROLES:
        shutil.copyfile(folder / "a" / f"sn0_{role}.png", folder / f"copy_{role}.png")
    write_png(folder / "a" / "sn0_target.png", seed=999)
    ingest_groups(folder)
    assert labels_by_path() == {"a/sn0": "was a/sn0", "a/sn1": "was a/sn1"}
    assert "copy" in available_paths()


# -- Anything at all ----------------------------------------------------------------------------------
@dataclass
class World:
    """A folder of labeled groups, with a record of which group is which."""

    folder: Path
    template: str
    rng: random.Random
    # The name of each group when it was labeled, by its current name.
    names: dict[str, str] = field(default_factory=dict)
    edited: set[str] = field(default_factory=set)
    _seeds: count = field(default_factory=lambda: count(5000))

    def rename(self) -> None:
        """Rename, move and swap some groups, editing a third of them."""
        chosen = self.rng.sample(sorted(self.names), self.rng.randint(1, len(self.names)))
        free = [f"{self.rng.choice('abc')}/new{self.rng.randint(0, 99)}" for _ in range(3)]
        targets = self.rng.sample(sorted({*chosen, *(set(free) - self.names.keys())}), len(chosen))
        for step in ("away", "back"):
            for number, (before, after) in enumerate(zip(chosen, targets, strict=True)):
                self._move(*((before, f"tmp/{number}") if step == "away" else (f"tmp/{number}", after)))
        gone = {before: self.names.pop(before) for before in chosen}
        self.names |= {after: gone[before] for before, after in zip(chosen, targets, strict=True)}
        for name in targets:
            if self.rng.random() < 0.33:
                self.edit(name)

    def edit(self, name: str) -> None:
        """Edit one file of a group, and no other before the next ingest."""
        if self.names[name] not in self.edited:
            self.edited.add(self.names[name])
            write_png(file_of(self.folder, self.template, name, self.rng.choice(ROLES)), seed=next(self._seeds))

    def add(self) -> None:
        name = f"b/added{next(self._seeds)}"
        for role in ROLES:
            write_png(file_of(self.folder, self.template, name, role), seed=next(self._seeds))

    def _move(self, before: str, after: str) -> None:
        for role in ROLES:
            to = file_of(self.folder, self.template, after, role)
            to.parent.mkdir(parents=True, exist_ok=True)
            file_of(self.folder, self.template, before, role).rename(to)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1011, *range(11)])
def test_after_anything_labels_are_where_their_groups_are(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rename, swap, edit and add groups, half of them with a shared reference, with interrupted ingests in between."""
    rng = random.Random(seed)
    monkeypatch.setattr(Writer, "settled_at_once", rng.choice([1, 2, 100]))
    world = World(tmp_path / "in", rng.choice(TEMPLATES), rng)
    write_triplets(world.folder / "a", range(8), world.template)
    share_reference(world.folder, world.template, [f"a/sn{number}" for number in range(4)])
    ingest_groups(world.folder, world.template)
    for number in range(8):
        label_item(f"a/sn{number}")
        world.names[f"a/sn{number}"] = f"was a/sn{number}"
    for _ in range(4):
        world.rename()
        for _ in range(rng.randint(0, 2)):
            world.add()
        if rng.random() < 0.5:
            stopped(world, rng, monkeypatch)
        world.edit(rng.choice(sorted(world.names)))
        ingest_groups(world.folder)
        world.edited.clear()
        assert labels_by_path() == world.names
        assert all(frames.keys() == set(ROLES) for frames in files_by_item().values())
        assert_consistent(Dataset.objects.get())
        assert counts_of(ingest_groups(world.folder)).keys() <= {"items", "unchanged", "missing"}


def stopped(world: World, rng: random.Random, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupt an ingest somewhere, and then rename groups again."""
    name = rng.choice(["write", "_move", "join"])
    original, calls, last = getattr(GroupWriter, name), count(1), rng.randint(1, 3)

    def stop(self: GroupWriter, *args: object, **kwargs: object) -> object:
        if next(calls) >= last:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(GroupWriter, name, stop)
        try:
            ingest_groups(world.folder)
        except KeyboardInterrupt:
            world.rename()

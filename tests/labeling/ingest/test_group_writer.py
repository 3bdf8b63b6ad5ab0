"""Test ingest of items with several files: files join whenever they arrive, and items are never split."""

import random
from pathlib import Path

import pytest

from hoshina.core.errors import Refusal
from hoshina.jobs.errors import Cancelled
from labeling.ingest import scan as ingest_module
from labeling.ingest.dataset_folder import dataset_for
from labeling.ingest.scan import ingest
from labeling.models import Dataset, Frame, Item, ItemTag, Problem, State
from labeling.notes.tags import tag_items
from labeling.signals import regrouped
from tests.factories import count_queries, heard_from
from tests.labeling.factories import (
    Steps,
    available_paths,
    counts_of,
    files_by_item,
    forbid_opening,
    label_item,
    labels_by_path,
    write_png,
)
from tests.labeling.groups import FLAT, ROLES, assert_consistent, ingest_groups, write_triplets

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]


# -- The plain case -----------------------------------------------------------------------------------
@pytest.mark.parametrize("template", [FLAT, "{id}/{role}.png", "{role}/{id}.png", "{role}_{id}.png"])
def test_files_of_one_group_become_one_item(tmp_path: Path, template: str) -> None:
    write_triplets(tmp_path / "in" / "night 1", range(3), template)
    write_triplets(tmp_path / "in" / "night 2", [1], template)
    result = ingest_groups(tmp_path / "in", template)
    assert counts_of(result) == {"items": 4, "new": 12}
    assert (result["grouping"], result["roles"]) == (template, list(ROLES))
    assert (result["frames"], result["incomplete"], result["left_out"]) == (12, 0, 0)
    names = ["night 1/sn0", "night 1/sn1", "night 1/sn2", "night 2/sn1"]
    assert available_paths() == names
    assert files_by_item()["night 1/sn1"] == {
        role: "night 1/" + template.replace("{id}", "sn1").replace("{role}", role) for role in ROLES
    }
    dataset = Dataset.objects.get()
    assert (dataset.grouping, dataset.roles) == (template, list(ROLES))
    assert_consistent(dataset)


def test_again_changes_nothing_opens_nothing_and_asks_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_triplets(tmp_path / "in", range(70))
    (tmp_path / "in" / "sn3_ref.png").unlink()
    ingest_groups(tmp_path / "in", FLAT)
    before = list(Item.objects.values()), list(Frame.objects.values())
    forbid_opening(monkeypatch)
    assert count_queries(ingest_groups, tmp_path / "in") < 30  # fewer than one per file
    assert counts_of(ingest_groups(tmp_path / "in")) == {"items": 70, "unchanged": 209}
    assert counts_of(ingest_groups(tmp_path / "in", FLAT)) == {"items": 70, "unchanged": 209}
    assert (list(Item.objects.values()), list(Frame.objects.values())) == before


def test_roles_have_the_order_that_the_template_gives_and_others_are_left_out(tmp_path: Path) -> None:
    write_triplets(tmp_path / "in", range(2))
    result = ingest_groups(tmp_path / "in", "{id}_{role:diff,target}.png")
    assert counts_of(result) == {"items": 2, "new": 4}
    assert (result["roles"], result["left_out"], result["incomplete"]) == (["diff", "target"], 2, 0)
    assert not Problem.objects.exists()


def test_what_does_not_match_is_a_problem_and_is_not_opened(tmp_path: Path) -> None:
    write_triplets(tmp_path / "in", [0])
    (tmp_path / "in" / "notes.png").write_bytes(b"no image, but that is not the point")
    assert counts_of(ingest_groups(tmp_path / "in", FLAT)) == {"items": 1, "new": 3, "n_failed": 1}
    problem = Problem.objects.get()
    assert (problem.path, "does not match the template" in problem.reason) == ("notes.png", True)


def test_more_roles_than_an_item_may_have_are_problems(tmp_path: Path) -> None:
    for number in range(18):
        write_png(tmp_path / "in" / f"a_{number:02}.png", seed=number)
    result = ingest_groups(tmp_path / "in", FLAT)
    assert (result["items"], result["new"], result["n_failed"], len(result["roles"])) == (1, 16, 2, 16)
    assert "There are already 16 roles" in result["failed"][0]["reason"]


def test_one_file_cannot_be_read_and_its_item_lives_with_the_others(tmp_path: Path) -> None:
    write_triplets(tmp_path / "in", range(2))
    good = (tmp_path / "in" / "sn1_ref.png").read_bytes()
    (tmp_path / "in" / "sn1_ref.png").write_bytes(b"broken")
    assert counts_of(ingest_groups(tmp_path / "in", FLAT)) == {"items": 2, "new": 5, "n_failed": 1}
    assert files_by_item()["sn1"].keys() == {"target", "diff"}
    (tmp_path / "in" / "sn1_ref.png").write_bytes(good)
    assert counts_of(ingest_groups(tmp_path / "in")) == {"items": 2, "new": 1, "unchanged": 5}
    assert files_by_item()["sn1"].keys() == set(ROLES)
    (tmp_path / "in" / "sn0_ref.png").write_bytes(b"broken too")
    result = ingest_groups(tmp_path / "in")
    assert counts_of(result) == {"items": 2, "unchanged": 5, "n_failed": 1}
    assert (result["incomplete"], files_by_item()["sn0"].keys()) == (1, {"target", "diff"})
    for role in ROLES:
        (tmp_path / "in" / f"sn0_{role}.png").write_bytes(b"broken all")
    # A broken file is not missing.
    assert counts_of(ingest_groups(tmp_path / "in")) == {"items": 2, "unchanged": 3, "n_failed": 3}
    assert available_paths() == ["sn1"]
    assert_consistent(Dataset.objects.get())


def test_of_two_files_for_one_role_the_second_is_a_problem_until_the_first_is_gone(tmp_path: Path) -> None:
    write_triplets(tmp_path / "in", [0], "{id}_{role}.a.png")
    write_png(tmp_path / "in" / "sn0_ref.b.png", seed=50)
    result = ingest_groups(tmp_path / "in", "{id}_{role:target,ref,diff}.*")
    assert counts_of(result) == {"items": 1, "new": 3, "n_failed": 1}
    assert Problem.objects.get().reason == "The item “sn0” already has a file for “ref”: sn0_ref.a.png."
    assert counts_of(ingest_groups(tmp_path / "in")) == {"items": 1, "unchanged": 3, "n_failed": 1}
    (tmp_path / "in" / "sn0_ref.a.png").unlink()
    assert counts_of(ingest_groups(tmp_path / "in")) == {"items": 1, "changed": 1, "unchanged": 2}
    assert files_by_item()["sn0"]["ref"] == "sn0_ref.b.png"
    assert not Problem.objects.exists()


# -- What comes and goes ------------------------------------------------------------------------------
@pytest.mark.parametrize("template", [FLAT, "{role}/{id}.png"])
@pytest.mark.parametrize("seed", range(3))
def test_files_that_come_in_any_order_make_the_same_items(tmp_path: Path, template: str, seed: int) -> None:
    rng = random.Random(seed)
    write_triplets(tmp_path / "all", range(12), template)
    files = sorted(file.relative_to(tmp_path / "all") for file in (tmp_path / "all").rglob("*.png"))
    del files[5]
    rng.shuffle(files)
    rows: dict[str, int] = {}
    while files:
        for file in [files.pop() for _ in range(min(len(files), rng.randint(1, 12)))]:
            (tmp_path / "in" / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "all" / file).rename(tmp_path / "in" / file)
        result = ingest_groups(tmp_path / "in", template)
        assert rows.items() <= (rows := dict(Item.objects.values_list("path", "row"))).items()
    assert result["incomplete"] == 1
    files_of = files_by_item()
    assert available_paths() == sorted(f"sn{number}" for number in range(12))
    assert sum(len(frames) for frames in files_of.values()) == 35
    for path, frames in files_of.items():
        assert frames == {role: template.replace("{id}", path).replace("{role}", role) for role in frames}
    assert_consistent(Dataset.objects.get())


def test_a_file_that_vanishes_makes_its_item_incomplete_and_all_of_them_make_it_missing(tmp_path: Path) -> None:
    write_triplets(tmp_path / "in", range(3))
    ingest_groups(tmp_path / "in", FLAT)
    label_item("sn1")
    (tmp_path / "in" / "sn1_ref.png").rename(tmp_path / "sn1_ref.png")
    result = ingest_groups(tmp_path / "in")
    assert (counts_of(result), result["incomplete"]) == ({"items": 3, "unchanged": 8}, 1)
    assert files_by_item()["sn1"].keys() == {"target", "diff"}
    for role in ("target", "diff"):
        (tmp_path / "in" / f"sn1_{role}.png").rename(tmp_path / f"sn1_{role}.png")
    result = ingest_groups(tmp_path / "in")
    assert (counts_of(result), result["incomplete"]) == ({"items": 3, "unchanged": 6, "missing": 1}, 0)
    assert counts_of(ingest_groups(tmp_path / "in")) == {"items": 3, "unchanged": 6, "missing": 1}
    for role in ROLES:
        (tmp_path / f"sn1_{role}.png").rename(tmp_path / "in" / f"sn1_{role}.png")
    assert counts_of(ingest_groups(tmp_path / "in")) == {"items": 3, "new": 1, "unchanged": 8, "returned": 1}
    assert labels_by_path() == {"sn1": "was sn1"}
    assert all(frames.keys() == set(ROLES) for frames in files_by_item().values())
    assert_consistent(Dataset.objects.get())


def test_a_role_that_is_gone_is_no_longer_asked_for(tmp_path: Path) -> None:
    write_triplets(tmp_path / "in", range(2))
    assert ingest_groups(tmp_path / "in", FLAT)["roles"] == ["target", "ref", "diff"]
    for number in range(2):
        (tmp_path / "in" / f"sn{number}_ref.png").unlink()
    result = ingest_groups(tmp_path / "in")
    assert (result["roles"], result["incomplete"]) == (["target", "diff"], 0)


def test_a_changed_file_is_read_again_and_one_still_being_written_waits(tmp_path: Path) -> None:
    write_triplets(tmp_path / "in", range(2))
    ingest_groups(tmp_path / "in", FLAT)
    rows = dict(Item.objects.values_list("path", "row"))
    write_png(tmp_path / "in" / "sn0_ref.png", seed=99, size=30)
    write_png(tmp_path / "in" / "sn2_ref.png", seed=98)
    before = Frame.objects.get(path="sn0_ref.png").sha256
    # All files were modified just now, but known unchanged files are not checked for that.
    assert ingest_groups(tmp_path / "in", settled=3600)["waiting"] == 2
    assert counts_of(ingest_groups(tmp_path / "in")) == {"items": 3, "new": 1, "changed": 1, "unchanged": 5}
    frame = Frame.objects.get(path="sn0_ref.png")
    assert (frame.width, frame.sha256 != before, frame.item.path) == (30, True, "sn0")
    assert rows.items() <= dict(Item.objects.values_list("path", "row")).items()


@pytest.mark.parametrize("template", [FLAT, "{role}/{id}.png"])
def test_stopped_anywhere_it_goes_on_where_it_was(
    tmp_path: Path, template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_module, "_SLICE", 1)
    monkeypatch.setattr(ingest_module, "_LARGEST_SLICE", 1)
    write_triplets(tmp_path / "in", range(20), template)
    dataset = dataset_for(tmp_path / "in")
    for limit in (1, 31, 58):
        with pytest.raises(Cancelled):
            ingest(dataset, Steps(limit), grouping=template)  # type: ignore[arg-type]
        dataset.refresh_from_db()
    n_stored = Frame.objects.count()
    assert 0 < n_stored < 60
    result = ingest_groups(tmp_path / "in", template)
    assert counts_of(result) == {"items": 20, "new": 60 - n_stored, "unchanged": n_stored}
    assert all(frames.keys() == set(ROLES) for frames in files_by_item().values())
    assert_consistent(dataset)


def test_what_another_run_wrote_meanwhile_is_not_written_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_triplets(tmp_path / "in", range(5))
    ingest_groups(tmp_path / "in", FLAT)
    write_png(tmp_path / "in" / "zzz_ref.png")
    monkeypatch.setattr(ingest_module._Ingestion, "_records_of", lambda self, group: {})
    ingest_groups(tmp_path / "in")
    assert all(frames.keys() == set(ROLES) for path, frames in files_by_item().items() if path != "zzz")
    assert Frame.objects.count() == 16
    assert_consistent(Dataset.objects.get())


# -- Grouped otherwise --------------------------------------------------------------------------------
def test_where_nothing_is_decided_files_can_be_grouped_otherwise(tmp_path: Path) -> None:
    write_triplets(tmp_path / "in", range(4))
    with heard_from(regrouped) as heard:
        assert counts_of(ingest_groups(tmp_path / "in")) == {"items": 12, "new": 12}
        assert counts_of(ingest_groups(tmp_path / "in", FLAT)) == {"items": 4, "new": 12}
        assert counts_of(ingest_groups(tmp_path / "in", "")) == {"items": 12, "new": 12}
    dataset = Dataset.objects.get()
    assert ([news["dataset_id"] for news in heard], dataset.grouping, dataset.roles) == ([dataset.pk] * 2, "", [])
    assert_consistent(dataset)


def test_regrouping_deletes_no_tags(tmp_path: Path) -> None:
    write_triplets(tmp_path / "in", range(4))
    ingest_groups(tmp_path / "in")
    tag_items(Dataset.objects.get(), [Item.objects.earliest("pk").pk], "odd", None, is_on=True)
    with pytest.raises(Refusal, match="tags or notes, which regrouping would delete"):
        ingest_groups(tmp_path / "in", FLAT)
    assert ItemTag.objects.count() == 1


def test_items_that_somebody_decided_about_are_neither_merged_nor_split(tmp_path: Path) -> None:
    write_triplets(tmp_path / "in", range(4))
    ingest_groups(tmp_path / "in")
    Item.objects.filter(path="sn1_ref.png").update(state=State.SKIPPED)
    before = list(Item.objects.values())
    with pytest.raises(Refusal, match="1 image of in has a decision, with each file as an item"):
        ingest_groups(tmp_path / "in", FLAT)
    assert list(Item.objects.values()) == before
    ingest_groups(tmp_path / "in", "")  # already the current grouping
    assert counts_of(ingest_groups(tmp_path / "in", FLAT, name="in groups")) == {"items": 4, "new": 12}


@pytest.mark.parametrize(
    ("before", "after", "path", "roles"),
    [
        (FLAT, "{id}_{role}.*", "n/sn1", list(ROLES)),
        (FLAT, "n/{id}_{role}.png", "sn1", list(ROLES)),
        (FLAT, "{id}_{role:diff,ref,target}.png", "n/sn1", ["diff", "ref", "target"]),
        (FLAT, "{id}_{role:diff,target}.png", "n/sn1", ["diff", "target"]),
        (FLAT, "{id}n{role}.png", None, []),
    ],
)
def test_a_template_by_which_items_stay_the_same_keeps_their_labels(
    tmp_path: Path, before: str, after: str, path: str | None, roles: list[str]
) -> None:
    write_triplets(tmp_path / "in" / "n", range(4))
    ingest_groups(tmp_path / "in", before)
    rows = set(Item.objects.values_list("row", "pk"))
    label_item("n/sn1")
    if path is None:
        with pytest.raises(Refusal, match="merge or split"):
            ingest_groups(tmp_path / "in", after)
        assert labels_by_path() == {"n/sn1": "was n/sn1"}
        return
    assert ingest_groups(tmp_path / "in", after)["new"] == 0
    assert labels_by_path() == {path: "was n/sn1"}
    assert set(Item.objects.values_list("row", "pk")) == rows
    assert files_by_item()[path].keys() == set(roles)
    assert Dataset.objects.get().roles == roles
    assert_consistent(Dataset.objects.get())


def test_a_template_that_fits_no_file_changes_nothing(tmp_path: Path) -> None:
    write_triplets(tmp_path / "in", range(2))
    ingest_groups(tmp_path / "in")
    before = list(Item.objects.values())
    with pytest.raises(Refusal, match="None of the images in"):
        ingest_groups(tmp_path / "in", "{id}_{role}.fits")
    assert list(Item.objects.values()) == before
    assert Dataset.objects.get().grouping == ""

"""Vectors of items that have several frames."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoshina.jobs.lifecycle import run_now
from labeling.images.composite import Composition
from labeling.images.lupton_rgb import composite
from labeling.images.open_image import open_image
from labeling.models import Dataset, Item
from modeling import store as disk
from modeling.backends.hog import HogEncoder
from modeling.backends.plugins import LoadedEncoder
from modeling.encoders import pipeline as encoder_pipeline
from modeling.encoders.choice import sets_as_shown
from modeling.encoders.frames import encode_files, joined
from modeling.encoders.input_spec import InputSpec
from modeling.models import EmbeddingSet
from tests.factories import call_after, interrupt_at, not_none
from tests.labeling.factories import write_png
from tests.labeling.groups import FLAT, ROLES, ingest_groups, write_triplets

HOG = LoadedEncoder(HogEncoder())

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(encoder_pipeline, "CHUNK_ROWS", 4)
    monkeypatch.setattr(encoder_pipeline, "_encoders", {})
    settings.EMBEDDING_BACKEND = "hog"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Provide six triplets: 2 lacks its reference, 3 has only that, that of 4 is unreadable."""
    folder = tmp_path / "in"
    write_triplets(folder, range(6))
    (folder / "sn2_ref.png").unlink()
    for role in ("target", "diff"):
        (folder / f"sn3_{role}.png").unlink()
    ingest_groups(folder, FLAT)
    (folder / "sn4_ref.png").write_bytes(b"broken since it was read")
    return folder


def embed() -> dict[str, Any]:
    return run_now("embed", dataset_id=Dataset.objects.get().pk).result


def vectors() -> dict[str, np.ndarray[Any, Any]]:
    """Return the active vectors by their items' paths."""
    found = not_none(disk.open_vectors(EmbeddingSet.objects.get(is_active=True)))
    rows = dict(Item.objects.values_list("path", "row"))
    return {path: found.X[row] for path, row in rows.items() if found.has[row]}


def alone(file: Path) -> np.ndarray[Any, Any]:
    """Return the encoder's embedding of one file."""
    return np.asarray(HOG.encode([open_image(file, max_side=HOG.decode_side)])[0])


def compose(**choices: Any) -> None:
    Dataset.objects.update(composition=Composition(**choices).as_params())


def test_vectors_stand_one_behind_the_other_in_the_order_of_the_roles(folder: Path) -> None:
    result = embed()
    assert (result["items"], result["failed"], result["dim"]) == (6, 0, 3 * HOG.dim)
    found = vectors()
    whole = [alone(folder / f"sn0_{role}.png") for role in ROLES]
    np.testing.assert_allclose(found["sn0"], np.concatenate(whole), atol=1e-6)


def require_role_means(folder: Path, found: dict[str, np.ndarray[Any, Any]], lacking: dict[str, set[str]]) -> None:
    """Check that missing frames are replaced by the mean of the role over the items that have it."""
    frames = {
        (name, role): alone(folder / f"{name}_{role}.png")
        for name in found for role in ROLES if role not in lacking.get(name, ())
    }  # fmt: skip
    means = {role: np.mean([one for (_, its), one in frames.items() if its == role], axis=0) for role in ROLES}
    for name, vector in found.items():
        wanted = np.concatenate([frames.get((name, role), means[role]) for role in ROLES])
        np.testing.assert_allclose(vector, wanted, atol=1e-6)


LACKING = {"sn2": {"ref"}, "sn3": {"target", "diff"}, "sn4": {"ref"}}


def test_the_mean_of_its_role_stands_for_a_missing_frame_also_when_more_come(folder: Path) -> None:
    embed()
    require_role_means(folder, vectors(), LACKING)
    write_triplets(folder, range(6, 15))
    ingest_groups(folder)
    assert embed()["computed"] == 9 + 1  # and sn4, whose broken file is no part of it any more
    require_role_means(folder, vectors(), LACKING)
    write_png(folder / "sn2_ref.png", seed=21)
    (folder / "sn7_target.png").unlink()
    ingest_groups(folder)
    embed()
    require_role_means(folder, vectors(), {"sn3": {"target", "diff"}, "sn4": {"ref"}, "sn7": {"target"}})


def test_it_is_the_same_whenever_the_images_came(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit by bit: in one run, or a few images at a time in runs of which one was stopped in the middle."""
    write_triplets(folder, range(6, 15))
    ingest_groups(folder)
    embed()
    at_once = vectors()
    EmbeddingSet.objects.get().delete()
    Item.objects.filter(row__gte=4).update(is_available=False)
    embed()
    Item.objects.update(is_available=True)
    call_after(monkeypatch, encoder_pipeline, "embed_chunk", interrupt_at(2))
    with pytest.raises(KeyboardInterrupt):
        embed()
    assert disk.has_parts(EmbeddingSet.objects.get())
    embed()
    later = vectors()
    assert later.keys() == at_once.keys()
    for name, vector in later.items():
        np.testing.assert_array_equal(vector, at_once[name])


def test_vectors_are_averaged_over_the_frames_that_are_there(folder: Path) -> None:
    compose(vectors="average")
    assert embed()["dim"] == HOG.dim
    found = vectors()
    np.testing.assert_allclose(
        found["sn1"], np.mean([alone(folder / f"sn1_{role}.png") for role in ROLES], 0), atol=1e-6
    )
    np.testing.assert_allclose(found["sn3"], alone(folder / "sn3_ref.png"), atol=1e-6)


def test_a_colour_image_is_encoded_as_people_see_it(folder: Path) -> None:
    compose(layout="rgb")
    result = embed()
    assert (result["dim"], result["items"], result["failed"]) == (HOG.dim, 5, 1)  # of sn4 one band can't be read
    dataset = Dataset.objects.get()
    for name in ("sn0", "sn2", "sn3"):
        files = {role: file for role in ROLES if (file := folder / f"{name}_{role}.png").exists()}
        shown = composite(files, ROLES, dataset.composed_as, dataset.shown_as, HOG.decode_side)
        np.testing.assert_allclose(vectors()[name], HOG.encode([shown])[0], atol=1e-6)
    compose(layout="rgb", bands=("target", "ref", "diff"))
    assert embed()["computed"] == 5
    assert EmbeddingSet.objects.count() == 2


def test_a_file_that_joins_changes_or_changes_places_makes_the_vector_stale(folder: Path) -> None:
    embed()
    assert embed()["computed"] == 0
    write_png(folder / "sn2_ref.png", seed=21)
    ingest_groups(folder)
    assert embed()["computed"] == 2  # and sn4, whose broken file is no part of it any more
    write_png(folder / "sn0_diff.png", seed=77)
    (folder / "sn1_ref.png").rename(folder / "aside.fits")
    (folder / "sn1_target.png").rename(folder / "sn1_ref.png")
    (folder / "aside.fits").rename(folder / "sn1_target.png")
    ingest_groups(folder)
    assert embed()["computed"] == 2
    np.testing.assert_allclose(vectors()["sn1"][: HOG.dim], alone(folder / "sn1_target.png"), atol=1e-6)
    (folder / "sn5_ref.png").unlink()
    ingest_groups(folder)
    assert embed()["computed"] == 1


def test_another_composition_or_role_has_vectors_of_its_own(folder: Path) -> None:
    embed()
    beside = EmbeddingSet.objects.get(is_active=True)
    assert list(sets_as_shown(Dataset.objects.get())) == [beside]
    compose(vectors="average")
    assert not sets_as_shown(Dataset.objects.get()).exists()
    assert embed()["computed"] == 6
    average = EmbeddingSet.objects.get(is_active=True)
    assert average != beside
    compose(layout="blink", vectors="average")  # only looked at otherwise
    assert list(sets_as_shown(Dataset.objects.get())) == [average]
    compose()
    assert embed()["computed"] == 0  # kept
    assert EmbeddingSet.objects.get(is_active=True) == beside
    write_png(folder / "sn1_mask.png", seed=5)
    ingest_groups(folder)
    assert embed()["dim"] == 4 * HOG.dim
    assert EmbeddingSet.objects.count() == 3


def test_another_composition_while_vectors_are_computed_is_gone_over_to(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call_after(monkeypatch, encoder_pipeline, "embed_chunk", lambda *_: compose(vectors="average"))
    monkeypatch.setattr("django.conf.settings.JOB_PROGRESS", 0)
    assert embed()["dim"] == HOG.dim


def test_grouped_otherwise_nothing_of_the_old_rows_is_left(folder: Path) -> None:
    from sampling.models import Round

    embed()
    dataset = Dataset.objects.get()
    Round.objects.create(dataset=dataset, queue="random", seed=0)
    ingest_groups(folder, "{id}n{role}.png")
    assert not EmbeddingSet.objects.exists()
    assert not Round.objects.exists()


def test_what_is_seen_goes_through_json_and_its_key_tells_what_vectors_depend_on() -> None:
    plain = InputSpec()
    assert (plain.key, InputSpec.from_params(plain.as_params())) == ("", plain)
    three = InputSpec(roles=ROLES)
    average = InputSpec(roles=ROLES, composition=Composition(vectors="average"))
    keys = [one.key for one in (plain, three, average, InputSpec(roles=ROLES[::-1]), InputSpec(roles=ROLES[:2]))]
    assert len(set(keys)) == 5
    assert InputSpec(roles=ROLES[:2], composition=Composition(vectors="average")).key == average.key
    assert InputSpec(roles=ROLES, composition=Composition(layout="blink")).key == three.key
    for spec in (three, average):
        assert InputSpec.from_params(spec.as_params()) == spec
        assert (spec.width(5), spec.has_parts) == (15 if spec is three else 5, True)


@given(st.data())
def test_joining_agrees_with_one_item_at_a_time(data: st.DataObject) -> None:
    n, n_roles, dim = (data.draw(st.integers(1, top)) for top in (6, 4, 3))
    frames = data.draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n_roles - 1)), unique=True))
    X = np.random.default_rng(len(frames)).normal(size=(len(frames), dim)).astype(np.float32)
    owner, slot = (np.array([one[part] for one in frames], dtype=np.int64) for part in (0, 1))
    roles = tuple(f"r{number}" for number in range(n_roles))
    for how in ("concatenate", "average"):
        spec = InputSpec(roles=roles, composition=Composition(vectors=how))
        found, missing = joined(X, owner, slot, n, spec)
        assert found.shape == (n, spec.width(dim))
        for item in range(n):
            mine = {s: vector for o, s, vector in zip(owner, slot, X, strict=True) if o == item}
            nothing = np.zeros(dim)
            if how == "concatenate":
                assert missing[item].tolist() == [number not in mine for number in range(n_roles)]
                wanted = [mine.get(number, nothing) for number in range(n_roles)]
            else:
                assert missing[item].tolist() == [not mine]
                wanted = [np.mean(list(mine.values()), axis=0) if mine else nothing]
            np.testing.assert_allclose(found[item], np.concatenate(wanted), atol=1e-5)


# -- Batches -----------------------------------------------------------------------------------------
@pytest.fixture
def ten_files(tmp_path: Path) -> list[Path]:
    """Provide ten images, of which the fifth cannot be read."""
    files = [tmp_path / f"{number}.png" for number in range(10)]
    for number, file in enumerate(files):
        write_png(file, seed=number)
    files[4].write_bytes(b"broken")
    return files


def in_threes() -> LoadedEncoder:
    encoder = LoadedEncoder(HogEncoder())
    encoder.batch_size = 3
    return encoder


def test_batches_at_the_same_time_keep_the_order(ten_files: list[Path]) -> None:
    steps: list[int] = []
    found, readable, problems = encode_files(in_threes(), ten_files, steps.append)
    assert steps == [3, 3, 3, 1]
    assert np.flatnonzero(~readable).tolist() == [4]
    assert [path for path, _ in problems] == [ten_files[4]]
    images = [open_image(file) for file in ten_files if file != ten_files[4]]
    np.testing.assert_array_equal(found[readable], HOG.encode(images))


def test_a_batch_in_which_no_file_is_readable(ten_files: list[Path]) -> None:
    found, readable, problems = encode_files(in_threes(), [ten_files[4]] * 3 + ten_files[:1], lambda n: None)
    assert (readable.tolist(), len(problems)) == ([False, False, False, True], 3)
    np.testing.assert_array_equal(found[3:], HOG.encode([open_image(ten_files[0])]))


def test_encoding_can_be_stopped_after_each_batch(ten_files: list[Path]) -> None:
    steps: list[int] = []

    def stop(n: int) -> None:
        steps.append(n)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_files(in_threes(), ten_files, stop)
    assert steps == [3]

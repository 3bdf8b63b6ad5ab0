"""Backups: everything that cannot be computed again comes back, and nothing else than what was saved."""

import json
import shutil
import sqlite3
import stat
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db.migrations.recorder import MigrationRecorder
from filelock import FileLock

from hoshina.backup import archive as archives
from hoshina.backup import create as creating
from hoshina.backup.archive import Archive, Manifest, Member, opened, writing_archive
from hoshina.backup.create import create, create_dated
from hoshina.backup.restore import check, restore
from hoshina.core.errors import Refusal
from hoshina.jobs.models import Job
from hoshina.jobs.presence import say_alive
from labeling.fields.columns import column_of
from labeling.ingest.image_uploads import new_uploads, save_images
from labeling.models import Dataset, Field
from modeling.maps.coordinates import coordinates_of
from modeling.models import EmbeddingSet, ModelVersion, Projection
from modeling.versions import model_files
from tests.factories import MakeDataset, call_after, call_before, command_output, decide
from tests.operations.stores import another_store, files, fill, rows

DECISIONS = ("labeling.Dataset", "labeling.LabelClass", "labeling.Item", "labeling.Frame", "labeling.Action")
DECISIONS += ("labeling.Annotation", "labeling.Problem", "modeling.EncoderChoice", "auth.User")
FILES = ("fields", "models", "maps", "encoders/own", "examples")


@pytest.fixture
def saved(file_store: Path, make_dataset: MakeDataset, tmp_path: Path) -> Path:
    """Provide a backup of a store with something of everything."""
    fill(make_dataset, file_store)
    create(tmp_path / "a.zip")
    return tmp_path / "a.zip"


@pytest.fixture
def uploaded(file_store: Path) -> Dataset:
    """Provide a dataset with an uploaded image."""
    dataset = new_uploads("phone")
    save_images(dataset, [SimpleUploadedFile("a.png", b"a picture", "image/png")])
    return dataset


# -- There and back -------------------------------------------------------------------------------
def test_a_full_backup_restores_rows_and_files(saved: Path, file_store: Path, tmp_path: Path, settings: Any) -> None:
    labels = (*DECISIONS, "labeling.Field", "modeling.ModelVersion", "sampling.Round", "sampling.Check")
    before, files_before = rows(*labels), files(file_store, *FILES)
    assert len(files_before) >= 4
    with another_store(tmp_path / "other", settings) as other:
        result = restore(saved)
        assert (result["datasets"], result["items"], result["moved_to"]) == (1, 30, None)
        assert rows(*labels) == before
        assert files(other, *FILES) == files_before
        assert column_of(Field.objects.get()).values[3] == 0.5
        assert coordinates_of(Projection.objects.get()).shape == (30, 2)
        version = ModelVersion.objects.get()
        assert model_files.open_probabilities(version).shape == (30, 2)
        decide(Dataset.objects.get(), "assign", [29], "dog")


def test_what_is_computed_again_is_left_out(saved: Path, tmp_path: Path, settings: Any) -> None:
    with zipfile.ZipFile(saved) as archive:
        names = archive.namelist()
    assert {name.split("/")[1] for name in names if name.startswith("store/")} == {
        "fields", "models", "maps", "encoders", "examples",
    }  # fmt: skip
    assert "store/encoders/net.pb" not in names
    with another_store(tmp_path / "other", settings):
        restore(saved)
        assert list(EmbeddingSet.objects.values_list("generation", "n_vectors").distinct()) == [(0, 0)]
        assert Projection.objects.get().vectors_generation == 0
        assert Job.objects.get(kind="embed").state == Job.State.LOST


def test_a_restored_store_reads_its_folders_again(
    saved: Path, tmp_path: Path, settings: Any, picture_folder: Any
) -> None:
    with another_store(tmp_path / "other", settings):
        assert restore(saved)["no_folder"] == [str(tmp_path / "pictures")]
        assert not Job.objects.filter(kind="ingest").exists()
    picture_folder(2)
    with another_store(tmp_path / "third", settings):
        assert restore(saved)["no_folder"] == []
        assert Job.objects.get(kind="ingest").state == Job.State.QUEUED


def test_uploaded_images_are_found_in_another_store(
    uploaded: Dataset, file_store: Path, tmp_path: Path, settings: Any
) -> None:
    create(tmp_path / "a.zip")
    shutil.rmtree(file_store / "uploads")
    with another_store(tmp_path / "other", settings) as other:
        assert restore(tmp_path / "a.zip")["no_folder"] == []
        assert (Dataset.objects.get().data_dir / "a.png").read_bytes() == b"a picture"
        assert Dataset.objects.get().data_dir.is_relative_to(other)


def test_a_backup_of_the_labels_leaves_uploaded_images_in_place(
    uploaded: Dataset, file_store: Path, tmp_path: Path
) -> None:
    create(tmp_path / "labels.zip", labels_only=True)
    assert restore(tmp_path / "labels.zip", overwrite=True)["no_folder"] == []
    assert (uploaded.data_dir / "a.png").exists()


def test_nothing_in_it_signs_anybody_in(saved: Path, file_store: Path) -> None:
    with closing(sqlite3.connect(file_store / "app.db")) as database:
        [(key,)] = database.execute("select session_key from django_session").fetchall()
    with zipfile.ZipFile(saved) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    assert not any(key.encode() in content for content in contents.values())
    assert not any("secret_key" in name or "token" in name for name in contents)
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600


def test_a_backup_of_the_labels_alone(
    file_store: Path, make_dataset: MakeDataset, tmp_path: Path, settings: Any
) -> None:
    fill(make_dataset, file_store)
    full, small = create(tmp_path / "full.zip"), create(tmp_path / "labels.zip", labels_only=True)
    assert (small["kind"], small["files"]) == ("labels", 1)
    assert small["bytes"] < full["bytes"]
    before = rows(*DECISIONS)
    for row in before["labeling.Dataset"]:
        row["together_by_id"] = None
    with another_store(tmp_path / "other", settings):
        restore(tmp_path / "labels.zip")
        assert rows(*DECISIONS) == before
        empty = ("Field", "ModelVersion", "EmbeddingSet", "Projection", "Round", "ServedPage", "Check", "Job", "Lease")
        assert {name: n for label, n in rows().items() if (name := label.split(".")[1]) in empty and n} == {}


def test_a_present_store_is_moved_aside(saved: Path, file_store: Path) -> None:
    decide(Dataset.objects.get(), "assign", [29], "dog")
    n_newer = len(rows("labeling.Annotation")["labeling.Annotation"])
    with pytest.raises(Refusal, match="holds datasets"):
        restore(saved)
    assert len(rows("labeling.Annotation")["labeling.Annotation"]) == n_newer
    aside = Path(restore(saved, overwrite=True)["moved_to"])
    assert len(rows("labeling.Annotation")["labeling.Annotation"]) == n_newer - 1
    with closing(sqlite3.connect(aside / "app.db")) as database:
        assert database.execute("select count(*) from labeling_annotation").fetchone() == (n_newer,)
    assert (aside / "vectors").is_dir()
    assert not (file_store / "vectors").exists()
    assert (file_store / "secret_key").read_bytes() == b"content of secret_key"
    assert not list(file_store.glob("*.tmp"))


# -- Changes during a backup ------------------------------------------------------------------------
def test_a_column_that_is_replaced_meanwhile(
    file_store: Path, make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database was copied with a generation whose files are gone: the backup is made again."""
    fill(make_dataset, file_store)
    monkeypatch.setattr(creating, "_PAUSE", 0)
    [first] = (file_store / "fields").glob("*/values-1.npy")
    changes = []

    def replace(*_: object, **__: object) -> None:
        if not changes:
            changes.append(first.rename(first.with_name("values-2.npy")))
            Field.objects.update(generation=2)

    call_before(monkeypatch, creating, "freeze", replace)
    result = create(tmp_path / "a.zip")
    assert "missing" not in result
    with opened(tmp_path / "a.zip") as archive:
        assert f"store/fields/{first.parent.name}/values-2.npy" in archive.manifest.members


def test_a_file_that_is_missing_in_the_store_is_named(
    file_store: Path, make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(make_dataset, file_store)
    monkeypatch.setattr(creating, "_PAUSE", 0)
    shutil.rmtree(file_store / "maps")
    assert create(tmp_path / "a.zip")["missing"] == [f"maps/{Projection.objects.get().pk}/coordinates-1.npy"]


def test_a_failure_leaves_nothing_behind(
    file_store: Path, make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(make_dataset, file_store)

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    call_after(monkeypatch, archives.Writer, "add_file", fail)
    with pytest.raises(OSError, match="No space"):
        create(tmp_path / "out" / "a.zip")
    assert list((tmp_path / "out").iterdir()) == []
    assert not list(file_store.glob("*.tmp"))


# -- Damage and other versions -----------------------------------------------------------------------
def rewritten(path: Path, *, change: Any = lambda manifest: manifest, members: dict[str, bytes] | None = None) -> Path:
    """Write an archive again with another manifest or further members."""
    target = path.with_name("changed.zip")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "manifest.json":
                content = json.dumps(change(json.loads(content))).encode()
            new.writestr(name, content)
        for name, content in (members or {}).items():
            new.writestr(name, content)
    return target


def refused(path: Path, message: str, store: Path) -> None:
    before = rows("labeling.Annotation")
    for action in (check, lambda path: restore(path, overwrite=True)):
        with pytest.raises(Refusal, match=message):
            action(path)
    assert rows("labeling.Annotation") == before
    assert not list(store.glob("before-restore*"))
    assert not list(store.glob("*.tmp"))


def test_a_flipped_bit_is_found(saved: Path, file_store: Path) -> None:
    assert check(saved)["items"] == 30
    with zipfile.ZipFile(saved) as archive:
        info = archive.getinfo("database.sqlite3")
    content = bytearray(saved.read_bytes())
    content[info.header_offset + 200] ^= 1
    saved.write_bytes(content)
    refused(saved, "is damaged", file_store)


def test_a_file_that_was_cut_short(saved: Path, file_store: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-1000])
    refused(saved, "is damaged", file_store)


def test_content_that_is_not_what_was_saved(saved: Path, file_store: Path) -> None:
    def change(manifest: dict[str, Any]) -> dict[str, Any]:
        manifest["members"]["database.sqlite3"]["sha256"] = "0" * 64
        return manifest

    refused(rewritten(saved, change=change), "another SHA-256", file_store)


def test_files_that_the_manifest_does_not_list(saved: Path, file_store: Path) -> None:
    refused(rewritten(saved, members={"store/models/1/x": b""}), "not those that it lists", file_store)


@pytest.mark.parametrize(
    "name", ["../evil", "store/../../evil", "/etc/evil", "store\\evil", "C:evil", "store/models//x"]
)  # fmt: skip
def test_names_that_lead_out_of_the_store(saved: Path, file_store: Path, name: str) -> None:
    def change(manifest: dict[str, Any]) -> dict[str, Any]:
        manifest["members"][name] = {"sha256": "0" * 64, "size": 1}
        return manifest

    refused(rewritten(saved, change=change, members={name: b"x"}), "which no backup has", file_store)


def test_links_in_an_archive(saved: Path, file_store: Path) -> None:
    link = zipfile.ZipInfo("store/models/1/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16

    def change(manifest: dict[str, Any]) -> dict[str, Any]:
        manifest["members"][link.filename] = {"sha256": "0" * 64, "size": 1}
        return manifest

    target = rewritten(saved, change=change)
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    refused(target, "which no backup has", file_store)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04"])
def test_other_files(file_store: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other").write_bytes(content)
    refused(tmp_path / "other", "is damaged", file_store)
    with pytest.raises(Refusal, match="There is no file"):
        check(tmp_path / "nowhere")


def test_another_zip_file(file_store: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    refused(tmp_path / "z.zip", "not a backup of HOSHINA", file_store)
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("manifest.json", '{"format": "x"}')
    refused(tmp_path / "z.zip", "is damaged: manifest.json", file_store)


@pytest.mark.parametrize("newer", [{"format": 2}, {"schema": [["labeling", "9999_later"]]}])
def test_a_backup_of_a_newer_version(saved: Path, file_store: Path, newer: dict[str, Any]) -> None:
    target = rewritten(saved, change=lambda manifest: manifest | newer | {"version": "9.0"})
    refused(target, "made by HOSHINA 9.0, which is newer", file_store)


def test_a_backup_of_another_kind_of_database(saved: Path, file_store: Path) -> None:
    target = rewritten(saved, change=lambda manifest: manifest | {"database": "postgresql"})
    with pytest.raises(Refusal, match="of a postgresql database"):
        restore(target, overwrite=True)


def test_a_damaged_database_is_not_saved_as_sound(file_store: Path, make_dataset: MakeDataset, tmp_path: Path) -> None:
    fill(make_dataset, file_store)
    with closing(sqlite3.connect(file_store / "app.db")) as database:
        database.execute("pragma foreign_keys=off")
        database.execute("delete from labeling_item where row = 3")
        database.commit()
    with pytest.raises(Refusal, match="database is damaged"):
        create(tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()


# -- Servers -----------------------------------------------------------------------------------------
def test_a_store_in_use_is_not_restored(saved: Path, file_store: Path) -> None:
    with FileLock(file_store / "up.lock"), pytest.raises(Refusal, match="A server runs on the store"):
        restore(saved, overwrite=True)
    say_alive("heavy")
    with pytest.raises(Refusal, match="Workers run on this store"):
        restore(saved, overwrite=True)
    assert not list(file_store.glob("before-restore*"))


# -- Older stores --------------------------------------------------------------------------------------
@pytest.mark.usefixtures("file_store")
def test_a_backup_of_the_first_version_is_migrated(first_store: Path, tmp_path: Path, settings: Any) -> None:
    with closing(sqlite3.connect(first_store)) as old:
        schema = old.execute("select app, name from django_migrations").fetchall()
        old.execute("pragma journal_mode=delete")
    with writing_archive(tmp_path / "old.zip") as writer:
        writer.add_file("database.sqlite3", first_store)
        counts = {"datasets": 1, "items": 0, "decisions": 0}
        writer.finish(
            Manifest(1, "0.0.1", "2026-01-01T00:00:00+00:00", "full", "sqlite", schema, counts, writer.members)
        )
    with another_store(tmp_path / "other", settings):
        restore(tmp_path / "old.zip")
        assert Dataset.objects.get().name == "old"
        assert MigrationRecorder.Migration.objects.filter(app="labeling", name="0015_archived_datasets").exists()


# -- Several in a folder, and commands -------------------------------------------------------------------
def test_a_folder_keeps_the_newest(
    file_store: Path, make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(make_dataset, file_store)
    folder = tmp_path / "backups"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    for day in range(1, 10):
        (folder / f"hoshina-202601{day:02}-000000.zip").write_bytes(b"old")
    result = create_dated(folder, keep=7)
    assert len(result["deleted"]) == 3
    names = sorted(file.name for file in folder.iterdir())
    assert names[0] == "hoshina-20260104-000000.zip"
    assert (len(names), names[-1]) == (8, "notes.txt")
    assert check(Path(result["path"]))["items"] == 30
    with pytest.raises(Refusal, match="is a file"):
        create_dated(folder / "notes.txt", keep=7)


def test_the_commands(file_store: Path, make_dataset: MakeDataset, tmp_path: Path) -> None:
    fill(make_dataset, file_store)
    path = str(tmp_path / "a.zip")
    result = json.loads(command_output("backup", path, "--json"))
    assert {"path", "bytes", "created_at", "version", "kind", "database", "datasets", "items", "decisions"} < set(
        result
    )
    assert json.loads(command_output("backup", "--check", path, "--json")) == result
    with pytest.raises(Exception, match=r"a\.zip exists\. .*--force"):
        call_command("backup", path)
    assert "1 dataset, 30 items" in command_output("backup", path, "--force")
    with pytest.raises(Exception, match="is a folder"):
        call_command("backup", str(tmp_path))
    assert "The store as it was is in" in command_output("restore", path, "--force")
    with pytest.raises(Exception, match="holds no backup"):
        call_command("backup", "--check", str(file_store))


def test_a_manifest_lists_every_member(saved: Path) -> None:
    with zipfile.ZipFile(saved) as archive:
        manifest = Archive(saved, archive).manifest
        assert set(manifest.members) == set(archive.namelist()) - {"manifest.json"}
        assert all(isinstance(member, Member) for member in manifest.members.values())
    assert ("labeling", "0001_initial") in manifest.schema

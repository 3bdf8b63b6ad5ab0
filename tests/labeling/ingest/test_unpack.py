"""Archives and other containers of images: unpacked safely on request, else listed as problems; and addresses."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from hoshina.core.errors import Refusal
from labeling.ingest import unpack as unpacking
from labeling.ingest.dataset_folder import UPLOADS, dataset_for, url_problem
from labeling.ingest.unpack import unpack
from labeling.models import Dataset, Item, Problem
from tests.factories import command_json


def png() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (1, 2, 3)).save(stream, "PNG")
    return stream.getvalue()


def zipped(file: Path, members: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file


def left_in(store: Path) -> list[str]:
    folder = store / UPLOADS
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.mark.django_db(transaction=True)
def test_an_archive_becomes_a_dataset_on_request(store: Path, tmp_path: Path) -> None:
    file = zipped(tmp_path / "My pets.zip", {"cat/1.png": png(), "dog/2.png": png(), "read.me": b"x"})
    with pytest.raises(Refusal, match=r"My pets.zip is an archive. Unpack it, or run hoshina ingest .* --unpack"):
        dataset_for(file)
    result = command_json("ingest", "--data-dir", str(file), "--unpack", "--labels-from-folders")
    assert (result["dataset"], result["items"], result["folder_labels"]["applied"]) == ("My pets", 2, 2)
    assert set(Item.objects.values_list("path", flat=True)) == {"cat/1.png", "dog/2.png"}
    assert Dataset.objects.get().root == f"{UPLOADS}/my-pets"


@pytest.mark.attack("archives")
def test_members_that_leave_the_folder_are_left_out(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "images.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        for name in (
            "a/1.png",
            "../up.png",
            "a/../../up.png",
            "/tmp/abs.png",
            "C:/x.png",
            "a/.hidden.png",
            "a/con.png",
        ):
            member = tarfile.TarInfo(name)
            member.size = len(png())
            archive.addfile(member, io.BytesIO(png()))
        for kind, name in ((tarfile.SYMTYPE, "link.png"), (tarfile.LNKTYPE, "hard.png"), (tarfile.FIFOTYPE, "f.png")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    unpacked = unpack(file)
    found = sorted(str(path.relative_to(unpacked.folder)) for path in unpacked.folder.rglob("*") if path.is_file())
    assert found == ["a/1.png", "a/_con.png"]
    assert unpacked.left_out == {"unsafe paths": 4, "other files": 1, "links, folders and devices": 3}
    assert not list(tmp_path.rglob("up.png"))
    assert left_in(store) == ["images"]


@pytest.mark.attack("archives")
def test_a_bomb_and_bad_archives_leave_nothing(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "_HARMLESS", 10_000)
    bomb = zipped(tmp_path / "bomb.zip", {"1.png": png(), "2.png": b"\0" * 3_000_000})
    lying = zipped(tmp_path / "lying.zip", {"1.png": b"\1" * 50})
    content = lying.read_bytes()
    directory = content.rindex(b"PK\x01\x02")
    lying.write_bytes(content[: directory + 24] + (5).to_bytes(4, "little") + content[directory + 28 :])
    cut = tmp_path / "cut.zip"
    cut.write_bytes(bomb.read_bytes()[:-40])
    none = zipped(tmp_path / "none.zip", {"read.me": b"x"})
    many = zipped(tmp_path / "many.zip", {f"{number}.png": png() for number in range(5)})
    monkeypatch.setattr(unpacking, "MAX_FILES", 4)
    for file, message in (
        (bomb, "which is not like images"), (lying, "damaged|cannot be unpacked"), (cut, "cannot be unpacked"),
        (none, "no images in"), (many, "more than 4 files"), (tmp_path / "gone.zip", "No such file"),
        (tmp_path / "x.png", "is not an archive"),
    ):  # fmt: skip
        with pytest.raises(Refusal, match=message):
            unpack(file)
        assert left_in(store) == []


@pytest.mark.django_db(transaction=True)
def test_containers_in_a_folder_are_problems(store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "night"
    (folder / "deep").mkdir(parents=True)
    (folder / "1.png").write_bytes(png())
    names = ("a.zip", "b.TAR.GZ", "c.7z", "d.parquet", "deep/e.h5")
    for name in names:
        (folder / name).write_bytes(b"x")
    (folder / "notes.txt").write_text("x")
    result = command_json("ingest", "--data-dir", str(folder))
    assert (result["items"], result["n_failed"]) == (1, 5)
    reasons = dict(Problem.objects.values_list("path", "reason"))
    assert sorted(reasons) == sorted(names)
    assert "--unpack" in reasons["a.zip"]
    assert "Unpack it here, then rescan" in reasons["c.7z"]
    assert "Images within tables" in reasons["d.parquet"]
    assert "Images within HDF5 files" in reasons["deep/e.h5"]


@pytest.mark.parametrize("address", ["s3://bucket/images", "https://example.org/a.zip", "gs:/bucket", "S3://Bucket"])
def test_an_address_gets_a_helpful_sentence(address: str) -> None:
    assert "is an address, and images are read from folders" in url_problem(address)
    with pytest.raises(Refusal, match="Copy them to this machine first"):
        dataset_for(address)


@pytest.mark.parametrize("path", ["/data/images", "images", "C:/images", "C:\\images", "a:b/c", "~/x"])
def test_a_path_is_not_an_address(path: str) -> None:
    assert url_problem(path) == ""

"""Create a dataset in the browser: choose a folder, upload images, or open the demo."""

import errno
import io
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from PIL import Image

from hoshina.backup.contents import store_files
from hoshina.core.roles import Role
from hoshina.jobs.models import Job
from labeling.ingest import folder_listing
from labeling.ingest.dataset_folder import dataset_for
from labeling.ingest.demo_images import demo_folder
from labeling.ingest.image_uploads import safe_name
from labeling.models import Dataset
from tests.factories import MakeFolder, assert_contains, text
from tests.people import account

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]

FOLDERS, PREVIEW = "/datasets/folders/", "/datasets/folders/preview/"


def png(color: str = "red") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (20, 10), color).save(stream, "PNG")
    return stream.getvalue()


def image(name: str = "a.png", color: str = "red") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, png(color), "image/png")


# -- Folders --------------------------------------------------------------------------------------
def test_a_folder_shows_its_subfolders_and_how_many_images_they_have(
    client: Client, tmp_path: Path, picture_folder: MakeFolder
) -> None:
    picture_folder(3, name="night10")
    picture_folder(1, name="night9")
    (tmp_path / "night9" / "flats").mkdir()
    (tmp_path / ".hidden").mkdir()
    found = text(client.get(FOLDERS, {"path": str(tmp_path)}))
    assert_contains(found, "3 images", "1 image, 1 folder", f'value="{tmp_path}"')
    assert found.index("night9") < found.index("night10"), "in natural order"
    assert ".hidden" not in found


def test_without_a_path_it_shows_where_to_begin(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Pictures").mkdir()
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    Dataset.objects.create(name="seen", slug="seen", root=str(tmp_path / "sky" / "m31"))
    (tmp_path / "sky").mkdir()
    found = text(client.get(FOLDERS))
    assert_contains(found, "Near your datasets", str(tmp_path / "sky"), "Home", "Pictures")
    assert "Desktop" not in found


def test_a_folder_that_cannot_be_listed_is_told(client: Client, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, reason in (
        (tmp_path / "gone", "does not exist"),
        (tmp_path / "file", "is a file"),
        ("relative", "is not a full path"),
        ("/\x00", "/"),
    ):
        assert_contains(client.get(FOLDERS, {"path": str(path)}), reason)


def test_large_and_slow_folders_are_counted_in_part(
    client: Client, tmp_path: Path, picture_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture_folder(9, name="many")
    monkeypatch.setattr(folder_listing, "_MOST_ENTRIES", 4)
    monkeypatch.setattr(folder_listing, "_MOST_FOLDERS", 1)
    (tmp_path / "other").mkdir()
    assert_contains(client.get(FOLDERS, {"path": str(tmp_path)}), "4 or more images", "And 2 more folders")
    found = client.get(FOLDERS, {"path": str(tmp_path), "find": "OTH"})
    assert_contains(found, "other", 'value="OTH"', lacks=["more folder", "many"])
    assert_contains(client.get(FOLDERS, {"path": str(tmp_path), "find": "<x>"}), "No folder here has “&lt;x&gt;”")


def test_only_allowed_folders_are_listed_and_previewed(
    client: Client, settings: Any, tmp_path: Path, picture_folder: MakeFolder
) -> None:
    inside = picture_folder(1, name="inside")
    outside = picture_folder(1, name="outside")
    settings.ROOTS = [inside]
    assert_contains(client.get(FOLDERS), str(inside))
    assert "Home" not in text(client.get(FOLDERS))
    for path in (tmp_path, outside, inside / ".." / "outside"):
        assert_contains(client.get(FOLDERS, {"path": str(path)}), "Choose a folder there.")
        assert client.get(PREVIEW, {"path": str(path)}).status_code == 404
    found = client.get(FOLDERS, {"path": str(inside)})
    assert_contains(found, "1 image", "Open this folder")
    assert f'path={tmp_path}"' not in text(found), "no way up"
    (inside / "link").symlink_to(outside)
    assert "link" not in text(client.get(FOLDERS, {"path": str(inside)})).partition("folder-entries")[2]


def test_a_whole_disk_is_not_opened(client: Client) -> None:
    assert "Open this folder" not in text(client.get(FOLDERS, {"path": Path.cwd().anchor}))


def test_a_link_to_itself_and_no_home_folder(
    client: Client, picture_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = picture_folder(2)
    (folder / "loop").symlink_to(folder / "loop")
    assert_contains(client.get(FOLDERS, {"path": str(folder)}), "2 images")

    def fail() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", fail)
    assert_contains(client.get(FOLDERS), "Places")


def test_the_preview_is_the_first_image(client: Client, tmp_path: Path, picture_folder: MakeFolder) -> None:
    folder = picture_folder(2)
    response = client.get(PREVIEW, {"path": str(folder)})
    assert response["Content-Type"] == "image/png"
    assert Image.open(io.BytesIO(response.content)).size == (24, 24)
    (folder / "image0000.png").write_bytes(b"no picture")
    for path in (folder, tmp_path, "relative", tmp_path / "gone"):
        assert client.get(PREVIEW, {"path": str(path)}).status_code == 404


def test_a_link_to_an_image_elsewhere_is_not_previewed(
    client: Client, settings: Any, picture_folder: MakeFolder
) -> None:
    inside, outside = picture_folder(0, name="inside"), picture_folder(1, name="outside")
    (inside / "a.png").symlink_to(outside / "image0000.png")
    assert client.get(PREVIEW, {"path": str(inside)}).status_code == 200
    settings.ROOTS = [inside]
    assert client.get(PREVIEW, {"path": str(inside)}).status_code == 404


# -- Uploads --------------------------------------------------------------------------------------
def test_images_arrive_in_several_requests_and_are_read_after_the_last(client: Client, settings: Any) -> None:
    first = client.post("/datasets/upload/", {"name": "My  stars", "images": [image("a.png"), image("b.png", "blue")]})
    assert first.json() == {"slug": "my-stars", "url": "/d/my-stars/", "n_saved": 2, "problems": []}
    assert not Job.objects.exists()
    more = {"dataset": "my-stars", "is_last": "1", "images": [image("a.png"), image("a.png", "green")]}
    assert client.post("/datasets/upload/", more).json()["n_saved"] == 1, "the same file is saved once"
    assert Job.objects.get().kind == "ingest"
    dataset = Dataset.objects.get()
    folder = dataset.data_dir
    assert folder == settings.STORE_DIR / "uploads" / "my-stars"
    assert dataset_for(folder) == dataset
    assert sorted(file.name for file in folder.iterdir()) == ["a-2.png", "a.png", "b.png"]
    assert (folder / "a.png").read_bytes() == png()
    assert {Path("uploads/my-stars/a.png"), Path("uploads/my-stars/a-2.png")} <= set(store_files()), "in backups"


def test_names_of_compressed_files_keep_both_extensions(client: Client) -> None:
    files = [SimpleUploadedFile("a.fits.gz", content) for content in (b"1", b"2", b"2", b"345")]
    assert client.post("/datasets/upload/", {"name": "x", "images": files}).json()["n_saved"] == 3
    names = sorted(file.name for file in Dataset.objects.get().data_dir.iterdir())
    assert names == ["a-2.fits.gz", "a-3.fits.gz", "a.fits.gz"]


def test_what_is_not_an_image_is_told(client: Client) -> None:
    files = [image("a.png"), SimpleUploadedFile("notes.txt", b"x"), SimpleUploadedFile("evil.png.exe", b"x")]
    answer = client.post("/datasets/upload/", {"name": "mixed", "images": files}).json()
    assert (answer["n_saved"], answer["slug"]) == (1, "mixed")
    nothing = client.post("/datasets/upload/", {"name": "none", "images": files[1:]}).json()
    assert (nothing["n_saved"], nothing["slug"], len(nothing["problems"])) == (0, "", 2)
    assert [dataset.name for dataset in Dataset.objects.all()] == ["mixed"], "no empty dataset is left"
    assert answer["problems"] == [
        f"{name} is not an image in a format that HOSHINA reads." for name in ("notes.txt", "evil.png.exe")
    ]


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../etc/passwd.png", "passwd.png"),
        ("C:\\images\\a.png", "a.png"),
        ("a\x00b\n.png", "a_b_.png"),
        ("con.png", "_con.png"),
        (" .hidden.png ", "hidden.png"),
        ("x" * 400 + ".png", "x" * 146 + ".png"),
        ("星" * 100 + ".png", "星" * 48 + ".png"),
        ("..", ""),
    ],
)
def test_names_stay_inside_the_folder_and_are_valid_everywhere(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_uploads_are_refused_with_a_reason(client: Client, settings: Any, picture_folder: MakeFolder) -> None:
    Dataset.objects.create(name="taken", slug="taken", root=str(picture_folder(1)))

    def error(status: int, **data: Any) -> str:
        response = client.post("/datasets/upload/", data)
        assert response.status_code == status
        return str(response.json()["error"])

    assert "Choose images first" in error(422, name="x")
    assert "already a dataset “Taken”" in error(422, name="Taken", images=[image()])
    assert "at most 120" in error(422, name="x" * 121, images=[image()])
    assert "folder of their own" in error(422, dataset="taken", images=[image()])
    assert client.post("/datasets/upload/", {"dataset": "no", "images": [image()]}).status_code == 404
    settings.DATA_DIR = picture_folder(1)
    assert "AL_DATA_DIR" in error(403, name="x", images=[image()])
    assert client.post("/datasets/demo/").status_code == 403
    assert Dataset.objects.count() == 1


def test_an_upload_continues_after_an_error(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("labeling.ingest.image_uploads.replacing", raise_no_space)
        failed = client.post("/datasets/upload/", {"name": "stars", "images": [image()]})
    assert failed.status_code == 507
    assert "Is the disk full?" in failed.json()["error"]
    assert failed.json()["slug"] == "stars"
    assert client.post("/datasets/upload/", {"dataset": "stars", "images": [image()]}).json()["n_saved"] == 1


def raise_no_space(*args: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


# -- The demo -------------------------------------------------------------------------------------
def test_the_demo_is_created_once_and_opened_again(client: Client) -> None:
    for _ in range(2):
        assert client.post("/datasets/demo/").headers["Location"] == "/d/digits/"
    dataset = Dataset.objects.get()
    assert dataset.root == str(demo_folder().resolve())
    assert not demo_folder().exists(), "a worker writes the images"
    assert Job.objects.get().dataset_id == dataset.pk


def test_only_administrators_see_folders_of_the_server(client: Client, settings: Any, tmp_path: Path) -> None:
    settings.LOGIN_REQUIRED = True
    client.force_login(account(Role.MANAGER))
    assert client.get(FOLDERS, {"path": str(tmp_path)}).status_code == 403
    assert client.get(PREVIEW, {"path": str(tmp_path)}).status_code == 403

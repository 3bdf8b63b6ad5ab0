"""Thumbnails and full views: right bytes, right headers, and nothing from outside of the folder."""

import errno
import io
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from django.http import HttpResponseBase
from django.test import Client
from PIL import Image

from labeling.display.settings import compose_as
from labeling.images.composite import Composition
from labeling.images.decoder_pool import Decoders
from labeling.images.rendering import Rendering
from labeling.models import Dataset, Frame, Item
from labeling.views import media
from tests.factories import call_before, new_folder, text
from tests.labeling.factories import content_of, full_url, ingest_folder, thumbnail_url
from tests.labeling.groups import ingest_groups
from tests.labeling.images.pictures import noise

pytestmark = pytest.mark.django_db
MakeFrames = Callable[..., list[Frame]]


@pytest.fixture
def frames(store: Path, tmp_path: Path) -> MakeFrames:
    """Save images by name to a folder, ingest it, and return the frames in the order of their names."""

    def make(**images: Image.Image) -> list[Frame]:
        folder = new_folder(tmp_path / "in")
        for name, image in images.items():
            image.save(folder / name.replace("_", "."))
        ingest_folder(folder)
        return list(Frame.objects.order_by("path"))

    return make


def picture(response: HttpResponseBase) -> Image.Image:
    return Image.open(io.BytesIO(content_of(response)))


def test_a_thumbnail_is_small_typed_and_kept(client: Client, frames: MakeFrames, store: Path) -> None:
    frame, small = frames(large_png=noise(600, 300), small_png=noise(20, 30))
    response = client.get(thumbnail_url(frame))
    assert (response.status_code, response["Content-Type"]) == (200, "image/jpeg")
    assert picture(response).size == (256, 128)
    assert picture(client.get(thumbnail_url(frame, 512))).size == (512, 256)
    assert len(list((store / "thumbs").rglob("*.jpg"))) == 2
    response = client.get(thumbnail_url(small))
    assert response["Content-Type"] == "image/png"
    assert picture(response).size == (20, 30)


def test_a_versioned_address_is_kept_for_ever_and_any_is_asked_for_by_tag(client: Client, frames: MakeFrames) -> None:
    (frame,) = frames(a_png=noise(20, 20))
    response = client.get(thumbnail_url(frame, v=frame.sha256[:12]))
    assert response["Cache-Control"] == "private, max-age=31536000, immutable"
    for address in (thumbnail_url(frame), thumbnail_url(frame, v="0123456789ab"), full_url(frame)):
        plain = client.get(address)
        assert plain["Cache-Control"] == "private, no-cache"
        again = client.get(address, headers={"If-None-Match": plain["ETag"]})
        assert again.status_code == 304
        assert again["ETag"] == plain["ETag"]
        plain.close()


def test_other_sizes_and_methods_and_frames_are_refused_with_words(client: Client, frames: MakeFrames) -> None:
    (frame,) = frames(a_png=noise(20, 20))
    response = client.get(thumbnail_url(frame, 9999))
    assert (response.status_code, response["Content-Type"]) == (404, "text/plain; charset=utf-8")
    assert response.content.decode() == "Thumbnails come in 256 and 512 pixels."
    assert client.post(thumbnail_url(frame)).status_code == 405
    assert client.get(f"/api/file/{frame.item_id + 1}").status_code == 404


def test_a_missing_or_broken_file_is_404_with_the_reason(client: Client, frames: MakeFrames) -> None:
    frame, other = frames(a_png=noise(20, 20), b_png=noise(20, 20))
    frame.file.unlink()
    other.file.write_bytes(b"only words")
    for address in (thumbnail_url(frame), full_url(frame)):
        response = client.get(address)
        assert "missing" in text(response, 404)
        assert response["Cache-Control"] == "no-store"
    assert "not an image but text" in client.get(thumbnail_url(other)).content.decode()


def test_on_a_full_disk_pictures_are_shown_all_the_same(
    client: Client, frames: MakeFrames, monkeypatch: pytest.MonkeyPatch
) -> None:
    (frame,) = frames(a_png=Image.new("RGB", (30, 30), "red"))
    full_disk = OSError(errno.ENOSPC, "No space left on device", "/store/thumbnails/ab/draft.part")
    monkeypatch.setattr(Decoders, "thumbnail", Mock(side_effect=full_disk))
    assert picture(client.get(thumbnail_url(frame))).getpixel((0, 0)) == (255, 0, 0)


def test_a_file_changed_since_the_ingest_is_shown_and_not_kept(client: Client, frames: MakeFrames, store: Path) -> None:
    (frame,) = frames(a_png=Image.new("RGB", (30, 30), "red"))
    Image.new("RGB", (40, 40), "blue").save(frame.file)
    response = client.get(thumbnail_url(frame, v=frame.sha256[:12]))
    assert picture(response).getpixel((0, 0)) == (0, 0, 255)
    assert response["Cache-Control"] == "no-store"
    assert not (store / "thumbs").exists()


def test_the_full_view_is_the_file_itself_where_browsers_can(client: Client, frames: MakeFrames) -> None:
    shown = frames(a_png=noise(20, 20), b_jpg=noise(20, 20), c_webp=noise(20, 20), d_bmp=noise(20, 20))
    for frame, kind in zip(shown, ["png", "jpeg", "webp", "bmp"], strict=True):
        response = client.get(full_url(frame))
        assert (response["Content-Type"], response["X-Content-Type-Options"]) == (f"image/{kind}", "nosniff")
        assert content_of(response) == frame.file.read_bytes()
        response.close()


def test_whether_browsers_can_show_a_file_is_asked_once_for_each_content_and_rendering(
    client: Client, frames: MakeFrames, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, bool]] = []
    call_before(
        monkeypatch, Decoders, "format_for_browsers",
        lambda _, file, rendering: asked.append((file.name, rendering.is_inverted)),
    )  # fmt: skip
    (frame,) = frames(a_png=noise(20, 20))
    for _ in range(3):
        content_of(client.get(full_url(frame)))
    assert asked == [("a.png", False)]
    Dataset.objects.update(rendering=Rendering(is_inverted=True).as_params())
    assert picture(client.get(full_url(frame))).getpixel((3, 3)) != noise(20, 20).getpixel((3, 3))
    Dataset.objects.update(rendering={})
    noise(30, 20).convert("RGBA").save(frame.file)  # changed, and not ingested: it may be anything by the next time
    for _ in range(2):
        assert picture(client.get(full_url(frame))).mode == "RGB"
    assert asked == [("a.png", False), ("a.png", True), ("a.png", False), ("a.png", False)]


@pytest.mark.slow
def test_a_full_view_whose_decoder_fails_is_404_with_the_reason(
    client: Client, frames: MakeFrames, monkeypatch: pytest.MonkeyPatch
) -> None:
    (frame,) = frames(a_png=Image.new("RGB", (14_000, 14_000)))
    strict = Decoders(1, seconds=60, megabytes=150)
    monkeypatch.setattr(media, "decoders", lambda: strict)
    try:
        response = client.get(full_url(frame))
        assert (response.status_code, response["Cache-Control"]) == (404, "no-store")
        assert "took more than 150 MB" in response.content.decode()
        noise(20, 20).save(frame.file)
        assert picture(client.get(full_url(frame))).size == (20, 20)
    finally:
        strict.end()


def test_the_full_view_of_other_files_is_a_picture_of_full_size(client: Client, frames: MakeFrames) -> None:
    deep = Image.fromarray(np.linspace(0, 900, 700 * 600).reshape(600, 700).astype(np.uint16))
    for frame in frames(cmyk_jpg=noise(600, 500).convert("CMYK"), deep_png=deep, plain_tif=noise(600, 500)):
        response = client.get(full_url(frame))
        assert response["Content-Type"] == "image/png"
        image = picture(response)
        assert (image.mode, image.size) == ("RGB", (frame.width, frame.height))
    assert picture(response).getpixel((3, 3)) == noise(600, 500).getpixel((3, 3))


def test_what_is_transparent_is_grey_in_every_view(client: Client, frames: MakeFrames) -> None:
    clear = Image.new("RGBA", (80, 70), (0, 0, 0, 0))
    clear.paste((0, 0, 0, 255), (20, 20, 60, 50))
    for frame in frames(a_png=clear, b_webp=clear, c_png=clear.convert("P")):
        for url in (full_url(frame), thumbnail_url(frame)):
            image = picture(client.get(url))
            assert image.mode == "RGB"
            assert all(abs(value - 128) < 6 for value in image.getpixel((3, 3))), frame.path
            assert all(value < 6 for value in image.getpixel((40, 35))), frame.path


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
@pytest.mark.parametrize("name", ["two\nlines.png", "<script>.png", '🦆 é".png', "a%2f..%2fb.png"])
def test_strange_names_are_shown(client: Client, store: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    noise(30, 30).save(tmp_path / "in" / name)
    ingest_folder(tmp_path / "in")
    frame = Frame.objects.get()
    for address in (thumbnail_url(frame), full_url(frame)):
        response = client.get(address)
        assert response.status_code == 200
        assert picture(response).size == (30, 30)
        response.close()


@pytest.mark.parametrize("path", ["../secret.png", "/etc/../{outside}", "in/../../secret.png", "a\x00b.png"])
def test_paths_out_of_the_folder_are_never_served(client: Client, store: Path, tmp_path: Path, path: str) -> None:
    (tmp_path / "in").mkdir()
    noise(20, 20).save(tmp_path / "secret.png")
    dataset = Dataset.objects.create(name="in", slug="in", root=str(tmp_path / "in"), n_items=1)
    forge(client, dataset, path.format(outside=os.fspath(tmp_path / "secret.png").lstrip("/")))


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_links_out_of_the_folder_are_never_served(client: Client, store: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    noise(20, 20).save(tmp_path / "out" / "secret.png")
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "out" / "secret.png")
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "out")
    dataset = Dataset.objects.create(name="in", slug="in", root=str(tmp_path / "in"), n_items=1)
    forge(client, dataset, "link.png")
    forge(client, dataset, "folder/secret.png")


def forge(client: Client, dataset: Dataset, path: str) -> None:
    """Make a frame that an ingest would never have made, and which must not be shown."""
    row = dataset.items.count()
    item = Item.objects.create(dataset=dataset, row=row, path=f"forged{row}.png")
    frame = Frame.objects.create(
        item=item, dataset=dataset, path=path, sha256="ab" * 32, size=1, mtime_ns=1, width=20, height=20, format="PNG"
    )
    for address in (thumbnail_url(frame), full_url(frame)):
        assert "outside" in text(client.get(address), 404)


def test_a_moved_root_is_served_from_where_it_is_now(
    client: Client, frames: MakeFrames, tmp_path: Path, settings: object
) -> None:
    (frame,) = frames(a_png=noise(20, 20))
    (tmp_path / "in").rename(tmp_path / "moved")
    assert client.get(thumbnail_url(frame)).status_code == 404
    settings.DATA_DIR = tmp_path / "moved"  # type: ignore[attr-defined]
    assert client.get(thumbnail_url(frame)).status_code == 200


def test_who_is_not_signed_in_sees_no_picture(client: Client, frames: MakeFrames, settings: object) -> None:
    (frame,) = frames(a_png=noise(20, 20))
    settings.LOGIN_REQUIRED = True  # type: ignore[attr-defined]
    for address in (thumbnail_url(frame), full_url(frame)):
        assert client.get(address).status_code in {302, 401}


# -- Addresses ----------------------------------------------------------------------------------------
@pytest.fixture
def triplet(store: Path, tmp_path: Path) -> Item:
    """Provide an item of three files: g is 10, r is 20, i is 30 everywhere."""
    folder = new_folder(tmp_path / "bands")
    for value, role in ((10, "g"), (20, "r"), (30, "i")):
        Image.new("L", (20, 12), value).save(folder / f"m31_{role}.png")
    ingest_groups(folder, "{id}_{role:g,r,i}.png")
    return Item.objects.get()


def test_a_tiff_file_is_converted_in_both_views(client: Client, frames: MakeFrames) -> None:
    (frame,) = frames(a_tif=Image.fromarray(np.full((20, 30), 40_000, np.uint16)))
    for address in (f"/api/thumb/{frame.item_id}", f"/api/file/{frame.item_id}"):
        response = client.get(address)
        assert response["Content-Type"] == "image/png"
        assert picture(response).size == (30, 20)


def test_a_frame_of_an_item_with_several_is_named_by_its_role(client: Client, triplet: Item) -> None:
    for address in (f"/api/thumb/{triplet.pk}", f"/api/file/{triplet.pk}"):
        values = [picture(client.get(f"{address}?frame={role}")).getpixel((0, 0)) for role in "gri"]
        assert values in ([10, 20, 30], [(10,) * 3, (20,) * 3, (30,) * 3])
        assert picture(client.get(address)).getpixel((0, 0)) in (10, (10,) * 3)  # the first one, as its tile shows
        colors = picture(client.get(f"{address}?color=1"))
        assert colors.mode == "RGB"
        refused = client.get(f"{address}?frame=z")
        assert text(refused, 404) == "This item has no frame 'z'. It has g, r, i."


def test_without_a_frame_an_item_shown_in_color_is_its_color_image(client: Client, triplet: Item) -> None:
    compose_as(triplet.dataset, Composition(layout="rgb"))
    assert client.get(f"/api/thumb/{triplet.pk}")["ETag"] == client.get(f"/api/thumb/{triplet.pk}?color=1")["ETag"]


def test_earlier_addresses_lead_to_the_new_ones(client: Client, triplet: Item) -> None:
    frame = triplet.frames.get(role="r")
    for before, after in (
        (f"/media/{frame.pk}/thumbnail/512/?v=1", f"/api/thumb/{triplet.pk}?v=1&frame=r&size=512"),
        (f"/media/{frame.pk}/full/?s=log", f"/api/file/{triplet.pk}?s=log&frame=r"),
        (f"/media/items/{triplet.pk}/colour/256/", f"/api/thumb/{triplet.pk}?color=1&size=256"),
        (f"/media/items/{triplet.pk}/colour/0/", f"/api/file/{triplet.pk}?color=1"),
    ):
        response = client.get(before)
        assert (response.status_code, response["Location"]) == (301, after)
        found = client.get(after)
        assert found.status_code == 200
        found.close()


def test_the_cache_of_an_earlier_version_moves_along(store: Path) -> None:
    (store / "thumbnails" / "ab").mkdir(parents=True)
    (store / "thumbnails" / "ab" / "kept.png").write_bytes(b"made before")
    move_thumbnails = import_module("labeling.migrations.0008_thumbs_folder").move_thumbnails
    move_thumbnails()
    assert (store / "thumbs" / "ab" / "kept.png").read_bytes() == b"made before"
    (store / "thumbnails").mkdir()
    move_thumbnails()  # a second run finds the new folder, and leaves it
    assert (store / "thumbs" / "ab" / "kept.png").exists()

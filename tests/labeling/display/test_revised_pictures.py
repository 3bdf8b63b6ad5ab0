"""Files that are shown otherwise than by an older version: their pictures and vectors are made anew, and no others."""

import importlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from django.apps import apps
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from PIL import Image

from hoshina.jobs.models import Job
from labeling.display.settings import rewrite
from labeling.images.decoder_pool import Decoders, pictures
from labeling.images.file_check import Keep, examine
from labeling.images.rendering import Rendering
from labeling.images.revisions import picture_hash
from labeling.images.thumbnails import TILE
from labeling.ingest.dataset_folder import dataset_for
from labeling.ingest.scan import ingest
from labeling.models import Dataset, Frame, Item, Problem
from modeling.encoders.frames import pictured
from modeling.encoders.input_spec import InputSpec
from tests.factories import assert_contains, call_before, fresh, new_folder
from tests.labeling.factories import Steps, content_of, full_url, thumbnail_url
from tests.labeling.images.pictures import scan
from tests.labeling.images.quadrants import COLORS, corners, quadrants

pytestmark = pytest.mark.django_db


@pytest.fixture
def folder(store: Path, tmp_path: Path) -> Path:
    """Provide a TIFF with white at zero, a TIFF, a photograph, and two of the same without its end."""
    folder = new_folder(tmp_path / "in")
    grays = quadrants([55000, 38000, 21000, 1000]).astype(np.uint16)
    tifffile.imwrite(folder / "white.tif", grays, photometric="miniswhite")
    tifffile.imwrite(folder / "plain.tif", grays)
    buffer = io.BytesIO()
    Image.fromarray(quadrants(COLORS).astype(np.uint8)).save(buffer, "JPEG")
    (folder / "a.jpg").write_bytes(buffer.getvalue())
    (folder / "no end.jpg").write_bytes(buffer.getvalue()[:-2])
    (folder / "cut.jpg").write_bytes(buffer.getvalue()[:-100])
    return folder


class Unhurried(Steps):
    """A run that nobody cancels."""

    def check(self) -> None:
        return


def read(folder: Path, **how: object) -> dict:
    dataset = dataset_for(folder)
    return ingest(dataset, Unhurried(), **how)  # type: ignore[arg-type]


def stamps(dataset: Dataset) -> dict[str, int]:
    return {next(iter(item.paths.values())): item.stamp for item in pictured(dataset, 0, 99, InputSpec.of(dataset))}


def test_only_what_is_shown_otherwise_is_made_anew(
    client: Client, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(folder)
    dataset = Dataset.objects.get()
    assert dict(Frame.objects.values_list("path", "revision")) == {
        "a.jpg": 0, "no end.jpg": 0, "plain.tif": 0, "white.tif": 1,
    }  # fmt: skip
    now = stamps(dataset)
    # As an older version left it: pictures under the content's own hash, of which one is wrong.
    importlib.import_module("labeling.migrations.0009_frame_revision_and_note").read_again(apps, None)
    assert dict(Frame.objects.values_list("path", "revision")) == {
        "a.jpg": 0, "no end.jpg": 0, "plain.tif": None, "white.tif": None,
    }  # fmt: skip
    wrong = io.BytesIO()
    Image.new("RGB", (96, 64), "red").save(wrong, "PNG")
    frames = {frame.path: frame for frame in Frame.objects.all()}
    for frame in frames.values():
        pictures().keep(wrong.getvalue(), ".png", frame.sha256, TILE)
    before = stamps(dataset)
    result = read(folder)
    assert (result["new"], result["changed"], result["unchanged"]) == (0, 0, 4)
    after = stamps(dataset)
    assert after == now
    assert {path for path in after if after[path] != before[path]} == {"white.tif"}
    frames = {frame.path: frame for frame in Frame.objects.all()}
    shown = {
        path: Image.open(io.BytesIO(content_of(client.get(thumbnail_url(frame))))) for path, frame in frames.items()
    }
    assert shown["plain.tif"].getpixel((5, 5)) == (255, 0, 0)  # as it was kept
    assert np.diff(corners(np.asarray(shown["white.tif"]))[:, 0]).min() > 40
    asked: list[str] = []
    call_before(
        monkeypatch, Decoders, "examined", lambda _, files, *__: asked.extend(Path(file).name for file in files)
    )
    assert read(folder)["unchanged"] == 4
    assert asked == ["cut.jpg"]  # a third time only the problem is opened


def test_pictures_kept_by_an_ingest_are_those_that_pages_ask_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labeling.images.file_check._WORTH_A_PICTURE", 0)
    found = examine(folder / "white.tif", Rendering(), Keep(pictures()))
    assert pictures().find(picture_hash(found.sha256, 1), TILE) is not None
    assert pictures().find(found.sha256, TILE) is None


def test_the_version_of_an_address_follows_the_revision(client: Client, folder: Path) -> None:
    read(folder)
    frame = Frame.objects.get(path="white.tif")
    assert frame.version(Rendering()) == picture_hash(frame.sha256, 1)[:12] != frame.sha256[:12]
    assert "immutable" in client.get(thumbnail_url(frame, v=frame.version(Rendering())))["Cache-Control"]
    old = client.get(thumbnail_url(frame, v=frame.sha256[:12]))
    assert "immutable" not in old["Cache-Control"]


# -- Notes ------------------------------------------------------------------------------------------------
def test_a_file_without_its_end_is_an_item_with_a_note(client: Client, folder: Path) -> None:
    result = read(folder)
    note = "The end of the file is missing, but the picture is complete. Copy it again to be sure."
    assert result["noted"] == [{"path": "no end.jpg", "note": note}]
    assert [one["path"] for one in result["failed"]] == ["cut.jpg"]
    address = reverse("labeling:problems", args=[Dataset.objects.get().slug])
    for _ in range(2):  # unchanged files keep theirs
        page = client.get(address).content.decode()
        assert "Files with warnings" in page
        assert note in page
        assert "no end.jpg" in page
        result = read(folder)
        assert len(result["noted"]) == 1
    frame = Frame.objects.select_related("item").get(path="no end.jpg")
    assert client.get(full_url(frame)).status_code == 200
    detail = reverse("labeling:detail", args=[frame.dataset.slug, frame.item.row])
    assert note in client.get(detail, headers={"HX-Request": "true"}).content.decode()
    (folder / "no end.jpg").write_bytes((folder / "a.jpg").read_bytes() + b" ")
    assert read(folder)["noted"] == []
    assert "Files with warnings" not in client.get(address).content.decode()


def test_cut_files_come_and_go_with_the_setting(client: Client, folder: Path) -> None:
    read(folder)
    dataset = Dataset.objects.get()
    assert Problem.objects.get().path == "cut.jpg"
    assert rewrite(dataset, Rendering(shows_cut=True))
    result = read(folder, reread=True)
    assert (result["n_failed"], result["items"]) == (0, 5)
    frame = Frame.objects.get(path="cut.jpg")
    assert "missing part" in frame.note
    seen = [
        np.asarray(Image.open(io.BytesIO(content_of(client.get(address)))).convert("RGB")).astype(int)
        for address in (thumbnail_url(frame), full_url(frame))
    ]
    assert abs(seen[0] - seen[1]).mean() < 8
    assert abs(seen[1][-4:, -4:] - 128).max() <= 8
    assert rewrite(dataset, Rendering())
    assert read(folder, reread=True)["n_failed"] == 1
    assert not Item.objects.get(path="cut.jpg").is_available


def test_the_command_keeps_both_choices(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("ingest", data_dir=str(folder), cut_files="show", first_row="top", json=True)
    result = json.loads(capsys.readouterr().out)
    assert {one["path"] for one in result["noted"]} == {"cut.jpg", "no end.jpg"}
    assert Dataset.objects.get().shown_as == Rendering(shows_cut=True, first_row="top")
    call_command("ingest", data_dir=str(folder), json=True)
    assert Dataset.objects.get().shown_as == Rendering(shows_cut=True, first_row="top")
    call_command("ingest", data_dir=str(folder), cut_files="refuse", first_row="bottom", json=True)
    assert Dataset.objects.get().shown_as == Rendering()


def test_the_page_offers_both_choices(client: Client, folder: Path) -> None:
    read(folder)
    dataset = Dataset.objects.get()
    address = reverse("labeling:images", args=[dataset.slug])
    assert_contains(client.get(address), 'name="first_row"', 'name="shows_cut"')
    sent = {"plane": "first", "stretch": "usual", "background": "#808080", "first_row": "top", "shows_cut": "on"}
    assert client.post(address, sent).status_code == 302
    assert fresh(dataset).shown_as == Rendering(first_row="top", shows_cut=True)
    assert dataset.rendering_summary == "first row on top, truncated files shown"
    assert Job.objects.get(kind="ingest").params == {"reread": True}


# -- Names without an ending --------------------------------------------------------------------------------
def test_dicom_files_without_an_ending_are_found_by_their_content(folder: Path) -> None:
    deep = quadrants([100, 200, 300, 400])
    for name in ("IM0001", "1.2.840.113619", "DICOMDIR"):
        (folder / name).write_bytes(scan(deep))
    (folder / "README").write_bytes(b"only words, and many of them" * 20)
    (folder / "b.bin").write_bytes(scan(deep))
    result = read(folder)
    found = set(Item.objects.values_list("path", flat=True))
    assert found == {"a.jpg", "no end.jpg", "plain.tif", "white.tif", "IM0001", "1.2.840.113619"}
    assert [one["path"] for one in result["failed"]] == ["cut.jpg"]
    (folder / "IM0001").unlink()
    assert read(folder)["missing"] == 1
    assert not Item.objects.get(path="IM0001").is_available
    # Those of other endings are not looked for, and stay.
    assert read(folder, extensions=[".jpg"])["missing"] == 1


def test_frames_of_grouped_files_are_read_again_too(store: Path, tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "grouped")
    grays = quadrants([55000, 38000, 21000, 1000]).astype(np.uint16)
    tifffile.imwrite(folder / "m1_white.tif", grays, photometric="miniswhite")
    tifffile.imwrite(folder / "m1_black.tif", grays)
    read(folder, grouping="{id}_{role}.tif")
    dataset = Dataset.objects.get()
    now = next(pictured(dataset, 0, 9, InputSpec.of(dataset)))
    importlib.import_module("labeling.migrations.0009_frame_revision_and_note").read_again(apps, None)
    before = next(pictured(dataset, 0, 9, InputSpec.of(dataset)))
    assert before.stamp != now.stamp
    assert read(folder)["unchanged"] == 2
    assert dict(Frame.objects.values_list("role", "revision")) == {"white": 1, "black": 0}
    assert next(pictured(dataset, 0, 9, InputSpec.of(dataset))).stamp == now.stamp

"""Header cards to fields: real FITS files, a job that is killed and goes on, files that come later."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from django.core.management import CommandError, call_command
from django.test import Client

from hoshina.core.errors import Refusal
from hoshina.jobs.models import Job
from labeling.fields import header_fields
from labeling.fields.columns import Draft, save_column
from labeling.images.decoder_pool import Decoders
from labeling.images.file_headers import values_of
from labeling.images.problems import ImageProblem
from labeling.models import Dataset, Field
from labeling.signals import regrouped
from tests.factories import MakeDataset, assert_contains, new_folder
from tests.labeling.fields.conftest import ingest, read, run_queued, texts

pytestmark = pytest.mark.usefixtures("transactional_db")
N = 12


def write(folder: Path, number: int, **header: Any) -> None:
    """Write an image into the second part of the file, with header cards of the image and, underscored, of the file."""
    first, image = fits.PrimaryHDU(), fits.ImageHDU(np.full((8, 8), number, np.float32))
    for name, value in header.items():
        (first if name.startswith("_") else image).header[name.lstrip("_")] = value
    fits.HDUList([first, image]).writeto(folder / f"n{number:02d}.fits", overwrite=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = new_folder(tmp_path / "sky")
    for number in range(N):
        more = {} if number % 3 else {"GAIN": True, "HIERARCH ESO DET": number}
        write(
            folder, number, _OBJECT=f"M {number % 4}", _EXPTIME=0.5, EXPTIME=number + 0.25, **more,
            **{"DATE-OBS": f"2011-06-{number + 1:02d}T06:33:02.77"}, RUN=f"{number:04d}", MIXED=number or "none",
            CRVAL1=number + 0.5,
        )  # fmt: skip
    return folder


def test_the_image_speaks_before_the_file(folder: Path) -> None:
    names = ["EXPTIME", "OBJECT", "GAIN", "NOWHERE", "HIERARCH ESO DET"]
    assert values_of(folder / "n03.fits", names) == ["3.25", "M 3", "true", "", "3"]


def test_cards_become_fields_of_the_kind_that_all_values_have(dataset: Dataset) -> None:
    result = read(dataset, "OBJECT", "EXPTIME", "DATE-OBS", "RUN", "GAIN", "MIXED", "NOWHERE")
    assert [(one["name"], one["kind"], one["known"]) for one in result["fields"]] == [
        ("OBJECT", "text", N), ("EXPTIME", "number", N), ("DATE-OBS", "time", N), ("RUN", "text", N),
        ("GAIN", "text", N // 3), ("MIXED", "text", N),
    ]  # fmt: skip
    assert (result["files"], result["failed"], result["without"], result["unfit"]) == (N, 0, ["NOWHERE"], {})
    assert texts(dataset, "EXPTIME") == [f"{number}.25" for number in range(N)]
    assert texts(dataset, "DATE-OBS")[4] == "2011-06-05T06:33:02.770000Z"
    assert {field.source for field in Field.objects.all()} >= {"OBJECT", "DATE-OBS"}
    assert read(dataset, "EXPTIME")["files"] == 0  # nothing is new


def test_new_and_changed_files_are_read_after_an_ingest(dataset: Dataset, folder: Path) -> None:
    read(dataset, "EXPTIME", "OBJECT")
    write(folder, 2, _OBJECT="new")  # it no longer says how long
    write(folder, N, EXPTIME="long", _OBJECT="late")
    write(folder, N + 1, EXPTIME=99.0)
    ingest(dataset)
    claimed = run_queued("read_cards")
    assert (claimed.result["files"], claimed.result["unfit"]) == (3, {"EXPTIME": 1})
    assert texts(dataset, "EXPTIME") == ["0.25", "1.25", "", *(f"{n}.25" for n in range(3, N)), "", "99"]
    assert texts(dataset, "OBJECT")[1:3] + texts(dataset, "OBJECT")[-2:] == ["M 1", "new", "late", ""]
    ingest(dataset)
    assert not Job.objects.filter(kind="read_cards", state=Job.State.QUEUED).exists()
    assert not header_fields.has_work(dataset)


def test_a_job_that_was_killed_reads_no_share_twice(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, store: Path
) -> None:
    monkeypatch.setattr(header_fields, "SHARE", 4)
    opened: list[str] = []
    read_by_decoders = Decoders.card_values

    def fail_at_seven(own: Decoders, files: list[Path], *args: Any) -> Iterator[list[str] | ImageProblem]:
        for file, values in zip(files, read_by_decoders(own, files, *args), strict=True):
            opened.append(file.name)
            if len(opened) == 7:
                raise SystemExit  # as a worker that is told to stop
            yield values

    monkeypatch.setattr(Decoders, "card_values", fail_at_seven)
    with pytest.raises(SystemExit):
        read(dataset, "EXPTIME")
    assert not Field.objects.exists()
    assert Job.objects.filter(kind="read_cards").count() == 1
    again = run_queued("read_cards")
    assert again.state == Job.State.SUCCEEDED, again.error
    assert opened == [f"n{number:02d}.fits" for number in [0, 1, 2, 3, 4, 5, 6, *range(4, N)]]
    assert texts(dataset, "EXPTIME") == [f"{number}.25" for number in range(N)]
    assert list((store / "fields" / "reading").iterdir()) == []


def test_a_file_that_cannot_be_read_costs_only_itself(dataset: Dataset, folder: Path) -> None:
    (folder / "n05.fits").unlink()
    (folder / "n06.fits").write_bytes(b"SIMPLE  =" + b"\0" * 500)
    assert read(dataset, "EXPTIME")["failed"] == 2
    assert texts(dataset, "EXPTIME")[4:8] == ["4.25", "", "", "7.25"]


def test_cards_that_cannot_be_are_refused(dataset: Dataset) -> None:
    field = Field.objects.create(dataset=dataset, name="Object", kind="number", source="csv")
    save_column(field, Draft(Field.Kind.NUMBER, np.zeros(2), []))
    with pytest.raises(Refusal, match="already a field Object from another source"):
        read(dataset, "OBJECT")
    with pytest.raises(CommandError, match="from another source"):
        call_command("import_fields", "--cards", "object")
    with pytest.raises(CommandError, match="at least one card"):
        call_command("import_fields", "--cards", " , ")
    with pytest.raises(CommandError, match="80 characters"):
        call_command("import_fields", "--cards", "x" * 81)
    assert texts(dataset, "Object")[:2] == ["0", "0"]


def test_the_command(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    call_command("import_fields", "--cards", "exptime,OBJECT", "--json")
    result = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in result["fields"]] == ["EXPTIME", "OBJECT"]
    call_command("import_fields", "--cards", "RUN,NOWHERE")
    assert_contains(capsys.readouterr().out, f"RUN (text): {N} known, new", "No file has NOWHERE.")


def test_the_page_offers_what_is_in_the_files(dataset: Dataset, client: Client) -> None:
    address = f"/d/{dataset.slug}/fields/cards/"
    assert_contains(client.get(address), f"Found in a sample of {N} files", 'value="EXPTIME"', "M 0", lacks=["NAXIS1"])
    assert client.post(address).status_code == 422
    names = [offer.name for offer in header_fields.sample_of(dataset).offers]
    assert names[:3] == ["OBJECT", "EXPTIME", "DATE-OBS"], "often wanted"
    assert names[-1] == "CRVAL1", "of the coordinate system, after those of few files"
    page = client.post(address, {"card": ["EXPTIME", "OBJECT"]}).content.decode()
    job = Job.objects.get(kind="read_cards")
    assert job.params == {"cards": ["EXPTIME", "OBJECT"]}
    assert f"?job={job.pk}" in page
    run_queued("read_cards")
    page = client.get(f"{address}?job={job.pk}").content.decode()
    assert_contains(page, f"EXPTIME (number): {N} known, new", 'id="fields-list"', 'value="EXPTIME" checked disabled')
    assert "every 1s" not in page
    assert client.get(f"{address}?job=none").status_code == 200


def test_folders_without_fits_files_say_so(store: Path, make_dataset: MakeDataset, client: Client) -> None:
    make_dataset(30)
    page = client.get("/d/pictures/fields/cards/").content.decode()
    assert "None of the 12 sampled files has a FITS header or EXIF data" in page


def test_items_that_are_made_anew_have_unknown_values_until_they_are_read(dataset: Dataset) -> None:
    read(dataset, "EXPTIME")
    regrouped.send(sender=Dataset, dataset_id=dataset.pk)
    assert (Field.objects.get().n_known, texts(dataset, "EXPTIME")) == (0, [""] * N)
    assert header_fields.has_work(dataset)
    read(dataset)
    assert texts(dataset, "EXPTIME")[3] == "3.25"

"""AL_ROOTS: on a server, datasets lie only under the folders that it names."""

import os
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from hoshina.core.errors import Refusal
from labeling.ingest.dataset_folder import dataset_for
from labeling.models import Dataset
from tests.processes import run_python

pytestmark = pytest.mark.django_db


@pytest.fixture
def folders(tmp_path: Path, settings: Any, store: Path) -> dict[str, Path]:
    """Provide a folder under the allowed root, one beside it whose name begins alike, and links between both."""
    allowed, beside = tmp_path / "images", tmp_path / "images-private"
    for folder in (allowed / "stars", beside / "secret"):
        folder.mkdir(parents=True)
    (allowed / "leads-out").symlink_to(beside / "secret")
    (beside / "leads-in").symlink_to(allowed / "stars")
    settings.ROOTS = [allowed]
    return {"allowed": allowed, "beside": beside}


def test_a_folder_under_the_root_is_a_dataset(folders: dict[str, Path]) -> None:
    assert dataset_for(folders["allowed"] / "stars").root == str(folders["allowed"] / "stars")
    assert dataset_for(folders["allowed"]).name == "images"
    assert dataset_for(folders["beside"] / "leads-in").name == "stars"  # where a link leads is what counts


@pytest.mark.attack("folders outside of AL_ROOTS")
@pytest.mark.parametrize(
    "path", ["/", "/etc", "{beside}", "{beside}/secret", "{allowed}/leads-out", "{allowed}/../images-private", "/none"]
)
def test_other_folders_are_refused(client: Client, folders: dict[str, Path], path: str) -> None:
    folder = path.format(**folders)
    with pytest.raises(Refusal, match="AL_ROOTS"):
        dataset_for(folder)
    response = client.post("/datasets/", {"folder": folder})
    assert response.status_code == 422
    assert "AL_ROOTS" in response.content.decode()
    assert not Dataset.objects.exists()


@pytest.mark.attack("folders outside of AL_ROOTS")
def test_the_admin_moves_no_dataset_out(client: Client, folders: dict[str, Path]) -> None:
    dataset = dataset_for(folders["allowed"] / "stars")
    path = f"/admin/labeling/dataset/{dataset.pk}/change/"
    response = client.post(path, {"name": "stars", "root": str(folders["beside"])})
    assert "AL_ROOTS" in response.content.decode()


def test_a_dataset_from_before_is_not_read_any_more(client: Client, folders: dict[str, Path], settings: Any) -> None:
    settings.ROOTS = []
    dataset = dataset_for(folders["beside"])
    settings.ROOTS = [folders["allowed"]]
    assert "AL_ROOTS" in client.get(f"/d/{dataset.slug}/grouping/").content.decode()


def test_a_relative_root_is_refused(tmp_path: Path) -> None:
    code = "import django; django.setup()"
    failed = run_python("-c", code, store=tmp_path, code=None, AL_ROOTS=f"images,{os.sep}srv")
    assert "AL_ROOTS holds 'images'" in failed.stderr

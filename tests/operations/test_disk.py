"""What takes space in the store, and clearing caches."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from hoshina.core.errors import Refusal
from hoshina.core.folder_size import FolderSize
from hoshina.core.roles import Role
from hoshina.web import disk
from tests.factories import text
from tests.people import account

pytestmark = pytest.mark.django_db


@pytest.fixture
def filled(store: Path) -> Path:
    """Provide a store with files of known sizes."""
    for name, sizes in {"vectors/1": (3000, 1000), "thumbs/00": (500,), "squares/1": (700,), "strange": (50,)}.items():
        (store / name).mkdir(parents=True)
        for number, size in enumerate(sizes):
            (store / name / f"{number}.npy").write_bytes(bytes(size))
    (store / "up.json").write_bytes(b"{}")
    return store


def test_parts(filled: Path) -> None:
    found = {part.name: part for part in disk.parts()}
    assert found["vectors"].size == FolderSize(4000, 2)
    assert found["other"].size.n_bytes == 52
    assert [part.name for part in disk.parts()][:3] == ["vectors", "squares", "thumbs"]
    assert found["thumbs"].can_be_cleared
    assert not found["vectors"].can_be_cleared


def test_counting_stops(filled: Path) -> None:
    for number in range(1200):
        (filled / "thumbs" / f"{number}").touch()
    assert {part.name for part in disk.parts(seconds=0) if part.size.is_partial} == {"thumbs"}


def test_clearing(filled: Path) -> None:
    assert disk.clear("thumbs") == 500
    assert not (filled / "thumbs").exists()
    assert not (filled / "thumbs.cleared").exists()
    assert disk.clear("thumbs") == 0
    for name in ("vectors", "../store", "", "app.db"):
        with pytest.raises(Refusal):
            disk.clear(name)
    assert (filled / "vectors" / "1" / "0.npy").exists()


def test_the_page(client: Client, filled: Path, settings: Any) -> None:
    settings.LOGIN_REQUIRED = True
    client.force_login(account(Role.MANAGER))
    assert "Embeddings" in text(client.get("/disk/"))
    assert client.post("/disk/", {"clear": "vectors"}).status_code == 422
    assert "are free again" in client.post("/disk/", {"clear": "squares"}, follow=True).content.decode()
    assert not (filled / "squares").exists()


def test_the_command(filled: Path, capsys: Any) -> None:
    call_command("disk", clear="thumbs", json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["cleared_bytes"] == 500
    assert {"name": "vectors", "bytes": 4000, "files": 2} in told["parts"]
    call_command("disk")
    assert "Embeddings" in capsys.readouterr().out

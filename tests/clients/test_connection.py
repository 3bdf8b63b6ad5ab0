"""How the Python client finds a server, and what it does when the connection fails."""

import json
import time
from pathlib import Path

import pytest
from hoshina_client import Dataset, HoshinaError, Refused, Unreachable, connect

import hoshina
from tests.clients.conftest import Running
from tests.clients.unreliable import unreliable
from tests.factories import assert_contains, new_folder
from tests.parts import free_port

pytestmark = pytest.mark.slow


def test_the_server_of_this_machine_is_found(running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOSHINA_URL", "HOSHINA_TOKEN", "AL_STORE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(new_folder(tmp_path / "empty"))
    with pytest.raises(Unreachable) as caught:
        connect()
    assert_contains(str(caught.value), "api.json", "hoshina up", "store=…")
    # From a folder below the one with the store, as in a checkout.
    monkeypatch.chdir(new_folder(running.store.parent / "notebooks"))
    with connect() as server:
        assert server.role == "administrator"
        assert {dataset.slug for dataset in server.datasets()} == {"digits", "galaxies"}
        assert server.dataset("galaxies").name == "galaxies"
        with pytest.raises(Refused, match=r"no dataset 'stars'.*digits, galaxies"):
            server.dataset("stars")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AL_STORE_DIR", str(running.store))
    with hoshina.connect() as server:
        assert server.url == running.url
    monkeypatch.setenv("HOSHINA_URL", running.url)
    monkeypatch.setenv("HOSHINA_TOKEN", running.tokens["eva"])
    with connect() as server:
        assert (server.user, server.role) == ("eva", "manager")


def test_what_is_wrong_with_an_address_or_token(running: Running, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="token is not valid") as caught:
        connect(running.url, "hoshina_wrong")
    assert caught.value.status == 401
    with pytest.raises(HoshinaError, match="begins with http"):
        connect("localhost:8000")
    with pytest.raises(Unreachable, match="Check that the server runs"):
        connect(f"http://127.0.0.1:{free_port()}/", "x", retries=1)
    (tmp_path / "api.json").write_text("{", encoding="utf-8")
    with pytest.raises(Unreachable, match="cannot be read"):
        connect(store=tmp_path)
    (tmp_path / "api.json").write_text(json.dumps({"url": running.url}), encoding="utf-8")
    with pytest.raises(Unreachable, match="cannot be read"):
        connect(store=tmp_path)


def test_a_lost_answer_saves_a_label_once(running: Running, galaxies: Dataset) -> None:
    with unreliable(running.url) as between, connect(between.url, running.tokens["eva"]) as server:
        dataset = server.dataset("galaxies")
        [item] = dataset.queue("random", 1)
        between.plan = ["lose", "busy", "lose"]
        between.requests.clear()
        saved = dataset.label(item, "spiral")
        assert [line.split()[-1] for line in between.requests] == ["lose", "busy", "lose", "pass"]
    assert saved.n_items == 1
    decisions = galaxies.history(item)
    assert [decision["class_name"] for decision in decisions[:2]].count("spiral") == 1


def test_it_waits_as_long_as_the_server_says(running: Running) -> None:
    with unreliable(running.url) as between, connect(between.url, running.tokens["eva"]) as server:
        between.plan = ["limit"]
        began = time.monotonic()
        assert server.datasets()
        assert time.monotonic() - began >= 1
        # What may not be repeated is sent once: the answer was lost, and the class may exist.
        dataset = server.dataset("galaxies")
        between.plan = ["lose"]
        between.requests.clear()
        with pytest.raises(Unreachable, match="does not answer"):
            dataset.add_class("lost")
        assert len(between.requests) == 1


def test_the_command_of_a_missing_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "hoshina_client", None)
    with pytest.raises(ModuleNotFoundError, match="pip install"):
        hoshina.connect()

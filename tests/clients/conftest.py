"""A server that the clients use: `hoshina up --demo` with its workers, a small dataset, and a second person."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hoshina_client import Dataset, Server, connect

from tests.factories import new_folder
from tests.modeling.factories import noise_pictures
from tests.parts import free_port
from tests.processes import Up, run_python

N_IMAGES = 40
# Ingests the small dataset, and creates a manager and a labeler with a token each.
PREPARE = """
import json, sys, django
django.setup()
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from hoshina.api import tokens
from hoshina.core.roles import Role
call_command("ingest", data_dir=sys.argv[1], verbosity=0)
found = {}
for name, role, scope in (
    ("eva", Role.MANAGER, "write"), ("tom", Role.LABELER, "write"), ("ann", Role.MANAGER, "read")
):
    user = User.objects.create_user(name)
    user.groups.set([Group.objects.get(name=role.group)])
    found[name] = tokens.issue(user, "test", scope=scope)[1]
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Running:
    """Represent a running server: its store, its address, and tokens by the name of the person."""

    store: Path
    url: str
    tokens: dict[str, str]


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("clients")
    up = Up(
        folder / "store", "--demo", "--port", str(free_port()), AL_AUTOMATIC_MAPS="0", AL_AUTOMATIC_LEAKAGE_CHECKS="0"
    )
    try:
        images = new_folder(folder / "galaxies")
        for number, image in enumerate(noise_pictures(N_IMAGES, seed=5)):
            image.save(images / f"image{number:03d}.png")
        up.wait_until_well()
        up.wait_for(r"digits: 1,797 items")
        done = run_python("-c", PREPARE, images, store=up.store)
        found = json.loads(done.stdout.splitlines()[-1])
        yield Running(up.store, f"http://127.0.0.1:{up.port}/", found)
    finally:
        up.end()


@pytest.fixture(scope="session")
def server(running: Running) -> Iterator[Server]:
    """Provide the client as the user of this machine has it."""
    with connect(store=running.store) as found:
        yield found


@pytest.fixture
def galaxies(server: Server) -> Iterator[Dataset]:
    """Provide the small dataset; its decisions are cleared afterwards."""
    dataset = server.dataset("galaxies")
    if not dataset.classes:
        for name in ("spiral", "elliptical"):
            dataset.add_class(name)
    yield dataset
    if decided := [item.id for item in dataset.items(include=()) if item.state != "unlabeled"]:
        dataset.clear(decided, overwrite=True)


@pytest.fixture
def eva(running: Running) -> Iterator[Dataset]:
    """Provide the small dataset as another person has it, by a token over HTTP."""
    with connect(running.url, running.tokens["eva"]) as found:
        yield found.dataset("galaxies")

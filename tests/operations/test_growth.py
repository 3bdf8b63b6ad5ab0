"""A server does not grow with requests and retrains: the short version of ``benchmarks.growth``."""

from pathlib import Path

import pytest

from benchmarks.growth import Person, digits_server, work
from hoshina.core import storage
from modeling.versions.active import ARRAYS_KEPT
from tests.factories import new_folder

pytestmark = pytest.mark.slow

IMAGES, REQUESTS, RETRAINS = 150, 240, 20
OPEN_ARRAYS = storage._maps.maxsize


def test_requests_and_retrains(tmp_path: Path) -> None:
    store = new_folder(tmp_path / "store")
    with digits_server(store, IMAGES) as (address, process):
        person = Person(address, IMAGES)
        person.add_classes()
        _, _, half, whole = work(person, process, store, REQUESTS, RETRAINS)
    assert whole.n_retrains == RETRAINS
    for name in ("up", "serve", "worker interactive"):
        size = whole.processes[name]
        # A thread has a connection to the database, of up to three files; and some arrays stay open.
        assert size.n_files <= 3 * size.n_threads + OPEN_ARRAYS, name
        assert size.n_threads <= half.processes[name].n_threads + 2, name
    # Versions have their classifier and held-out predictions, the newest ones also predictions of all images. An
    # automatic one may have come first.
    assert whole.folders["models"].n_files <= 2 * (RETRAINS + 1) + ARRAYS_KEPT + 1
    assert whole.folders["thumbs"].n_files <= 2 * IMAGES
    # A map, which is computed meanwhile, compiles code. The check for near-duplicates may come at any time.
    for name in whole.folders.keys() - {"models", "thumbs", "compiled", "maps", "leakage"}:
        assert whole.folders[name].n_files <= half.folders[name].n_files + 1, name

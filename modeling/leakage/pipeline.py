"""Run the job ``check_leakage``: compute the signatures of new and changed images, then find near-duplicates."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hoshina.core.errors import Refusal
from hoshina.jobs.runner import Run
from labeling.models import Dataset
from modeling import store
from modeling.algorithms.near_duplicates import Thresholds, find_near_duplicates, grouped
from modeling.algorithms.neighbors import Graph
from modeling.algorithms.perceptual_hash import SIDE, Pixels, hashes_of, signature_of
from modeling.algorithms.registration import is_blank
from modeling.backends.encoder import Encoder, FloatArray
from modeling.encoders.frames import encode_pictures, pictured
from modeling.encoders.input_spec import InputSpec
from modeling.encoders.neighbor_cache import NEIGHBOURS, SEED, graph_of, made_graph
from modeling.encoders.pipeline import count_rows, stale_rows
from modeling.leakage.files import ROW_BYTES, open_signatures, save_pairs, save_signatures
from modeling.models import EmbeddingSet, LeakageCheck

Rows = NDArray[np.int64]
# Signatures are saved whenever there are twice as many, from this number on: little is lost if a worker dies.
_FIRST = 5_000
_CHUNK = 256
# Components of signatures that are compared where there are no embeddings.
_COMPONENTS = 64
_METHOD = "perceptual hash of 128 bits and k-NN graph, confirmed by aligned pictures of 32 pixels"


class SignatureEncoder(Encoder):
    """Encodes an image as its signature, with the decoding and the threads of other encoders."""

    name = "signature"
    fingerprint = "signature"
    dim = ROW_BYTES
    input_side = SIDE
    is_plain = False
    batch_size = 64
    reason = ""

    @property
    def decode_side(self) -> int:
        """Return a side that is reduced with care."""
        return 4 * SIDE

    def prepare(self, image: Image.Image) -> Pixels:
        return signature_of(image)

    def encode_prepared(self, pixels: Pixels) -> FloatArray:
        return pixels.reshape(len(pixels), -1).astype(np.float32)


def check_leakage(run: Run) -> dict[str, Any]:
    """Run the job. Returns what ``check_leakage --json`` prints."""
    began = time.monotonic()
    dataset = Dataset.objects.get(pk=run.dataset_id)
    check, _ = LeakageCheck.objects.get_or_create(dataset=dataset)
    n_unreadable = _update_signatures(run, dataset, check)
    signatures, stamps = open_signatures(check)
    has = stamps != 0
    if not has.any():
        raise Refusal("No image of this dataset could be read.", "See its Problems page, or scan the folder again.")
    tell = _teller(run)
    blank = has & _blank(signatures, tell)
    rows = np.flatnonzero(has & ~blank)
    hashes = hashes_of(signatures)
    graph, encoder = _graph(dataset, signatures, rows, tell)
    thresholds = Thresholds()
    found = find_near_duplicates(signatures, hashes, rows, graph, thresholds=thresholds, tell=tell)
    groups = grouped(found.pairs, len(signatures))
    sizes = np.bincount(groups, minlength=1)
    in_graph = np.zeros(len(signatures), dtype=np.bool_)
    in_graph[: len(graph.indices)] = (graph.indices >= 0).any(axis=1)
    check.n_images, check.n_pairs = len(rows), len(found.pairs)
    check.n_groups = int(np.count_nonzero(sizes > 1))
    check.facts = {
        "method": _METHOD,
        "encoder": encoder,
        "thresholds": asdict(thresholds) | {"bits": found.bits},
        "images": len(rows),
        "compared_pairs": found.n_candidates,
        "dropped_chain_pairs": found.n_chained,
        "largest_group": int(sizes.max()),
        "unreadable": n_unreadable,
        "blank": int(np.count_nonzero(blank)),
        "without_neighbors": int(np.count_nonzero(~in_graph[rows])),
    }
    checked = has & ~blank
    save_pairs(check, found.pairs, found.differences, checked)
    return {
        "images": check.n_images, "pairs": check.n_pairs, "groups": check.n_groups,
        "largest_group": check.facts["largest_group"], "unreadable": n_unreadable, "blank": check.facts["blank"],
        "seconds": round(time.monotonic() - began, 3),
    }  # fmt: skip


def _teller(run: Run) -> Callable[[str, int, int], None]:
    """Return a function that reports stages and progress of the job."""

    def tell(stage: str, done: int, total: int) -> None:
        if run.job.stage != stage:
            run.stage(stage, total=total)
        run.progress(done, total)

    return tell


# -- Signatures -----------------------------------------------------------------------------------
def _update_signatures(run: Run, dataset: Dataset, check: LeakageCheck) -> int:
    """Compute the signatures of new and changed images. Return the number of images that could not be read."""
    spec = InputSpec.of(dataset)
    run.stage("Looking for new and changed images")
    if check.input_key != spec.key:
        check.generation, check.input_key = 0, spec.key
    stamps = open_signatures(check)[1]
    stale, _ = stale_rows(dataset, stamps, run.check)
    n_rows = count_rows(dataset)
    if not len(stale) and len(stamps) == n_rows:
        return 0
    if len(stale) and not dataset.data_dir.is_dir():
        raise Refusal(
            f"The folder {dataset.data_dir} does not exist.",
            "Connect its disk, or set AL_DATA_DIR to where it is now.",
        )
    run.stage("Computing signatures", total=len(stale))
    n_unreadable = 0
    for some in _growing(stale, int(np.count_nonzero(stamps))):
        n_unreadable += _compute(run, dataset, check, spec, some, n_rows)
    return n_unreadable


def _growing(rows: Rows, n_done: int) -> Iterator[Rows]:
    """Yield parts of ``rows``, each as large as all that was done before; none if there are no rows."""
    start = 0
    while start < max(1, len(rows)):
        size = max(_FIRST, n_done + start)
        yield rows[start : start + size]
        start += size


def _compute(run: Run, dataset: Dataset, check: LeakageCheck, spec: InputSpec, rows: Rows, n_rows: int) -> int:
    encoder = SignatureEncoder()
    new, stamps = np.zeros((len(rows), SIDE, SIDE), np.uint8), np.zeros(len(rows), np.uint64)
    n_unreadable = 0
    for start in range(0, len(rows), _CHUNK):
        some = rows[start : start + _CHUNK]
        wanted = set(some.tolist())
        items = [item for item in pictured(dataset, int(some[0]), int(some[-1]) + 1, spec) if item.row in wanted]
        vectors, missing, _ = encode_pictures(encoder, items, dataset.data_dir, spec, run.advance)
        readable = ~missing[:, 0]
        places = start + np.searchsorted(some, [item.row for item in items])[readable]
        new[places] = vectors[readable].reshape(-1, SIDE, SIDE).astype(np.uint8)
        stamps[places] = np.array([item.stamp for item in items], np.uint64)[readable]
        n_unreadable += int(np.count_nonzero(~readable))
    save_signatures(check, n_rows, rows, new, stamps)
    return n_unreadable


def _blank(signatures: Pixels, tell: Callable[[str, int, int], None]) -> NDArray[np.bool_]:
    tell("Reading signatures", 0, len(signatures))
    return is_blank(signatures)


# -- Neighbors ------------------------------------------------------------------------------------
def _graph(
    dataset: Dataset, signatures: Pixels, rows: Rows, tell: Callable[[str, int, int], None]
) -> tuple[Graph, str | None]:
    """Return the k-NN graph of the embeddings in use and their fingerprint, or of signatures without embeddings."""
    embedding_set = EmbeddingSet.objects.filter(dataset=dataset, is_active=True).first()
    vectors = store.open_vectors(embedding_set) if embedding_set else None
    if embedding_set is not None and vectors is not None:
        return graph_of(embedding_set, vectors, tell), embedding_set.fingerprint
    return graph_of_signatures(signatures, rows, tell), None


def graph_of_signatures(signatures: Pixels, rows: Rows, tell: Callable[[str, int, int], None]) -> Graph:
    """Return the k-NN graph of the signatures' principal components, with rows of -1 for all but ``rows``."""
    from modeling.algorithms.neighbors import project

    has = np.zeros(len(signatures), dtype=np.bool_)
    has[rows] = True
    pixels = signatures[:, ::2, ::2].reshape(len(signatures), -1).astype(np.float32)
    Z = project(pixels, rng=np.random.default_rng(SEED), has=has, dims=_COMPONENTS, is_unit=True)
    return made_graph(Z, NEIGHBOURS, tell, seed=SEED)[0]

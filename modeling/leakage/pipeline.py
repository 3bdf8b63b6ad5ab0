"""Run the job ``check_leakage``: compute the signatures of new and changed images, then find near-duplicates."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from hoshina.core.errors import Refusal
from hoshina.jobs.runner import Run
from labeling.models import Dataset
from modeling import store
from modeling.algorithms.ivf_neighbors import approximate_knn_graph
from modeling.algorithms.near_duplicates import Thresholds, find_near_duplicates, grouped
from modeling.algorithms.neighbors import Graph, knn_graph, project
from modeling.algorithms.perceptual_hash import SIDE, Pixels, hashes_of
from modeling.algorithms.registration import is_blank
from modeling.algorithms.rows import Floats, Rows, blocks
from modeling.algorithms.similar_hashes import Hashes, Tell
from modeling.encoders.frames import encode_pictures, pictured
from modeling.encoders.input_spec import InputSpec
from modeling.encoders.neighbor_cache import AT_ONCE, NEIGHBOURS, SEED, graph_of
from modeling.encoders.pipeline import count_rows, stale_rows
from modeling.leakage.files import Stamps, has_parts, merge_parts, open_signatures, save_pairs, save_part
from modeling.leakage.schedule import is_compared, source_of
from modeling.leakage.signatures import SignatureEncoder
from modeling.models import EmbeddingSet, LeakageCheck

# Signatures are saved after this many: seconds of work are lost if a worker dies.
_PART_ROWS = 4096
_CHUNK = 256
_BLOCK = 65_536
# Components of signatures that are compared where there are no embeddings, and cells that are searched for neighbors:
# copies are much nearer than other neighbors, so the nearest cells have them.
_COMPONENTS = 64
_MOST_PROBES = 8
_METHOD = "perceptual hash of 128 bits and k-NN graph, confirmed by aligned pictures of 32 pixels"


def check_leakage(run: Run) -> dict[str, Any]:
    """Run the job. Returns what ``check_leakage --json`` prints.

    Compares nothing if the images and embeddings are those of the last check.
    """
    began = time.monotonic()
    dataset = Dataset.objects.get(pk=run.dataset_id)
    check, _ = LeakageCheck.objects.get_or_create(dataset=dataset)
    n_unreadable = _update_signatures(run, dataset, check)
    embedding_set = EmbeddingSet.objects.filter(dataset=dataset, is_active=True, generation__gt=0).first()
    is_unchanged = is_compared(dataset, check, embedding_set)
    if not is_unchanged:
        _compare(dataset, check, embedding_set, n_unreadable, _teller(run))
    return {
        "images": check.n_images, "pairs": check.n_pairs, "groups": check.n_groups,
        "largest_group": check.facts["largest_group"], "unreadable": n_unreadable, "blank": check.facts["blank"],
        "unchanged": is_unchanged, "seconds": round(time.monotonic() - began, 3),
    }  # fmt: skip


def _compare(
    dataset: Dataset, check: LeakageCheck, embedding_set: EmbeddingSet | None, n_unreadable: int, tell: Tell
) -> None:
    """Find the near-duplicates and save them."""
    signatures, stamps = open_signatures(check)
    if not stamps.any():
        raise Refusal("No image of this dataset could be read.", "See its Problems page, or scan the folder again.")
    blank, hashes = described(signatures, tell)
    blank &= stamps != 0
    compared: Stamps = np.where(blank, np.uint64(0), stamps)
    rows = np.flatnonzero(compared)
    graph = _graph(embedding_set, signatures, rows, tell)
    thresholds = Thresholds()
    found = find_near_duplicates(signatures, hashes, rows, graph, thresholds=thresholds, tell=tell)
    groups = grouped(found.pairs, len(signatures))
    sizes = np.bincount(groups, minlength=1)
    in_graph = np.zeros(len(signatures), dtype=np.bool_)
    in_graph[: len(graph.indices)] = (graph.indices >= 0).any(axis=1)
    check.n_images, check.n_pairs = len(rows), len(found.pairs)
    check.n_groups = int(np.count_nonzero(sizes > 1))
    check.source, check.compared_generation = source_of(embedding_set), check.generation
    check.facts = {
        "method": _METHOD,
        "encoder": embedding_set.fingerprint if embedding_set else None,
        "thresholds": asdict(thresholds) | {"bits": found.bits},
        "images": len(rows),
        "compared_pairs": found.n_candidates,
        "dropped_chain_pairs": found.n_chained,
        "largest_group": int(sizes.max()),
        "unreadable": n_unreadable,
        "blank": int(np.count_nonzero(blank)),
        "without_neighbors": int(np.count_nonzero(~in_graph[rows])),
    }
    save_pairs(check, found.pairs, found.differences, groups, compared)


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
    n_rows = count_rows(dataset)
    if has_parts(dataset.pk):  # of the embedding job, or of a check that was killed
        merge_parts(check, spec, n_rows)
    stamps = open_signatures(check)[1]
    stale, _ = stale_rows(dataset, stamps, run.check)
    if not len(stale) and len(stamps) == n_rows:
        return 0
    if len(stale) and not dataset.data_dir.is_dir():
        raise Refusal(
            f"The folder {dataset.data_dir} does not exist.",
            "Connect its disk, or set AL_DATA_DIR to where it is now.",
        )
    run.stage("Computing signatures", total=len(stale))
    n_unreadable = sum(_compute(run, dataset, spec, stale[part]) for part in blocks(len(stale), _PART_ROWS))
    merge_parts(check, spec, n_rows)
    return n_unreadable


def _compute(run: Run, dataset: Dataset, spec: InputSpec, rows: Rows) -> int:
    """Compute and save the signatures of ``rows``. Return the number of images that could not be read."""
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
    save_part(dataset.pk, spec, rows, stamps, new)
    return n_unreadable


def described(signatures: Pixels, tell: Tell) -> tuple[NDArray[np.bool_], Hashes]:
    """Return which pictures are blank, (n,), and the hashes of all, (n, 8)."""
    parts = []
    for part in blocks(len(signatures), _BLOCK):
        tell("Computing hashes", part.start, len(signatures))
        parts.append((is_blank(signatures[part]), hashes_of(signatures[part])))
    return np.concatenate([blank for blank, _ in parts]), np.concatenate([hashes for _, hashes in parts])


# -- Neighbors ------------------------------------------------------------------------------------
def _graph(embedding_set: EmbeddingSet | None, signatures: Pixels, rows: Rows, tell: Tell) -> Graph:
    """Return the k-NN graph of the embeddings in use, which maps and queues share, or one of the signatures."""
    vectors = store.open_vectors(embedding_set) if embedding_set else None
    if embedding_set is not None and vectors is not None:
        return graph_of(embedding_set, vectors, tell)
    return graph_of_signatures(signatures, rows, tell)


def graph_of_signatures(signatures: Pixels, rows: Rows, tell: Tell) -> Graph:
    """Return a k-NN graph of the signatures' principal components, with rows of -1 for all but ``rows``.

    Above 20,000 images only the nearest cells are searched, so most of the far neighbors are not the nearest ones.
    """
    has = np.zeros(len(signatures), dtype=np.bool_)
    has[rows] = True
    # Integers take a quarter of the memory; they are converted in blocks.
    pixels = cast(Floats, signatures[:, ::2, ::2].reshape(len(signatures), -1))
    Z = project(pixels, rng=np.random.default_rng(SEED), has=has, dims=_COMPONENTS, is_unit=True)

    def count(done: int, total: int) -> None:
        tell("Finding the nearest neighbors of each image", done, total)

    if len(rows) <= AT_ONCE:
        return knn_graph(Z, NEIGHBOURS, on_progress=count)
    rng = np.random.default_rng(SEED)
    return approximate_knn_graph(Z, NEIGHBOURS, rng=rng, most_probes=_MOST_PROBES, on_progress=count).graph

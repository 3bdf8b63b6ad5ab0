"""Fit the components of joined encoders to a sample of a dataset's images, and notice when later images differ."""

from __future__ import annotations

import logging

import numpy as np
from django.db.models import F, Max

from hoshina.core.storage import StoreError
from hoshina.jobs.runner import Run
from labeling.models import Dataset, Item
from modeling import store
from modeling.algorithms.reduction import Reduction
from modeling.backends import Encoder, JoinedEncoder
from modeling.backends.joined import DIMS
from modeling.encoders.choice import fingerprint_of
from modeling.encoders.frames import Pictured, encode_items, pictured
from modeling.encoders.input_spec import InputSpec
from modeling.models import MAX_NAME, EmbeddingSet

log = logging.getLogger(__name__)

# Images of the sample, in short runs of rows spread over the dataset. Components fitted to more are not better.
SAMPLE, RUN_LENGTH = 1024, 8
SEED = 0
# Vectors that may be replaced when a dataset has outgrown a smaller sample: computing them again takes seconds.
GROWTH = 2


def with_reduction(run: Run, dataset: Dataset, encoder: Encoder, spec: InputSpec) -> tuple[Encoder, int]:
    """Return a joined encoder with its reduction to components, fitted if the dataset has none; others as they are.

    The parameter ``is_refit`` of the run fits new components. The images of the sample are embedded at once; their
    number is returned, too.
    """
    if not isinstance(encoder, JoinedEncoder):
        return encoder, 0
    latest = EmbeddingSet.objects.filter(dataset=dataset, source=fingerprint_of(encoder, spec)).order_by("-pk").first()
    began = latest is not None and run.job.result.get("fingerprint") == latest.fingerprint  # before it was interrupted
    if latest is not None and (began or not (run.params.get("is_refit") or _is_outgrown(latest, dataset))):
        try:
            return reduced_for(latest, encoder), 0
        except StoreError as error:
            log.warning("%s New components are fitted.", error.message)
    return _fit(run, dataset, encoder, spec)


def reduced_for(vectors: EmbeddingSet, encoder: Encoder) -> Encoder:
    """Return a joined encoder with the reduction of a set of embeddings; others as they are.

    Raises
    ------
    StoreError : the components are missing or damaged.
    """
    if not isinstance(encoder, JoinedEncoder):
        return encoder
    reduction = store.open_reduction(vectors)
    if reduction is None:
        raise StoreError(f"The components of {vectors} are missing.", "Compute the embeddings again.")
    return encoder.reduced(reduction)


def embedding_set_of(
    dataset: Dataset, encoder: Encoder, spec: InputSpec, *, source: str = "", n_fitted: int = 0
) -> EmbeddingSet:
    """Return the set for an encoder's vectors, created if missing. ``source``, ``n_fitted``: see `EmbeddingSet`."""
    facts = {
        "encoder": encoder.name[:MAX_NAME],
        "backend": encoder.backend,
        "reason": encoder.reason,
        "dim": spec.width(encoder.dim),
    }
    if isinstance(encoder, JoinedEncoder) and encoder.reduction is not None and source:
        facts |= {"source": source, "n_fitted": n_fitted, "left_out": encoder.reduction.left_out}
    found, _ = EmbeddingSet.objects.update_or_create(
        dataset=dataset, fingerprint=fingerprint_of(encoder, spec), defaults=facts
    )
    return found


def count_left_out(vectors: EmbeddingSet, encoder: Encoder) -> None:
    """Add what the components left out of the images just encoded."""
    if isinstance(encoder, JoinedEncoder) and encoder.n_encoded:
        EmbeddingSet.objects.filter(pk=vectors.pk).update(
            left_out_later=F("left_out_later") + encoder.left_out, n_later=F("n_later") + encoder.n_encoded
        )


def _is_outgrown(vectors: EmbeddingSet, dataset: Dataset) -> bool:
    n_readable = dataset.n_items - dataset.n_missing - vectors.n_failed
    return vectors.n_fitted < SAMPLE and n_readable >= GROWTH * vectors.n_fitted


def _fit(run: Run, dataset: Dataset, encoder: JoinedEncoder, spec: InputSpec) -> tuple[Encoder, int]:
    items = _sample(dataset, spec)
    run.stage("Fitting components to a sample", total=len(items))
    found, missing, _ = encode_items(encoder, items, dataset.data_dir, spec, run.advance)
    n_slots = missing.shape[1]
    frames = found.reshape(len(items) * n_slots, encoder.dim)
    is_there = ~missing.ravel()
    rng = np.random.default_rng(SEED)
    fitted = frames[is_there] if is_there.sum() > 1 else np.zeros((2, encoder.dim), np.float32)
    reduced = encoder.reduced(Reduction.fit(fitted, encoder.widths, DIMS, rng=rng))
    assert reduced.reduction is not None
    source = fingerprint_of(encoder, spec)
    unsaved = EmbeddingSet(dataset=dataset, fingerprint=fingerprint_of(reduced, spec))
    store.save_reduction(unsaved, reduced.reduction)  # before the row: without components, the row would be useless
    vectors = embedding_set_of(dataset, reduced, spec, source=source, n_fitted=int(is_there.sum()))
    if items:
        features = reduced.reduction.apply(frames)[0]
        features[~is_there] = 0
        rows = np.array([item.row for item in items], dtype=np.int64)
        stamps = np.array([item.stamp for item in items], dtype=np.uint64)
        start, stop = int(rows[0]), int(rows[-1]) + 1
        store.save_part(vectors, start, stop, rows, stamps, features.reshape(len(items), -1), missing)
    return reduced, int(is_there.reshape(missing.shape).any(axis=1).sum())


def _sample(dataset: Dataset, spec: InputSpec) -> list[Pictured]:
    """Return up to `SAMPLE` items with images, all of them in a dataset of no more."""
    n_rows = (Item.objects.of(dataset).aggregate(last=Max("row"))["last"] or 0) + 1
    if n_rows <= SAMPLE:
        return list(pictured(dataset, 0, n_rows, spec))
    n_runs = SAMPLE // RUN_LENGTH
    offsets = np.random.default_rng(SEED).integers(0, n_rows // n_runs - RUN_LENGTH + 1, n_runs)
    starts = np.arange(n_runs) * (n_rows // n_runs) + offsets
    return [item for start in starts.tolist() for item in pictured(dataset, start, start + RUN_LENGTH, spec)]

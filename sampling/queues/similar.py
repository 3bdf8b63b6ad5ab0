"""Rank the queue Similar: images that look like examples, which are items, files from outside, or labels of a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from hoshina.core.errors import Refusal
from hoshina.core.parsing import whole_number
from sampling.queues.outside_examples import names_in
from sampling.queues.strategy import BadParameter, Floats, Inputs, Ranking, Rows

# Labels of a class to compare with, and of the others: more cost time and hardly change the ranking.
MAX_EXAMPLES = 1000
Avoid = Literal["nothing", "labels"]


@dataclass(frozen=True)
class SimilarParams:
    """What to compare with, and the minimum cosine similarity.

    ``to``: rows of examples, separated by commas. ``file``: SHA-256 of examples from outside the dataset. ``of``: the
    id of a class whose labels are examples, and the labels of the other classes counterexamples. ``avoid``: whether all
    labels are counterexamples, for examples of a class that has no label yet.
    """

    to: str = ""
    at_least: float = -1.0
    file: str = ""
    of: int = 0
    avoid: Avoid = "nothing"


def example_rows(to: str) -> list[int]:
    """Return the rows in ``SimilarParams.to``, or none if it is invalid."""
    rows = [whole_number(part, 9) for part in to.split(",")]
    return [] if None in rows else [row for row in rows if row is not None]


def similar(inputs: Inputs, params: SimilarParams, k: int) -> Ranking:
    """Rank the candidates most similar to any of the examples, by cosine similarity."""
    from sampling.algorithms.similar import similar as nearest

    assert inputs.X is not None
    assert inputs.inverse_lengths is not None
    if not -1 <= params.at_least <= 1:
        raise BadParameter("Similar: at_least must be between -1 and 1.")
    outside = _outside_vectors(inputs, params.file)
    named = example_rows(params.to)
    of_class, against = _class_examples(inputs, params.of)
    if params.avoid != "nothing" and not params.of:
        against = _sampled(inputs, inputs.labelled)
    if not (params.to or params.file or params.of):
        raise Refusal("No example chosen", "Press S on an image, or choose an image file as an example.")
    if params.to and not named:
        raise BadParameter("Similar: choose images to compare with.")
    examples = inputs.with_vector(np.union1d(np.array(named, np.int64), of_class))
    if not len(examples) and outside is None:
        raise BadParameter("Similar: the chosen image has no embedding yet. Wait until the embeddings are computed.")
    found = nearest(
        inputs.X, examples, k, inverse=inputs.inverse_lengths(), among=inputs.with_vector(inputs.candidates),
        at_least=params.at_least, outside=outside, against=against,
    )  # fmt: skip
    reason = "Similar to the labels of a class, unlike the others" if params.of else "Similar to the chosen images"
    return Ranking.of(found.rows, found.similarities, reason, is_complete=len(found.rows) < k)


def _outside_vectors(inputs: Inputs, file: str) -> Floats | None:
    if not file:
        return None
    names = names_in(file)
    if not names:
        raise BadParameter("Similar: file must be the SHA-256 of an uploaded example. Upload the example again.")
    assert inputs.outside is not None
    return inputs.outside(names)


def _class_examples(inputs: Inputs, class_id: int) -> tuple[Rows, Rows]:
    """Return the labeled rows of a class and those of the other classes, a random sample of many."""
    if not class_id:
        return inputs.labelled[:0], inputs.labelled[:0]
    is_mine = inputs.labels == class_id
    if not is_mine.any():
        raise BadParameter("Similar: this class has no labels yet. Label one image of it, or upload an example.")
    return _sampled(inputs, inputs.labelled[is_mine]), _sampled(inputs, inputs.labelled[~is_mine])


def _sampled(inputs: Inputs, rows: Rows) -> Rows:
    """Return the rows with an embedding, a random sample of many."""
    usable = inputs.with_vector(rows)
    if len(usable) <= MAX_EXAMPLES:
        return usable
    drawn: Rows = np.sort(inputs.rng.choice(usable, MAX_EXAMPLES, replace=False))
    return drawn

"""Wrap scikit-activeml's strategies with their defaults, on the same vectors and with the product's classifier.

Needs the dependency group ``bench``. Strategies that compare vectors (marked Z) use the same projection as Auto, which
has a twentieth of the dimensions of MobileNetV2 vectors. Strategies that need a classifier start with a random batch.
MaxHerding is the release's herding strategy; UHerding is not in it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skactiveml.base import SkactivemlClassifier
from skactiveml.pool import Badge, CoreSet, DropQuery, MaxHerding, ProbCover, TypiClust, UncertaintySampling

from benchmarks.label_efficiency.data import Floats, Rows
from benchmarks.label_efficiency.replay import Situation, Strategy, pick_at_random
from modeling.algorithms.calibration import softmax
from modeling.algorithms.head import Head, fit_head


class HeadClassifier(SkactivemlClassifier):  # type: ignore[misc]
    """The product's classifier with scikit-activeml's interface; ``head`` is a fitted one.

    Strategies that work on ``embeddings`` (n, d) besides the vectors ``X`` (n, D) request them by row.
    """

    def __init__(
        self,
        classes: Sequence[int] | None = None,
        missing_label: float = np.nan,
        cost_matrix: Any = None,
        random_state: int | None = None,
        head: Head | None = None,
    ) -> None:
        super().__init__(classes, missing_label, cost_matrix, random_state)
        self.head = head

    def fit(self, X: NDArray[Any], y: NDArray[Any], sample_weight: Any = None) -> HeadClassifier:
        X, y, _ = self._validate_data(X, y, sample_weight)
        self.head_ = self.head or fit_head(X.astype(np.float32), y, n_classes=len(self.classes_))
        return self

    def predict_proba(self, X: NDArray[Any], embed: Any = None) -> Any:
        P = softmax(self.head_.logits(np.asarray(X, np.float32)))
        return P if embed is None else (P, embed)


def fitted(now: Situation) -> HeadClassifier:
    return HeadClassifier(range(now.n_classes), random_state=0, head=now.head).fit(now.X[now.labeled], now.labels)


def known_labels(now: Situation) -> NDArray[np.float64]:
    """Return the labels (n,) of the pool, NaN for unlabeled rows."""
    y = np.full(len(now.X), np.nan)
    y[now.labeled] = now.labels
    return y


def by_classifier(sampler: Any, embeds: bool = False) -> Strategy:
    """Return a strategy that uses the classifier, and compares rows of the projection if it ``embeds``."""

    def choose(now: Situation, k: int) -> Rows:
        if now.head is None:
            return pick_at_random(now, k)
        if embeds:
            sampler.clf_embedding_flag_name = {"embed": now.Z[now.candidates]}
        return _query(sampler, now.X, now, k, clf=fitted(now), fit_clf=False)

    return choose


def by_vectors(sampler: Any, is_unit: bool = False) -> Strategy:
    """Return a strategy that compares rows of the projection, scaled to unit length if its defaults require that."""

    def choose(now: Situation, k: int) -> Rows:
        return _query(sampler, now.Z / np.linalg.norm(now.Z, axis=1, keepdims=True) if is_unit else now.Z, now, k)

    return choose


def _query(sampler: Any, X: Floats, now: Situation, k: int, **more: Any) -> Rows:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of scikit-activeml and scikit-learn
        return np.asarray(sampler.query(X=X, y=known_labels(now), batch_size=k, **more), np.int64)


# Each creates a strategy for one replay (seed, number of classes): some keep state from their first query.
OPPONENTS: dict[str, Callable[[int, int], Strategy]] = {
    "sk margin": lambda seed, n_classes: by_classifier(UncertaintySampling("margin_sampling", random_state=seed)),
    "sk entropy": lambda seed, n_classes: by_classifier(UncertaintySampling("entropy", random_state=seed)),
    "sk BADGE (Z)": lambda seed, n_classes: by_classifier(Badge(random_state=seed), embeds=True),
    "sk DropQuery": lambda seed, n_classes: by_classifier(DropQuery(random_state=seed)),
    "sk CoreSet (Z)": lambda seed, n_classes: by_vectors(CoreSet(random_state=seed)),
    "sk TypiClust (Z)": lambda seed, n_classes: by_vectors(TypiClust(random_state=seed)),
    "sk ProbCover (Z)": lambda seed, n_classes: by_vectors(
        ProbCover(n_classes=n_classes, random_state=seed), is_unit=True
    ),
    "sk MaxHerding (Z)": lambda seed, n_classes: by_vectors(MaxHerding(random_state=seed)),
}

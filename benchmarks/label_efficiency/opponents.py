"""scikit-activeml's strategies with its defaults, on the same vectors and with the product's classifier.

Needs the dependency group ``bench``. Those that compare vectors (marked Z) get the projection that Auto gets, a
twentieth of the numbers on MobileNetV2 vectors. The strategies that need a classifier begin
with a random batch. MaxHerding is the release's herding strategy; UHerding is not in it.
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
from benchmarks.label_efficiency.replay import Situation, Strategy, by_chance
from modeling.algorithms.calibration import softmax
from modeling.algorithms.head import Head, fit_head


class HeadClassifier(SkactivemlClassifier):  # type: ignore[misc]
    """The product's classifier as scikit-activeml wants one; ``head`` is one that is fitted already.

    Where a strategy works on ``embeddings`` (n, d) beside the vectors ``X`` (n, D), it asks for them by row.
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
    return HeadClassifier(range(now.n_classes), random_state=0, head=now.head).fit(now.X[now.labelled], now.labels)


def known_labels(now: Situation) -> NDArray[np.float64]:
    """(n,) labels of the pool, NaN where there is none yet."""
    y = np.full(len(now.X), np.nan)
    y[now.labelled] = now.labels
    return y


def by_classifier(sampler: Any, embeds: bool = False) -> Strategy:
    """A strategy that asks the classifier, and compares rows of the projection if it ``embeds``."""

    def choose(now: Situation, k: int) -> Rows:
        if now.head is None:
            return by_chance(now, k)
        if embeds:
            sampler.clf_embedding_flag_name = {"embed": now.Z[now.candidates]}
        return _asked(sampler, now.X, now, k, clf=fitted(now), fit_clf=False)

    return choose


def by_vectors(sampler: Any, is_unit: bool = False) -> Strategy:
    """A strategy that compares rows of the projection, of length 1 where its defaults are meant for such."""

    def choose(now: Situation, k: int) -> Rows:
        return _asked(sampler, now.Z / np.linalg.norm(now.Z, axis=1, keepdims=True) if is_unit else now.Z, now, k)

    return choose


def _asked(sampler: Any, X: Floats, now: Situation, k: int, **more: Any) -> Rows:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own and scikit-learn's parts
        return np.asarray(sampler.query(X=X, y=known_labels(now), batch_size=k, **more), np.int64)


# Each makes a strategy for one replay (of a seed, with so many classes): some keep what they found at the first query.
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

"""Pull a queue: gather what its strategy needs, rank, and write the round."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from django.contrib.auth.models import User
from django.utils import timezone
from numpy.typing import NDArray

from labeling.models import Dataset, Lease, State
from modeling.predictions import Predictions, active_predictions
from sampling.models import Round
from sampling.pool import pool_of
from sampling.strategies import STRATEGIES, Inputs, Strategy

# So many ranks are kept with a round; the page after the last of them pulls the queue again.
KEPT = 2000


class CannotRank(Exception):
    """A queue has nothing to rank with; says what is missing and what to do."""

    def __init__(self, title: str, text: str) -> None:
        super().__init__(text)
        self.title, self.text = title, text


@dataclass(frozen=True)
class Filters:
    """Which items a pull considers. ``state`` None: every available one."""

    state: State | None = State.UNLABELLED
    label_id: int | None = None
    predicted_id: int | None = None

    def as_params(self) -> dict[str, Any]:
        state = "any" if self.state is None else State(self.state).label
        return {"state": state, "label": self.label_id, "predicted": self.predicted_id}


def default_queue(dataset: Dataset) -> str:
    """What to deal when nobody chose: the model's doubts once there is a model, chance before."""
    return "uncertain" if active_predictions(dataset) is not None else "random"


def new_seed() -> int:
    """A seed nobody chose; it is written down with the round."""
    return secrets.randbelow(2**31)


def pull(
    dataset: Dataset,
    strategy: Strategy,
    params: Any,
    filters: Filters,
    *,
    seed: int,
    holder: str = "",
    user: User | None = None,
    after: int = -1,
    k: int = KEPT,
) -> Round:
    """Rank the dataset's items with ``strategy`` and keep the first ``k`` as a new round.

    The same seed, labels, model and leases give the same ranking. ``after`` continues a queue in folder order
    behind that row. Raises :class:`CannotRank` in words when the queue lacks a model or items.
    """
    predictions = active_predictions(dataset)
    if strategy.needs_model and predictions is None:
        raise CannotRank(
            "No model yet",
            "This queue ranks by what the model thinks. Label at least one image in each of two classes and "
            "press R; until then take Random.",
        )
    candidates = _candidates(dataset, filters, predictions, holder if strategy.deals else "")
    candidates = candidates[np.searchsorted(candidates, after, side="right") :]
    inputs = Inputs(
        candidates=candidates,
        rng=np.random.default_rng(seed),
        probabilities=None if predictions is None else predictions.probabilities,
    )
    ranking = strategy.rank(inputs, params, k)
    dataset.refresh_from_db(fields=["n_decisions"])
    return Round.objects.create(
        dataset=dataset,
        queue=strategy.name,
        params={**asdict(params), "filters": filters.as_params(), "after": after},
        seed=seed,
        model_version_id=predictions.model.pk if predictions and strategy.needs_model else None,
        n_decisions=dataset.n_decisions,
        n_ranked=len(ranking.rows),
        is_complete=ranking.is_complete,
        rows=ranking.rows.astype("<i8").tobytes(),
        scores=ranking.scores.astype("<f4").tobytes(),
        probabilities=ranking.probabilities.astype("<f4").tobytes(),
        reason=ranking.reason,
        created_by=user,
    )


def pull_again(spent: Round, *, holder: str, user: User | None) -> Round:
    """The round after ``spent``: the same queue and filters; chance goes on with the next seed."""
    strategy = STRATEGIES[spent.queue]
    kept = dict(spent.params)
    filters = filters_from(kept.pop("filters"))
    kept.pop("after")
    rows = ranked_rows(spent)
    goes_on = spent.queue == "all" and len(rows)
    return pull(
        spent.dataset,
        strategy,
        strategy.params(**kept),
        filters,
        seed=spent.seed + 1,
        holder=holder,
        user=user,
        after=int(rows[-1]) if goes_on else -1,
    )


def filters_from(params: dict[str, Any]) -> Filters:
    """The inverse of :meth:`Filters.as_params`."""
    names = {state.label: state for state in State}
    return Filters(names.get(params["state"]), params["label"], params["predicted"])


def ranked_rows(round_: Round) -> NDArray[np.int64]:
    return np.frombuffer(round_.rows, dtype="<i8")


def leased_to_others(dataset: Dataset, holder: str) -> list[int]:
    """Rows in other people's hands just now."""
    held = Lease.objects.filter(dataset=dataset, expires_at__gt=timezone.now()).exclude(holder=holder)
    return list(held.values_list("item__row", flat=True))


def _candidates(
    dataset: Dataset, filters: Filters, predictions: Predictions | None, holder: str
) -> NDArray[np.int64]:
    rows = pool_of(dataset).rows(filters.state, filters.label_id)
    if filters.predicted_id is not None:
        rows = _predicted_as(rows, filters.predicted_id, predictions)
    if holder and filters.state == State.UNLABELLED:
        rows = np.setdiff1d(rows, leased_to_others(dataset, holder), assume_unique=True)
    return rows


def _predicted_as(
    rows: NDArray[np.int64], label_id: int, predictions: Predictions | None
) -> NDArray[np.int64]:
    if predictions is None:
        raise CannotRank("No model yet", "There are no predictions to filter by: press R to train a model.")
    columns = predictions.columns_of(label_id)
    if not columns:
        raise CannotRank(
            "Not predicted yet",
            "The model doesn't know this class yet: press R to train it with the new labels.",
        )
    known = rows[rows < len(predictions.probabilities)]
    P = np.asarray(predictions.probabilities[known])
    likeliest = np.argmax(np.where(np.isnan(P), -1, P), axis=1)
    return known[np.isin(likeliest, columns) & ~np.isnan(P[:, 0])]

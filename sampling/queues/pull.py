"""Pull a queue: gather the inputs of its strategy, rank the items and save the round."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from django.db.models import F
from numpy.typing import NDArray

from hoshina.core.errors import Refusal
from labeling.models import Annotation, Dataset, Item, LabelClass, State
from modeling.encoders.neighbor_cache import Tell, graph_of, principal_components_of, silently
from modeling.models import EmbeddingSet
from modeling.predictions import HeldOutPredictions, Predictions, active_model, active_predictions, held_out_of
from modeling.store import Vectors, open_vectors
from sampling.classes.review import basis_of_review, review_of
from sampling.maps.region_filter import Region, located, region_from, rows_inside
from sampling.models import Round
from sampling.queues import field_filter, note_filter, outside_examples
from sampling.queues.field_filter import Condition
from sampling.queues.held_out_filter import Unseen, rows_of, unseen_from
from sampling.queues.leases import NO_WINDOW, Window, available
from sampling.queues.note_filter import NO_NOTE_FILTER, NoteFilter, note_filter_from
from sampling.queues.outlier_cache import inverse_lengths_of, oddness_at_hand, oddness_of
from sampling.queues.pool import Pool, pool_of
from sampling.queues.registry import STRATEGIES
from sampling.queues.strategy import Inputs, Ranking, Strategy
from sampling.sweeps.checks import carryover_of, deal_checks, risk_of, settle, waiting_checks
from sampling.sweeps.queues import CHECK

# The entries of a round's ``params`` beside the parameters of its queue.
_CONTEXT = ("filters", "after", "skip", "facts", "candidates")
# The queues of annotations given to a page by one key.
_PAGES = ("groups", "sweep", f"sweep/{CHECK}", "checks")
# The state that stands for ``Filters.is_changed`` in URLs and rounds.
CHANGED = "changed"


@dataclass(frozen=True)
class Filters:
    """The items that a pull considers. ``state`` None: every available item.

    With ``unseen``, label and prediction are those of that version when it was trained. ``is_changed``: only items
    whose files changed after their decision. ``path``: only items whose path contains this text, ignoring case.
    """

    state: State | None = State.UNLABELLED
    label_id: int | None = None
    predicted_id: int | None = None
    unseen: Unseen | None = None
    region: Region | None = None
    fields: tuple[Condition, ...] = ()
    is_changed: bool = False
    path: str = ""
    notes: NoteFilter = NO_NOTE_FILTER

    def as_params(self) -> dict[str, Any]:
        state = CHANGED if self.is_changed else "any" if self.state is None else State(self.state).label
        params: dict[str, Any] = {"state": state, "label": self.label_id, "predicted": self.predicted_id}
        params |= self.unseen.as_params() if self.unseen else {}
        params |= self.region.as_params() if self.region else {}
        params |= {"path": self.path} if self.path else {}
        params |= self.notes.as_params()
        return params | field_filter.as_params(self.fields)


def new_seed() -> int:
    """Return a random seed, to be stored with the round."""
    return secrets.randbelow(2**31)


def pull(
    dataset: Dataset,
    strategy: Strategy,
    params: Any,
    filters: Filters,
    *,
    seed: int,
    holder: str = "",
    k: int | None = None,
) -> Round:
    """Rank the dataset's items at once; see :class:`Order`."""
    return Order(strategy.name, asdict(params), filters.as_params(), seed, holder=holder, k=k).pull(dataset)


def gather(
    dataset: Dataset,
    strategy: Strategy,
    filters: Filters,
    *,
    seed: int,
    window: Window = NO_WINDOW,
    after: int = -1,
    is_continued: bool = False,
    tell: Tell = silently,
) -> Inputs:
    """Return the inputs of ``strategy``: the rows that pass the filters, and the arrays that it needs.

    ``tell`` gets the progress while an array is computed, and may raise an exception that stops it.
    """
    predictions = active_predictions(dataset)
    embedding_set = EmbeddingSet.objects.filter(dataset=dataset, is_active=True).first()
    vectors = open_vectors(embedding_set) if embedding_set else None
    if strategy.needs_model and predictions is None:
        raise Refusal(
            "No model yet",
            "This queue ranks by the model's predictions. Label at least one image in each of two classes and "
            "press R. Until then, use Random.",
        )
    if strategy.needs_vectors and vectors is None:
        raise Refusal(
            "No embeddings yet",
            "This queue compares images by their embeddings, which are not computed yet (see Jobs, or run "
            "hoshina embed). Until then, use Random.",
        )
    held_out = _held_out(predictions) if strategy.needs_held_out else None
    pool = pool_of(dataset)
    candidates = field_filter.narrowed(dataset, _candidates(dataset, pool, filters, predictions), filters.fields)
    candidates = note_filter.narrowed(dataset, candidates, filters.notes)
    if filters.path:
        candidates = np.intersect1d(candidates, rows_by_path(dataset, filters.path), assume_unique=True)
    if strategy.needs_held_out:
        candidates = np.setdiff1d(candidates, _looked_at(dataset, strategy), assume_unique=True)
    if window.name and leases(strategy, filters):
        candidates = available(dataset, candidates, window, is_continued=is_continued)
    labelled = pool.rows(State.LABELLED)
    settle(dataset.pk)
    waiting, waiting_classes = waiting_checks(dataset)
    return Inputs(
        candidates=candidates,
        after=after,
        rng=np.random.default_rng(seed),
        probabilities=None if predictions is None else predictions.probabilities,
        columns={} if predictions is None else predictions.columns(),
        X=None if vectors is None else vectors.X,
        has_vector=None if vectors is None else vectors.has,
        labelled=labelled,
        labels=pool.labels[labelled],
        projected=lambda: principal_components_of(*_of(embedding_set), tell),
        graph=lambda: graph_of(*_of(embedding_set)),
        oddness=lambda method: oddness_of(*_of(embedding_set), method),
        oddness_at_hand=lambda: oddness_at_hand(*_of(embedding_set)),
        inverse_lengths=lambda: inverse_lengths_of(*_of(embedding_set)),
        held_out=held_out,
        pressed=lambda rows: pressed_together(dataset, rows),
        waiting=waiting,
        waiting_classes=waiting_classes,
        risk=lambda: (risk_of(dataset), carryover_of(dataset)),
        column=lambda name: field_filter.column_named(dataset, name),
        review=lambda split_id: review_of(dataset, split_id),
        outside=lambda names: outside_examples.vectors_of(dataset, _of(embedding_set)[0], names),
    )


def leases(strategy: Strategy, filters: Filters) -> bool:
    """Return whether the queue leases its items to the window that shows them."""
    return strategy.deals and (filters.state == State.UNLABELLED or strategy.is_sweep)


def rows_by_path(dataset: Dataset, text: str) -> NDArray[np.int64]:
    """Return the rows of the items whose path contains a text, ignoring case (of ASCII letters on SQLite)."""
    found = Item.objects.filter(dataset=dataset, path__icontains=text).values_list("row", flat=True)
    return np.sort(np.fromiter(found.iterator(chunk_size=10_000), np.int64))


def _held_out(predictions: Predictions | None) -> HeldOutPredictions:
    held_out = held_out_of(predictions.model) if predictions is not None else None
    if held_out is None:
        raise Refusal(
            "Too few labels to check",
            "To check a label, the model is trained without it, which needs 20 labels of two classes. Label more and "
            "press R.",
        )
    return held_out


def pressed_together(dataset: Dataset, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each row an id of the sweep page on which it was labeled, or a unique negative number."""
    swept = Annotation.objects.filter(
        item__dataset=dataset, item__row__in=rows.tolist(), queue__in=_PAGES, pk=F("item__decision_id")
    )
    action_of = dict(swept.values_list("item__row", "action_id"))
    return np.array([action_of.get(row, -1 - row) for row in rows.tolist()], np.int64)


def _looked_at(dataset: Dataset, strategy: Strategy) -> list[int]:
    """Return the rows whose label was decided in this queue: the person has already seen the disagreement there."""
    decided = Annotation.objects.filter(item__dataset=dataset, queue=strategy.name, pk=F("item__decision_id"))
    return list(decided.values_list("item__row", flat=True))


def _of(embedding_set: EmbeddingSet | None) -> tuple[EmbeddingSet, Vectors]:
    vectors = open_vectors(embedding_set) if embedding_set else None
    if embedding_set is None or vectors is None:
        hint = "The embeddings were replaced while the images were being ranked. Try again."
        raise Refusal("No embeddings yet", hint)
    return embedding_set, vectors


def basis_of(dataset: Dataset, strategy: Strategy, params: Mapping[str, Any]) -> str:
    """Return what the ranking depends on; when it changes, the next page is a new pull.

    A queue that follows the model depends on the model and the embeddings, Similar on the labels of its class, Unlike
    on all labels, Review on the decisions since the split.
    """
    if strategy.name == "review":
        return basis_of_review(dataset, params.get("split", 0))
    if strategy.name == "unlike":
        labelled = Dataset.objects.filter(pk=dataset.pk).values_list("n_labelled", flat=True)
        return f"labels {labelled.first() or 0}"
    if strategy.name == "similar" and params.get("of"):
        found = LabelClass.objects.filter(dataset=dataset, pk=params["of"]).values_list("n_items", flat=True)
        return f"class {params['of']}, labels {found.first() or 0}"
    if not strategy.follows_model:
        return ""
    model = active_model(dataset)
    vectors = EmbeddingSet.objects.filter(dataset=dataset, is_active=True).values_list("pk", flat=True).first()
    return f"model {model.pk if model else 0}, vectors {vectors or 0}"


def _reasons(ranking: Ranking) -> dict[str, Any]:
    if ranking.sources is None:
        return {"reasons": [["", next(iter(ranking.reasons.values()))]]}
    used, position = np.unique(np.array(ranking.sources, np.str_), return_inverse=True)
    reasons = [[name, ranking.reasons[name]] for name in used.tolist()]
    return {"reasons": reasons, "sources": position.astype(np.uint8).tobytes()}


@dataclass(frozen=True)
class Order:
    """A pull to be done; a worker gets it as JSON."""

    queue: str
    params: dict[str, Any]
    filters: dict[str, Any]
    seed: int
    # Continue the queue All after this row, and any other queue after this many ranks.
    after: int = -1
    skip: int = 0
    holder: str = ""
    user_id: int | None = None
    # Draw at random, without embeddings, while the ranking is being computed.
    is_by_chance: bool = False
    # Skip the items that the window (``holder``) shows: it requests the next page.
    is_continued: bool = False
    # Number of ranks to store if the ranking is one page; None: as many as the strategy keeps.
    k: int | None = None

    def pull(self, dataset: Dataset, tell: Tell = silently) -> Round:
        """Rank the dataset's items and save the first ranks as a new round; ``tell`` as for `gather`.

        The same seed, labels, model and leases give the same ranking.

        Raises Refusal if the queue lacks a model, embeddings or items, and
        :class:`~sampling.queues.strategy.BadParameter` for invalid parameters; both with a text to show.
        """
        dataset.refresh_from_db(fields=["n_decisions"])
        strategy, filters = STRATEGIES[self.queue], filters_from(self.filters)
        # The map may be drawn otherwise later: write down where the region lies on the plane.
        filters = replace(filters, region=located(dataset, filters.region))
        window, is_continued = Window(self.holder, self.user_id), self.is_continued
        inputs = gather(
            dataset, strategy, filters, seed=self.seed, window=window, after=self.after, is_continued=is_continued,
            tell=tell,
        )  # fmt: skip
        if self.is_by_chance:
            inputs = replace(inputs, X=None)
        params = strategy.params(**self.params)
        ranking = strategy.rank(inputs, params, self.skip + (self.k or strategy.kept)).after_first(self.skip)
        model = active_model(dataset)
        context = {"filters": filters.as_params(), "after": self.after, "skip": self.skip}
        context["candidates"] = len(inputs.candidates)
        context |= {"facts": dict(ranking.facts)} if ranking.facts else {}
        round_ = Round.objects.create(
            dataset=dataset,
            queue=self.queue,
            params=asdict(params) | context,
            seed=self.seed,
            model_version_id=model.pk if model and strategy.follows_model else None,
            n_decisions=dataset.n_decisions,
            n_ranked=len(ranking.rows),
            is_complete=ranking.is_complete,
            rows=ranking.rows.astype("<i8").tobytes(),
            scores=ranking.scores.astype("<f4").tobytes(),
            probabilities=ranking.probabilities.astype("<f4").tobytes(),
            basis="chance" if self.is_by_chance else basis_of(dataset, strategy, self.params),
            created_by_id=self.user_id,
            **_reasons(ranking),
        )
        if checked := ranking.facts.get("checks"):
            chances = ranking.scores[np.searchsorted(ranking.rows, checked, sorter=np.argsort(ranking.rows))]
            deal_checks(round_, ranking.facts["of"], checked, chances.tolist())
        return round_


def order_after(spent: Round, window: Window, k: int | None) -> Order:
    """Return the pull that continues ``spent`` in ``window``: same queue and filters, next seed.

    Labeled items stay in the pool after they were shown, so there the ranking continues where it ended.
    """
    filters, rows = spent.params["filters"], ranked_rows(spent)
    params = {name: value for name, value in spent.params.items() if name not in _CONTEXT}
    if "within" in params:
        params["within"] = ""  # the second part of a group is followed by another group
    order = Order(
        spent.queue, params, filters, spent.seed + 1, holder=window.name, user_id=window.user_id, is_continued=True, k=k
    )
    if spent.queue == "all":
        return replace(order, after=int(rows[-1]) if len(rows) else -1)
    if spent.queue == "review":  # decided items leave it
        return order
    if filters["state"] != State.UNLABELLED.label and not STRATEGIES[spent.queue].is_sweep:
        return replace(order, seed=spent.seed, skip=spent.params.get("skip", 0) + len(rows))
    return order


def filters_from(params: dict[str, Any]) -> Filters:
    """Return the filters from the JSON of :meth:`Filters.as_params`."""
    names = {state.label: state for state in State}
    state, label_id, predicted_id = names.get(params["state"]), params["label"], params["predicted"]
    fields = field_filter.from_params(params)
    is_changed = params["state"] == CHANGED
    unseen, region, notes = unseen_from(params), region_from(params), note_filter_from(params)
    path = params.get("path", "")
    return Filters(state, label_id, predicted_id, unseen, region, fields, is_changed, path, notes)


def n_matching(round_: Round) -> int | None:
    """Return how many items passed the filters when the round was ranked; None where the queue limits them further."""
    strategy, filters = STRATEGIES[round_.queue], round_.params["filters"]
    if strategy.is_sweep or round_.queue in {"band", "similar"} or filters["state"] == CHANGED:
        return None
    candidates: int | None = round_.params.get("candidates")
    return candidates


def ranked_rows(round_: Round) -> NDArray[np.int64]:
    return np.frombuffer(round_.rows, dtype="<i8")


def _candidates(dataset: Dataset, pool: Pool, filters: Filters, predictions: Predictions | None) -> NDArray[np.int64]:
    among = None if filters.region is None else rows_inside(dataset, filters.region)
    if filters.is_changed:
        among = _changed(dataset, among)
    if filters.unseen is not None:
        wanted = rows_of(dataset, filters.unseen, filters.label_id, filters.predicted_id)
        return np.intersect1d(pool.rows(filters.state, among=among), wanted, assume_unique=True)
    rows = pool.rows(filters.state, filters.label_id, among)
    if filters.predicted_id is not None:
        rows = _predicted_as(rows, filters.predicted_id, predictions)
    return rows


def _changed(dataset: Dataset, among: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Return the rows, ascending, whose files changed after their decision."""
    changed = Item.objects.of(dataset).changed_since_decision().order_by("row").values_list("row", flat=True)
    rows = np.fromiter(changed.iterator(chunk_size=10_000), np.int64)
    return rows if among is None else np.intersect1d(among, rows, assume_unique=True)


def _predicted_as(rows: NDArray[np.int64], label_id: int, predictions: Predictions | None) -> NDArray[np.int64]:
    if predictions is None:
        raise Refusal("No model yet", "There are no predictions to filter by. Press R to train a model.")
    columns = predictions.columns().get(label_id)
    if not columns:
        raise Refusal(
            "Not predicted yet",
            "The model was not trained on this class yet. Press R to train it with the new labels.",
        )
    rows = rows[rows < len(predictions.probabilities)]
    P = np.asarray(predictions.probabilities[rows])
    likeliest = np.argmax(np.where(np.isnan(P), -1, P), axis=1)
    return rows[np.isin(likeliest, columns) & ~np.isnan(P[:, 0])]

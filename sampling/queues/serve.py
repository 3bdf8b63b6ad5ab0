"""Serve one page of a queue to a window or a program: of a new pull, or further down an existing round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from django.core.exceptions import BadRequest
from django.http import QueryDict

from labeling.models import Dataset
from sampling.models import Round
from sampling.queues.deal import Deal, deal
from sampling.queues.dispatch import get_or_rank_round
from sampling.queues.leases import Window, release
from sampling.queues.pull import Order, basis_of, new_seed, order_after
from sampling.queues.query import filters_of, whole_of
from sampling.queues.registry import BY_CHANCE, STRATEGIES
from sampling.queues.served import record
from sampling.queues.strategy import Strategy, parse_params


@dataclass(frozen=True)
class Serving:
    """One page, which is recorded as served unless it is empty."""

    round_: Round
    deal: Deal

    @property
    def has_next(self) -> bool:
        """Return whether there is a next page.

        The last page of a review is followed by another pull: its decisions may have moved the border.
        """
        is_last = self.deal.next_offset >= self.round_.n_ranked and self.round_.is_complete
        return not is_last or self.round_.queue == "review"

    @property
    def note(self) -> str:
        """Return what is shown in place of what the queue promises; "" if it shows that."""
        if all(reason != BY_CHANCE for _, reason in self.round_.reasons):
            return ""
        return "There is no ranking yet. This page is a random sample; later pages are ranked."


def serve(
    dataset: Dataset, me: Window, n: int, *, before: Round | None, offset: int, new_order: Callable[[], Order]
) -> Serving:
    """Return a page of up to ``n`` items: of ``before`` from rank ``offset`` on, or else of the pull ``new_order()``.

    A pull replaces the page that the window showed, whose leases end. Raises what
    :func:`~sampling.queues.dispatch.get_or_rank_round` raises.
    """
    if before is None:
        release(dataset, me)
    round_ = _round(dataset, before, offset, me, n, new_order)
    if before is None or round_.pk != before.pk:
        offset = 0
    page = _deal(round_, offset, n, me, is_continued=before is not None)
    if not page.tiles and before is not None:
        # Every item was shown once and skipped by turning pages: start again.
        release(dataset, me)
        again = order_after(round_, me, _ranks(round_.queue, n))
        round_ = get_or_rank_round(dataset, replace(again, after=-1, skip=0, is_continued=False))
        page = _deal(round_, 0, n, me, is_continued=False)
    record(round_, page.tiles, me.user_id)
    return Serving(round_, page)


def _deal(round_: Round, offset: int, n: int, me: Window, *, is_continued: bool) -> Deal:
    return deal(round_, offset, n, holder=me.name, user_id=me.user_id, is_continued=is_continued)


def _round(
    dataset: Dataset, before: Round | None, offset: int, me: Window, n: int, new_order: Callable[[], Order]
) -> Round:
    """Return the round of this page: the current one, its successor, or a new pull."""
    if before is None:
        return get_or_rank_round(dataset, new_order())
    is_outdated = before.basis != basis_of(dataset, STRATEGIES[before.queue], before.params)
    is_spent = offset >= before.n_ranked and not before.is_complete
    if not is_outdated and not is_spent:
        return before
    order = order_after(before, me, _ranks(before.queue, n))
    return get_or_rank_round(dataset, replace(order, skip=0) if is_outdated else order)


def order_of(query: QueryDict, dataset: Dataset, strategy: Strategy, me: Window, n: int) -> Order:
    """Return the pull that a query asks for: parameters of the queue, filters, ``seed``.

    Raises BadParameter or BadRequest, with a text to show.
    """
    return Order(
        queue=strategy.name,
        params=asdict(parse_params(strategy, query.dict())),
        filters=filters_of(query, dataset, strategy).as_params(),
        seed=whole_of(query, "seed", -1) if query.get("seed") else new_seed(),
        holder=me.name,
        user_id=me.user_id,
        k=_ranks(strategy.name, n),
    )


def _ranks(queue: str, n: int) -> int | None:
    """Return how many ranks a pull stores: those of the page for a sweep, which is decided page by page."""
    return n if STRATEGIES[queue].is_sweep else None


def strategy_named(name: str) -> Strategy:
    """Return the queue of that name. Raises BadRequest."""
    strategy = STRATEGIES.get(name)
    if strategy is None:
        raise BadRequest(f"There is no queue {name!r}. Choose one of {', '.join(STRATEGIES)}.")
    return strategy


def missing_for(strategy: Strategy, *, has_model: bool, has_vectors: bool) -> str:
    """Return what the queue lacks; "" if it can be pulled."""
    if strategy.needs_model and not has_model:
        return "Needs a model."
    if strategy.needs_vectors and not has_vectors:
        return "Needs embeddings."
    return ""

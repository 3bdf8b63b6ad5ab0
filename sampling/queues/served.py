"""Record each page that a person was shown, and look up how a labeled item came to be shown."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import numpy as np

from labeling.decisions.provenance import Claim, Shown
from labeling.models import Annotation
from sampling.models import Round, ServedPage
from sampling.queues.deal import Tile


def record(round_: Round, tiles: Sequence[Tile], user_id: int | None) -> None:
    """Record that these tiles of ``round_`` are sent to the person, with their suggestions."""
    if not tiles:
        return
    suggestions = [tile.suggestion for tile in tiles]
    ServedPage.objects.create(
        round=round_,
        user_id=user_id,
        first_rank=tiles[0].rank,
        last_rank=tiles[-1].rank,
        ranks=np.array([tile.rank for tile in tiles], "<u4").tobytes(),
        item_ids=np.array([tile.item.pk for tile in tiles], "<i8").tobytes(),
        suggested_ids=np.array([one.label.pk if one else 0 for one in suggestions], "<i8").tobytes(),
        suggested_probabilities=np.array([one.probability if one else 0 for one in suggestions], "<f4").tobytes(),
        model_version_id=tiles[0].shown.model_version_id,
    )


def look_up(dataset_id: int, user_id: int | None, claims: Collection[Claim]) -> dict[Claim, Shown]:
    """Return how the claimed items came to be shown, without claims about items that the person was not served.

    Takes one query for any number of claims. If a page was served twice, the last time counts.
    """
    ranks = [claim.rank for claim in claims]
    pages = (
        ServedPage.objects.filter(
            round__in={claim.round_id for claim in claims},
            round__dataset=dataset_id,
            user=user_id,
            first_rank__lte=max(ranks),
            last_rank__gte=min(ranks),
        )
        .select_related("round")
        .defer("round__rows")
        .order_by("pk")
    )
    wanted: dict[tuple[int, int, int], Claim] = {(one.round_id, one.rank, one.item_id): one for one in claims}
    found: dict[Claim, Shown] = {}
    for page in pages:
        found |= {claim: _shown(page, at, claim) for at, claim in _claimed(page, wanted)}
    return found


def _claimed(page: ServedPage, wanted: dict[tuple[int, int, int], Claim]) -> Iterable[tuple[int, Claim]]:
    """Yield the claims that match the page, each with its position on the page."""
    ranks = np.frombuffer(page.ranks, "<u4").tolist()
    items = np.frombuffer(page.item_ids, "<i8").tolist()
    for at, (rank, item_id) in enumerate(zip(ranks, items, strict=True)):
        claim = wanted.get((page.round_id, rank, item_id))
        if claim is not None:
            yield at, claim


def _shown(page: ServedPage, at: int, claim: Claim) -> Shown:
    shown = page.round.shown_at(claim.rank)
    suggested_id = int(np.frombuffer(page.suggested_ids, "<i8")[at]) or None
    probability = round(float(np.frombuffer(page.suggested_probabilities, "<f4")[at]), 6)
    return replace(
        shown,
        score=round(shown.score or 0, 6),
        selection_probability=round(shown.selection_probability or 0, 6),
        model_version_id=page.model_version_id,
        suggested_label_id=suggested_id,
        suggested_probability=probability if suggested_id else None,
        is_random_draw=True if shown.queue in Annotation.AUDIT_QUEUES and page.round.is_unfiltered else None,
    )

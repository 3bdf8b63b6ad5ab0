"""Record each page that a person was shown, and look up how a labeled item came to be shown."""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
        suggested_ids=np.array([guess.label.pk if guess else 0 for guess in suggestions], "<i8").tobytes(),
        suggested_probabilities=np.array([guess.probability if guess else 0 for guess in suggestions], "<f4").tobytes(),
        model_version_id=tiles[0].shown.model_version_id,
    )


def look_up(dataset_id: int, user_id: int | None, claims: Collection[Claim]) -> dict[Claim, Shown]:
    """Return how the claimed items came to be shown, without claims about items that the person was not served.

    Takes one query for any number of claims. If a page was served twice, the last time counts.
    """
    ranks = [claim.rank for claim in claims]
    rounds = {claim.round_id for claim in claims}
    pages = ServedPage.objects.filter(round__in=rounds, round__dataset=dataset_id, user=user_id)
    pages = pages.filter(first_rank__lte=max(ranks), last_rank__gte=min(ranks))
    by_key = {(claim.round_id, claim.rank, claim.item_id): claim for claim in claims}
    found: dict[Claim, Shown] = {}
    for page in pages.select_related("round").defer("round__rows").order_by("pk"):
        if not page.round.scores:  # its ranking was deleted while the page was being sent
            continue
        ranks_and_items = zip(np.frombuffer(page.ranks, "<u4"), np.frombuffer(page.item_ids, "<i8"), strict=True)
        for at, (rank, item_id) in enumerate(ranks_and_items):
            if claim := by_key.get((page.round_id, int(rank), int(item_id))):
                found[claim] = _shown(page, at, claim)
    return found


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

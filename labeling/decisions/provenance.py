"""Look up how an item came to be shown when it was labeled, by the server's own records.

A page sends the round and the rank of each item and whether a suggestion was visible. The queue, the score, the
selection probability and the suggestion come from what the server recorded when it served the page. The app that
serves pages registers its look-up here, so that this app needs to know nothing about rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from django.db import models

MAX_RENDERING = 120
# Queues that a page may name without a round: an item that was opened on its own page.
OPENED = "opened"


@dataclass(frozen=True)
class Shown:
    """How an item came to be shown; the fields of the same names of :class:`ShownFields`."""

    queue: str = ""
    round_id: int | None = None
    rank: int | None = None
    score: float | None = None
    selection_probability: float | None = None
    model_version_id: int | None = None
    suggested_label_id: int | None = None
    suggested_probability: float | None = None
    suggestion_shown: bool | None = None
    is_random_draw: bool | None = None
    rendering: str = ""


class ShownFields(models.Model):
    """How the item of an annotation came to be shown, as the server recorded it: the fields of :class:`Shown`.

    Rounds and models live in apps above this one, hence numbers and no foreign keys.
    """

    queue = models.CharField(max_length=40, blank=True)
    round_id = models.BigIntegerField(null=True)
    rank = models.PositiveBigIntegerField(null=True)
    score = models.FloatField(null=True)
    selection_probability = models.FloatField(null=True)
    model_version_id = models.BigIntegerField(null=True)
    # None: no suggestion existed; False: it was hidden (blind); True: the person saw it.
    suggestion_shown = models.BooleanField(null=True)
    suggested_label_id = models.BigIntegerField(null=True)
    suggested_probability = models.FloatField(null=True)
    # True: drawn uniformly at random from all items without a label (labeling.decisions.random_draws).
    is_random_draw = models.BooleanField(null=True)
    # How the image was displayed, if not by the dataset's default.
    rendering = models.CharField(max_length=MAX_RENDERING, blank=True, default="")

    class Meta:
        abstract = True


@dataclass(frozen=True)
class Claim:
    """What a browser claims: this item was shown at this rank (from 0) of this round."""

    item_id: int
    round_id: int
    rank: int


# (dataset id, user id, claims) -> what was served, by claim, without claims about items that were not served.
LookUp = Callable[[int, int | None, Collection[Claim]], Mapping[Claim, Shown]]
_look_ups: list[LookUp] = []


def register(look_up: LookUp) -> None:
    """Register the function that confirms claims; registering again replaces it."""
    _look_ups[:] = [look_up]


def confirmed(dataset_id: int, user_id: int | None, claims: Collection[Claim]) -> Mapping[Claim, Shown]:
    """Return how the items came to be shown, for the claims that are true."""
    return _look_ups[0](dataset_id, user_id, claims) if claims and _look_ups else {}

"""What queues leave behind.

Round: one run of a queue. ServedPage: a page of it as a person saw it. AccuracyEstimate: how right a model is.
Check: an image that measures a sweep.
"""

from __future__ import annotations

import numpy as np
from django.conf import settings
from django.db import models

from labeling.decisions.provenance import Shown
from labeling.models import Action, Dataset, Item, LabelClass
from modeling.models import ModelVersion

# The filters of a round (sampling.queues.pull.Filters.as_params) that leave out nothing but what has a label.
UNFILTERED = {"state": "unlabelled", "label": None, "predicted": None}


class Round(models.Model):
    """One run of a queue: strategy, parameters, seed, model version, and the ranked items.

    The ranking is kept as raw little-endian arrays (rows int64, scores float32, probabilities float32): a page
    reads a slice of one row of this table instead of thousands of rows.
    """

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="rounds")
    queue = models.CharField(max_length=40)
    params = models.JSONField(default=dict)
    seed = models.BigIntegerField()
    model_version_id = models.BigIntegerField(null=True)
    # Dataset.n_decisions when the ranking was made.
    n_decisions = models.PositiveBigIntegerField(default=0)
    n_ranked = models.PositiveIntegerField(default=0)
    # True: these are all the items that the queue had to offer.
    is_complete = models.BooleanField(default=False)
    rows = models.BinaryField(default=bytes)
    scores = models.BinaryField(default=bytes)
    probabilities = models.BinaryField(default=bytes)
    # Why items are shown, in words; ``sources`` (uint8) says for each rank which of them, empty: the first.
    reasons = models.JSONField(default=list)
    sources = models.BinaryField(default=bytes)
    # Which vectors and model the ranking rests on: when they are newer, the next page pulls again.
    basis = models.CharField(max_length=60, blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["dataset", "-id"], name="round_newest")]

    def __str__(self) -> str:
        return f"round {self.id}: {self.queue}"

    def queue_of(self, rank: int) -> str:
        """Return the queue that ranked an item here; "auto/audit" names the part of a mixed queue."""
        source = self.reasons[self.sources[rank] if self.sources else 0][0] if self.reasons else ""
        return f"{self.queue}/{source}" if source else self.queue

    def shown_at(self, rank: int) -> Shown:
        """Return how the item of that rank is shown here, without what a model says of it."""
        score, chance = (float(np.frombuffer(values, "<f4")[rank]) for values in (self.scores, self.probabilities))
        return Shown(self.queue_of(rank), self.pk, rank, score=score, selection_probability=chance)

    @property
    def is_unfiltered(self) -> bool:
        """Return whether it ranked all items without a label, and so can represent the whole collection."""
        return bool(self.params.get("filters", UNFILTERED) == UNFILTERED)


class ServedPage(models.Model):
    """A page of a round as it was sent to a person: which items at which ranks, with which suggestions.

    A label names the round and the rank of its item; only what is recorded here counts as shown. Arrays of one value
    per tile, by ascending rank: ranks uint32, item_ids and suggested_ids int64 (0: no suggestion), and
    suggested_probabilities float32.
    """

    round = models.ForeignKey(Round, on_delete=models.CASCADE, related_name="pages", db_index=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    first_rank = models.PositiveIntegerField()
    last_rank = models.PositiveIntegerField()
    ranks = models.BinaryField()
    item_ids = models.BinaryField()
    suggested_ids = models.BinaryField()
    suggested_probabilities = models.BinaryField()
    # The model that made the suggestions.
    model_version_id = models.BigIntegerField(null=True)
    served_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["round", "user", "first_rank"], name="served_page_ranks")]

    def __str__(self) -> str:
        return f"ranks {self.first_rank} to {self.last_rank} of round {self.round_id}"


class AccuracyEstimate(models.Model):
    """How right a model version is about the whole collection, estimated from the labels of the audit.

    Kept for good, so that the history outlives the arrays of older versions.
    """

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="accuracy_estimates")
    model_version = models.OneToOneField(ModelVersion, on_delete=models.CASCADE, related_name="+")
    # Labels that the version learnt from, and images that the estimate is about.
    n_labels = models.PositiveBigIntegerField()
    n_items = models.PositiveBigIntegerField()
    # Audit labels, about how many of them the model was right, and audit images left without a class.
    n_audit = models.PositiveBigIntegerField()
    n_right = models.PositiveBigIntegerField()
    n_undecided = models.PositiveBigIntegerField(default=0)
    value = models.FloatField()
    low = models.FloatField()
    high = models.FloatField()
    # As many labels drawn by chance would tell as much.
    n_effective = models.FloatField()
    # [{class_id, n, n_right, value, low, high}] of the classes with enough audit labels.
    per_class = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-model_version_id"]

    def __str__(self) -> str:
        return f"{self.model_version}: {self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


class Check(models.Model):
    """An image of a sweep's page that was not accepted with the rest but comes back, to measure the sweep.

    What became of it is derived from the item's decision by :func:`sampling.sweeps.checks.settle`.
    """

    class Outcome(models.IntegerChoices):
        DEALT = 0  # its page is not accepted yet, or no longer
        WAITING = 1  # accepted by the person without a mark, and unlabelled still
        CAUGHT = 2  # marked on the page, and of another class
        RIGHT = 3
        WRONG = 4  # decided otherwise when it came back
        VOID = 5  # says nothing: unsure, skipped, or labelled on the page itself
        DISPUTED = 6  # decided otherwise once: it is looked at a second time, for keys go astray

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="checks")
    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="+")
    round = models.ForeignKey(Round, on_delete=models.CASCADE, related_name="checks")
    # The class that was swept, and how likely the page took it to be.
    label = models.ForeignKey(LabelClass, on_delete=models.CASCADE, related_name="+")
    probability = models.FloatField()
    # So many labels of its page it stands for, and the share of them that the page reckoned to be wrong.
    labels = models.FloatField()
    promised = models.FloatField()
    # The annotation that disagreed first.
    disputed_by = models.BigIntegerField(null=True)
    # The press of the key that accepted the page.
    accept = models.ForeignKey(Action, null=True, on_delete=models.SET_NULL, related_name="+")
    outcome = models.PositiveSmallIntegerField(choices=Outcome, default=Outcome.DEALT)

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["dataset", "outcome"], name="check_outcome"),
            models.Index(fields=["dataset", "-id"], name="check_newest"),
        ]

    def __str__(self) -> str:
        return f"check of {self.item_id}: {self.get_outcome_display()}"

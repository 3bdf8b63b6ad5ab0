"""Define what queues record.

Round: one run of a queue. ServedPage: a page of it as a person saw it. AccuracyEstimate: the accuracy of a model.
Check: an image that measures a sweep. ClassSplit: a class whose labels are being divided. SavedView: a name for a queue
with its filters.
"""

from __future__ import annotations

import numpy as np
from django.conf import settings
from django.db import models
from django.db.models.functions import Lower

from hoshina.jobs import clock
from labeling.decisions.provenance import Shown
from labeling.models import Action, Dataset, Item, LabelClass
from modeling.models import ModelVersion

# The filters of a round (sampling.queues.pull.Filters.as_params) that exclude nothing but labeled items.
UNFILTERED = {"state": "unlabelled", "label": None, "predicted": None}


class Round(models.Model):
    """One run of a queue: strategy, parameters, seed, model version, and the ranked items.

    The ranking is stored as raw little-endian arrays (rows int64, scores float32, probabilities float32): a page reads
    a slice of one row of this table instead of thousands of rows.
    """

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="rounds")
    queue = models.CharField(max_length=40)
    params = models.JSONField(default=dict)
    seed = models.BigIntegerField()
    model_version_id = models.BigIntegerField(null=True)
    # Dataset.n_decisions when the ranking was computed.
    n_decisions = models.PositiveBigIntegerField(default=0)
    n_ranked = models.PositiveIntegerField(default=0)
    # True if these are all the items that the queue had to offer.
    is_complete = models.BooleanField(default=False)
    rows = models.BinaryField(default=bytes)
    scores = models.BinaryField(default=bytes)
    probabilities = models.BinaryField(default=bytes)
    # Why items are shown; ``sources`` (uint8) is the index of each rank's reason, empty: the first.
    reasons = models.JSONField(default=list)
    sources = models.BinaryField(default=bytes)
    # The embeddings and the model that the ranking depends on: if they are newer, the next page is a new pull.
    basis = models.CharField(max_length=60, blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["dataset", "-id"], name="round_newest")]

    def __str__(self) -> str:
        return f"round {self.id}: {self.queue}"

    def queue_of(self, rank: int) -> str:
        """Return the queue that ranked an item; "auto/audit" names the part of a mixed queue."""
        source = self.reasons[self.sources[rank] if self.sources else 0][0] if self.reasons else ""
        return f"{self.queue}/{source}" if source else self.queue

    def shown_at(self, rank: int) -> Shown:
        """Return how the item at that rank is shown, without the model's suggestion."""
        score, chance = (float(np.frombuffer(values, "<f4")[rank]) for values in (self.scores, self.probabilities))
        return Shown(self.queue_of(rank), self.pk, rank, score=score, selection_probability=chance)

    @property
    def is_unfiltered(self) -> bool:
        """Return whether it ranked all unlabeled items, and so can represent the whole dataset."""
        return bool(self.params.get("filters", UNFILTERED) == UNFILTERED)


class ServedPage(models.Model):
    """A page of a round as it was sent to a person: which items at which ranks, with which suggestions.

    A label refers to the round and the rank of its item; only what is recorded here counts as shown. Arrays have one
    value per tile, by ascending rank: ranks uint32, item_ids and suggested_ids int64 (0: no suggestion), and
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
    """The accuracy of a model version on the whole dataset, estimated from the labels of the audit.

    Never deleted, so that the history outlives the arrays of older versions.
    """

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="accuracy_estimates")
    model_version = models.OneToOneField(ModelVersion, on_delete=models.CASCADE, related_name="+")
    # Training labels of the version, and images that the estimate is about.
    n_labels = models.PositiveBigIntegerField()
    n_items = models.PositiveBigIntegerField()
    # Audit labels, how many of them the model predicted correctly, and audit images left without a class.
    n_audit = models.PositiveBigIntegerField()
    n_right = models.PositiveBigIntegerField()
    n_undecided = models.PositiveBigIntegerField(default=0)
    value = models.FloatField()
    low = models.FloatField()
    high = models.FloatField()
    # Number of randomly drawn labels that would give an interval of the same width.
    n_effective = models.FloatField()
    # [{class_id, n, n_right, value, low, high}] of the classes with enough audit labels.
    per_class = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-model_version_id"]

    def __str__(self) -> str:
        return f"{self.model_version}: {self.value:.3f} ({self.low:.3f} to {self.high:.3f})"

    @property
    def is_narrowed(self) -> bool:
        """Return whether the confidence on unlabeled images made the interval narrower than the audit labels alone."""
        return self.n_effective >= self.n_audit + 1


class Check(models.Model):
    """An image of a sweep's page that was not accepted with the rest but is shown again, to measure the sweep.

    Its outcome is derived from the item's decision by :func:`sampling.sweeps.checks.settle`.
    """

    class Outcome(models.IntegerChoices):
        DEALT = 0  # its page is not accepted yet, or its acceptance was undone
        WAITING = 1  # accepted by the person without a mark, and still unlabeled
        CAUGHT = 2  # marked on the page, and of another class
        RIGHT = 3
        WRONG = 4  # given another class when it was shown again
        VOID = 5  # not usable: unsure, skipped, or labeled on the page itself
        DISPUTED = 6  # given another class once: shown a second time, in case of a wrong key press

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="checks")
    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="+")
    round = models.ForeignKey(Round, on_delete=models.CASCADE, related_name="checks")
    # The swept class, and its probability on the page.
    label = models.ForeignKey(LabelClass, on_delete=models.CASCADE, related_name="+")
    probability = models.FloatField()
    # Number of labels of its page that it stands for, and the share of them that the page expected to be wrong.
    labels = models.FloatField()
    promised = models.FloatField()
    # The first annotation that disagreed.
    disputed_by = models.BigIntegerField(null=True)
    # The action that accepted the page.
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


class ClassSplit(models.Model):
    """A class whose labels are being divided among several: the proposed parts, and what was done about them.

    Arrays have one line per item, by ascending row: ``rows`` int64; ``proposed`` float32, its membership in each part;
    ``typicality`` float32; ``learned`` float32, its probability of each class as learned from decisions since (empty:
    none yet).
    """

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="class_splits")
    label = models.ForeignKey(LabelClass, on_delete=models.CASCADE, related_name="splits")
    rows = models.BinaryField(default=bytes)
    proposed = models.BinaryField(default=bytes)
    typicality = models.BinaryField(default=bytes)
    learned = models.BinaryField(default=bytes)
    # By number of parts, as text; and the chosen number.
    silhouettes = models.JSONField(default=dict)
    n_parts = models.PositiveSmallIntegerField()
    # The class of each part, by id; [] while it is only proposed.
    class_ids = models.JSONField(default=list)
    # Those of them that the split added.
    added_ids = models.JSONField(default=list)
    # Items to be looked at one by one, of which some may be decided by now.
    n_review = models.PositiveIntegerField(default=0)
    # The newest annotation when the parts were proposed: later ones are decisions of people.
    after_id = models.BigIntegerField(default=0)
    # Decisions that ``learned`` was trained on.
    n_learned = models.PositiveIntegerField(default=0)
    actions = models.ManyToManyField(Action, related_name="+")
    is_closed = models.BooleanField(default=False)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["dataset", "is_closed", "-id"], name="class_split_open")]

    def __str__(self) -> str:
        return f"split of {self.label}"


class SavedView(models.Model):
    """Name a queue with its parameters, filters and region: the query of a workbench URL, shared by everyone."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="saved_views", db_index=False)
    name = models.CharField(max_length=60)
    query = models.TextField(max_length=4000)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        ordering = [Lower("name")]
        constraints = [models.UniqueConstraint("dataset", Lower("name"), name="saved_view_name_once")]

    def __str__(self) -> str:
        return self.name

"""Round: one run of a queue."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from labeling.models import Dataset


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

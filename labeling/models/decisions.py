"""Store every decision ever made about items, and which items are shown to whom."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from labeling.decisions.provenance import ShownFields
from labeling.models.classes import LabelClass
from labeling.models.datasets import Dataset
from labeling.models.items import Item, State


class Action(models.Model):
    """Record a key press, whose annotations are undone together. The client's ``uuid`` identifies one sent twice."""

    class Kind(models.TextChoices):
        ASSIGN = "assign"
        UNSURE = "unsure"
        SKIP = "skip"
        CLEAR = "clear"
        UNDO = "undo"
        IMPORT = "import"
        MERGE = "merge"
        SPLIT = "split"

    # The actions that the key Z undoes. Imports, merges and splits are undone elsewhere.
    ON_UNDO_STACK = (Kind.ASSIGN, Kind.UNSURE, Kind.SKIP, Kind.CLEAR)

    uuid = models.UUIDField(unique=True)
    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="actions", db_index=False)
    kind = models.CharField(max_length=10, choices=Kind)
    annotator = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    # The browser that made it (hoshina.core.http.holder): only another browser's newer decision is a conflict.
    holder = models.CharField(max_length=64, blank=True)
    undoes = models.OneToOneField("self", null=True, on_delete=models.SET_NULL, related_name="undone_by")
    # Restored with the record of decisions, unlike a time that the database adds.
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        indexes = [models.Index(fields=["dataset", "holder", "-id"], name="action_undo_stack")]

    def __str__(self) -> str:
        return f"{self.kind} {self.uuid}"


class Annotation(ShownFields):
    """Record a decision about an item, append-only, with how the item came to be shown."""

    # Queues that draw uniformly at random from all unlabeled items, if no filter is set.
    AUDIT_QUEUES = ("audit", "auto/audit")

    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="annotations", db_index=False)
    action = models.ForeignKey(Action, on_delete=models.CASCADE, related_name="annotations")
    state = models.PositiveSmallIntegerField(choices=State)
    label = models.ForeignKey(LabelClass, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    # The decision before this one, which an undo restores. Of an undo: the decision that it restored.
    previous = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="+")
    annotator = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    decided_at = models.DateTimeField()
    seconds = models.FloatField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["item", "-id"], name="annotation_history"),
            models.Index(fields=["item"], condition=Q(is_random_draw=True), name="annotation_random_draw"),
        ]

    def __str__(self) -> str:
        return f"{self.item_id}: {State(self.state).label}"


class Lease(models.Model):
    """Reserve an item for the window ``holder`` (hoshina.core.http.window) that shows it to a person.

    Two windows of one person show different items while there are enough.
    """

    item = models.OneToOneField(Item, on_delete=models.CASCADE, primary_key=True, related_name="lease")
    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="+", db_index=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    holder = models.CharField(max_length=64)
    expires_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["dataset", "expires_at"], name="lease_expiry")]

    def __str__(self) -> str:
        return f"{self.item_id} held by {self.holder}"

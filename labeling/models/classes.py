"""Store the classes of a dataset."""

from __future__ import annotations

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone

from labeling.models.datasets import Dataset


class LabelClassQuerySet(models.QuerySet["LabelClass"]):
    """Select classes of a dataset, in the person's order."""

    def active(self) -> LabelClassQuerySet:
        """Return the classes in use: neither merged nor deleted."""
        return self.filter(is_retired=False)


class LabelClass(models.Model):
    """Store a class. Renaming changes its name; merging and deleting move labels and keep the row for the history."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="classes")
    name = models.CharField(max_length=80)
    colour = models.CharField(
        "color", max_length=7, validators=[RegexValidator(r"^#[0-9a-fA-F]{6}$", "Enter a color as #rrggbb.")]
    )
    key = models.PositiveSmallIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(9)]
    )
    # The key of a class without a digit.
    letter = models.CharField(
        max_length=1, blank=True, default="", validators=[RegexValidator(r"^[a-z]$", "Enter a letter from a to z.")]
    )
    order = models.PositiveIntegerField(default=0)
    n_items = models.PositiveBigIntegerField(default=0, editable=False)
    is_retired = models.BooleanField(default=False, editable=False)
    merged_into = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="+", editable=False
    )

    objects = LabelClassQuerySet.as_manager()

    class Meta:
        ordering = ["order", "id"]
        verbose_name_plural = "label classes"
        constraints = [
            models.UniqueConstraint(
                "dataset",
                Lower("name"),
                condition=Q(is_retired=False),
                name="class_name_once",
                violation_error_message="There is already a class of that name.",
            ),
            models.UniqueConstraint(
                fields=["dataset", "key"],
                condition=Q(is_retired=False, key__isnull=False),
                name="class_key_once",
                violation_error_message="That key already belongs to another class.",
            ),
            models.UniqueConstraint(
                fields=["dataset", "letter"],
                condition=Q(is_retired=False) & ~Q(letter=""),
                name="class_letter_once",
                violation_error_message="That letter already belongs to another class.",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def key_name(self) -> str:
        """Return the digit or letter that assigns the class; "" without a key."""
        return self.letter if self.key is None else str(self.key)


class ClassChange(models.Model):
    """Record that a class was added, renamed or retired, append-only, so that earlier lists can be rebuilt."""

    class Kind(models.TextChoices):
        ADDED = "added"
        RENAMED = "renamed"
        RETIRED = "retired"

    label_class = models.ForeignKey(LabelClass, on_delete=models.CASCADE, related_name="changes")
    kind = models.CharField(max_length=10, choices=Kind)
    # Of a renamed class.
    old_name = models.CharField(max_length=80, blank=True, default="")
    # The dataset's newest action before the change, 0 without one: an action orders what several machines do.
    after_id = models.BigIntegerField(default=0)
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    changed_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.label_class}: {self.kind}"

"""Store what people wrote and chose to explain a class: its description, examples, and classes it resembles."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from labeling.models.classes import LabelClass
from labeling.models.items import Item

MAX_DESCRIPTION = 4000
MAX_DIFFERENCE = 300


class ClassGuide(models.Model):
    """Store the description of a class, apart from it, because the pages of tiles read all classes, but no guides."""

    label_class = models.OneToOneField(LabelClass, on_delete=models.CASCADE, related_name="guide", primary_key=True)
    # In Markdown.
    description = models.TextField(max_length=MAX_DESCRIPTION)

    def __str__(self) -> str:
        return self.description


class ClassExample(models.Model):
    """Mark a labeled item that shows a class well. It is shown while the item has the label of this class."""

    item = models.OneToOneField(Item, on_delete=models.CASCADE, related_name="example")
    label_class = models.ForeignKey(LabelClass, on_delete=models.CASCADE, related_name="examples")

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return str(self.item_id)


class ClassConfusion(models.Model):
    """Pair two classes that are easily confused, once for both: ``first`` has the smaller id."""

    first = models.ForeignKey(LabelClass, on_delete=models.CASCADE, related_name="+")
    second = models.ForeignKey(LabelClass, on_delete=models.CASCADE, related_name="+")
    difference = models.CharField(max_length=MAX_DIFFERENCE, blank=True, default="")

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["first", "second"], name="confusion_once"),
            models.CheckConstraint(condition=Q(first__lt=F("second")), name="confusion_in_order"),
        ]

    def __str__(self) -> str:
        return self.difference

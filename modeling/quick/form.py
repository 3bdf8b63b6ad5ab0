"""The form of a quick training: what can be chosen, and in words what of it is impossible."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from django import forms
from django.conf import settings

from modeling.backends.quick import augmentation
from modeling.quick.options import (
    BACKBONES,
    MAX_BATCH,
    MAX_EPOCHS,
    MAX_SIDE,
    Facts,
    OptionError,
    QuickOptions,
    problems,
)

PERCENT, FINE = "validation_share", "is_fine_tuned"


def whole(label: str, least: int, most: int, **more: Any) -> forms.IntegerField:
    return forms.IntegerField(label=label, min_value=least, max_value=most, **more)


class QuickForm(forms.Form):
    """:class:`~modeling.quick.options.QuickOptions`, the validation share in per cent."""

    backbone = forms.ChoiceField(label="Network", choices=[(name, one.title) for name, one in BACKBONES.items()])
    is_fine_tuned = forms.ChoiceField(
        label="What learns",
        choices=[("no", "the classifier on top: quick"), ("yes", "the network too: slower, often better")],
    )
    image_side = whole("Side, pixels", 8, MAX_SIDE)
    epochs = whole("Epochs", 1, MAX_EPOCHS)
    batch_size = whole("Images at once", 1, MAX_BATCH)
    validation_share = whole("Kept aside, %", 5, 80)
    early_stopping = whole("Patience, epochs", 0, MAX_EPOCHS)
    class_weights = forms.ChoiceField(
        label="Weights", choices=[("equal", "every label counts the same"), ("balanced", "every class counts the same")]
    )
    flip = forms.BooleanField(label="Flip", required=False)
    rotate = forms.BooleanField(label="Rotate", required=False)
    zoom = forms.BooleanField(label="Zoom", required=False)
    brightness = forms.BooleanField(label="Brightness", required=False)
    weights = forms.ChoiceField(
        label="Begin with", choices=[("imagenet", "ImageNet's weights"), ("random", "random numbers")]
    )
    seed = whole("Seed", 0, 2**31 - 1)

    def __init__(self, facts: Facts, usual: QuickOptions, data: Mapping[str, Any] | None = None) -> None:
        initial = {field.name: getattr(usual, field.name) for field in fields(QuickOptions)}
        initial |= {PERCENT: round(100 * usual.validation_share), FINE: "yes" if usual.is_fine_tuned else "no"}
        super().__init__(data, initial=initial)
        self.facts = facts

    def clean(self) -> dict[str, Any]:
        """The options that were asked for, under ``options``, unless something about them can't be."""
        cleaned = super().clean() or {}
        if self.errors:
            return cleaned
        try:
            options = QuickOptions.from_params(
                {**cleaned, PERCENT: cleaned[PERCENT] / 100, FINE: cleaned[FINE] == "yes"}
            )
        except OptionError as error:
            self.add_error(error.field, error.words)
            return cleaned
        for name, words in problems(options, self.facts):
            self.add_error(name or None, words)
        return {**cleaned, "options": options}

    def refuse_missing_weights(self) -> None:
        """Before a run: can ImageNet's weights be had? Asks their address where they are not on this machine."""
        options: QuickOptions = self.cleaned_data["options"]
        if options.weights == "imagenet":
            told = augmentation.weights_at_hand(options.backbone, settings.WEIGHTS_DIR)
            if not told.can_be_had:
                self.add_error("backbone", told.words)

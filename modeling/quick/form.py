"""Define the form of a quick training and explain which choices are not possible."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from django import forms
from django.conf import settings

from hoshina.core.errors import Refusal
from hoshina.core.parsing import OptionsForm, parse_options
from modeling.backends.quick import augmentation
from modeling.quick.options import Facts, QuickOptions, problems

PERCENT, FINE = "validation_share", "is_fine_tuned"


class QuickForm(OptionsForm):
    """The fields of :class:`~modeling.quick.options.QuickOptions`, with the validation share in percent."""

    options_class = QuickOptions
    is_fine_tuned = forms.ChoiceField(
        label="Trained layers",
        choices=[("no", "classifier only: fast"), ("yes", "whole network: slower, often better")],
    )
    validation_share = forms.IntegerField(label="Held out, %", min_value=5, max_value=80)

    def __init__(self, facts: Facts, usual: QuickOptions, data: Mapping[str, Any] | None = None) -> None:
        percent, fine = round(100 * usual.validation_share), "yes" if usual.is_fine_tuned else "no"
        super().__init__(data, initial=asdict(usual) | {PERCENT: percent, FINE: fine})
        self.facts = facts

    def clean(self) -> dict[str, Any]:
        """Validate the options and add them under ``options``, unless they are not possible."""
        cleaned = super().clean() or {}
        if self.errors:
            return cleaned
        values = {**cleaned, PERCENT: cleaned[PERCENT] / 100, FINE: cleaned[FINE] == "yes"}
        try:
            options = parse_options(QuickOptions, values)
        except Refusal as error:
            self.add_error(error.field, error.message)
            return cleaned
        for name, problem in problems(options, self.facts):
            self.add_error(name or None, problem)
        return {**cleaned, "options": options}

    def refuse_missing_weights(self) -> None:
        """Refuse to start if ImageNet's weights are missing; asks their server if they are not on this machine."""
        options: QuickOptions = self.cleaned_data["options"]
        if options.weights == "imagenet":
            answer = augmentation.weights_status(options.backbone, settings.WEIGHTS_DIR)
            if not answer.is_available:
                self.add_error("backbone", answer.message)

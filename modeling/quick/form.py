"""The form of a quick training: what can be chosen, and what of it is impossible."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from django import forms
from django.conf import settings

from hoshina.core.parsing import OptionError, OptionsForm, parse_options
from modeling.backends.quick import augmentation
from modeling.quick.options import Facts, QuickOptions, problems

PERCENT, FINE = "validation_share", "is_fine_tuned"


class QuickForm(OptionsForm):
    """:class:`~modeling.quick.options.QuickOptions`, the validation share in per cent."""

    options_class = QuickOptions
    is_fine_tuned = forms.ChoiceField(
        label="What learns",
        choices=[("no", "the classifier on top: quick"), ("yes", "the network too: slower, often better")],
    )
    validation_share = forms.IntegerField(label="Held out, %", min_value=5, max_value=80)

    def __init__(self, facts: Facts, usual: QuickOptions, data: Mapping[str, Any] | None = None) -> None:
        percent, fine = round(100 * usual.validation_share), "yes" if usual.is_fine_tuned else "no"
        super().__init__(data, initial=asdict(usual) | {PERCENT: percent, FINE: fine})
        self.facts = facts

    def clean(self) -> dict[str, Any]:
        """Return the fields, with the options under ``options`` unless something about them is impossible."""
        cleaned = super().clean() or {}
        if self.errors:
            return cleaned
        values = {**cleaned, PERCENT: cleaned[PERCENT] / 100, FINE: cleaned[FINE] == "yes"}
        try:
            options = parse_options(QuickOptions, values)
        except OptionError as error:
            self.add_error(error.field, error.words)
            return cleaned
        for name, words in problems(options, self.facts):
            self.add_error(name or None, words)
        return {**cleaned, "options": options}

    def refuse_missing_weights(self) -> None:
        """Before a run: refuse ImageNet's weights where neither this machine nor their address has them."""
        options: QuickOptions = self.cleaned_data["options"]
        if options.weights == "imagenet":
            answer = augmentation.weights_status(options.backbone, settings.WEIGHTS_DIR)
            if not answer.is_available:
                self.add_error("backbone", answer.message)

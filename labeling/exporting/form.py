"""The options of an export as a form: the same for the page's fields and the address of the archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms

from labeling.exporting.options import DEFAULT_SPLITS, MAX_SEED, Options
from labeling.exporting.registry import sections

_WHOLE = "Give a whole number from {} to {}."
# Sent before the tick box, so that an address tells "no images" from "as usual".
NO_IMAGES = "false"
_DEFAULTS = {"val": str(DEFAULT_SPLITS[1]), "test": str(DEFAULT_SPLITS[2]), "seed": "0"}


def _number(label: str, largest: int) -> forms.IntegerField:
    words = _WHOLE.format(0, largest)
    return forms.IntegerField(
        label=label,
        min_value=0,
        max_value=largest,
        error_messages=dict.fromkeys(("required", "invalid", "min_value", "max_value"), words),
        widget=forms.NumberInput(attrs={"autocomplete": "off"}),
    )


class ExportForm(forms.Form):
    """Splits (train gets what val and test leave), their groups, seed, images, and a tick for each section's files."""

    val = _number("Validation, %", 100)
    test = _number("Test, %", 100)
    seed = _number("Seed", MAX_SEED)
    group_by = forms.ChoiceField(
        label="Keep together", required=False, error_messages={"invalid_choice": "There is no such field any more."}
    )
    images = forms.BooleanField(label="Image files of the labeled items", required=False)

    def __init__(
        self, given: Mapping[str, Any], fields: Sequence[str] = (), group_by: str = "", *, with_images: bool = False
    ) -> None:
        """``given``: the address's parameters; what is not there has its default. ``fields``: names to group by, and
        which of them the dataset chose. ``with_images``: whether the images are included by default."""
        defaults = _DEFAULTS | {"group_by": group_by, "images": "on" if with_images else NO_IMAGES}
        super().__init__(defaults | {name: given[name] for name in given})
        groups = self.fields["group_by"]
        assert isinstance(groups, forms.ChoiceField)
        groups.choices = [("", "identical files only"), *((name, f"equal {name}") for name in fields)]
        for section in sections():
            self.fields[section.name] = forms.BooleanField(label=section.title, required=False)

    def clean(self) -> dict[str, Any]:
        val, test = self.cleaned_data.get("val"), self.cleaned_data.get("test")
        if val is not None and test is not None and val + test > 100:
            self.add_error("test", f"Validation and test make {val + test} % together; they can have 100 % at most.")
        return self.cleaned_data

    def options(self) -> Options:
        """What a valid form chose."""
        chosen = self.cleaned_data
        return Options(
            with_images=chosen["images"],
            seed=chosen["seed"],
            splits=(100 - chosen["val"] - chosen["test"], chosen["val"], chosen["test"]),
            group_by=chosen["group_by"],
            extras=frozenset(section.name for section in sections() if chosen[section.name]),
        )

"""Define the form of export options, for both the page and the URL of the archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms

from labeling.exporting.layouts import layouts
from labeling.exporting.options import DEFAULT_LAYOUT, DEFAULT_SPLITS, MAX_SEED, Options
from labeling.exporting.registry import sections

_WHOLE = "Enter a whole number from {} to {}."
# Value of a hidden field before the checkbox, which distinguishes "no images" from the default in URLs.
NO_IMAGES = "false"
_DEFAULTS = {"val": str(DEFAULT_SPLITS[1]), "test": str(DEFAULT_SPLITS[2]), "seed": "0", "escape_formulas": "on"}
_DEFAULTS |= {"layout": DEFAULT_LAYOUT, "leakage_check": "on"}


def _number(label: str, largest: int) -> forms.IntegerField:
    message = _WHOLE.format(0, largest)
    return forms.IntegerField(
        label=label,
        min_value=0,
        max_value=largest,
        error_messages=dict.fromkeys(("required", "invalid", "min_value", "max_value"), message),
        widget=forms.NumberInput(attrs={"autocomplete": "off"}),
    )


class ExportForm(forms.Form):
    """Layout, splits (train gets the rest after val and test), group field, seed, images, a checkbox per section.

    ``role``: which file of each item, if items have several.
    """

    layout = forms.ChoiceField(
        label="Layout", error_messages={"invalid_choice": "There is no such layout. Choose one of the list."}
    )
    role = forms.ChoiceField(label="File of each item", required=False)
    val = _number("Validation, %", 100)
    test = _number("Test, %", 100)
    seed = _number("Seed", MAX_SEED)
    group_by = forms.ChoiceField(
        label="Group by",
        required=False,
        error_messages={"invalid_choice": "This field no longer exists. Choose another one."},
    )
    images = forms.BooleanField(label="Image files of the labeled items", required=False)
    escape_formulas = forms.BooleanField(label="Safe for spreadsheets", required=False)
    as_of = forms.CharField(label="As of", required=False, max_length=40)
    number_annotators = forms.BooleanField(label="Numbers in place of people's names", required=False)
    unsure = forms.BooleanField(label="Unsure and skipped images, as two more classes", required=False)
    leakage_check = forms.BooleanField(label="Keep near-duplicates in one split", required=False)

    def __init__(
        self,
        params: Mapping[str, Any],
        fields: Sequence[str] = (),
        group_by: str = "",
        roles: Sequence[str] = (),
        *,
        with_images: bool = False,
    ) -> None:
        """Create the form from URL parameters, with defaults for missing ones.

        ``fields``: names of the fields to group by. ``group_by``: the default among them, chosen for the dataset.
        ``roles``: of items with several files. ``with_images``: whether images are included by default.
        """
        defaults = _DEFAULTS | {
            "role": roles[0] if roles else "",
            "group_by": group_by,
            "images": "on" if with_images else NO_IMAGES,
        }
        super().__init__(defaults | {name: params[name] for name in params})
        groups = self.fields["group_by"]
        assert isinstance(groups, forms.ChoiceField)
        groups.choices = [("", "identical files only"), *((name, f"same {name}") for name in fields)]
        layout, role = self.fields["layout"], self.fields["role"]
        assert isinstance(layout, forms.ChoiceField)
        assert isinstance(role, forms.ChoiceField)
        layout.choices = [(name, entry.title) for name, entry in layouts().items()]
        role.choices = [(name, name) for name in roles]
        for section in sections():
            self.fields[section.name] = forms.BooleanField(label=section.title, required=False)

    def clean(self) -> dict[str, Any]:
        """Check that val and test together are at most 100 %."""
        val, test = self.cleaned_data.get("val"), self.cleaned_data.get("test")
        if val is not None and test is not None and val + test > 100:
            self.add_error("test", f"Validation and test add up to {val + test} %. Use at most 100 %.")
        return self.cleaned_data

    def options(self) -> Options:
        """Return the options of a valid form."""
        cleaned = self.cleaned_data
        return Options(
            with_images=cleaned["images"],
            seed=cleaned["seed"],
            splits=(100 - cleaned["val"] - cleaned["test"], cleaned["val"], cleaned["test"]),
            group_by=cleaned["group_by"],
            escapes_formulas=cleaned["escape_formulas"],
            layout=cleaned["layout"],
            role=cleaned["role"],
            as_of=cleaned["as_of"],
            numbers_annotators=cleaned["number_annotators"],
            with_unsure=cleaned["unsure"],
            checks_leakage=cleaned["leakage_check"],
            extras=frozenset(section.name for section in sections() if cleaned[section.name]),
        )

"""Forms of the data of record. What they refuse, they refuse in words that say what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError

from labeling.decisions import classes
from labeling.images.composite import Composition
from labeling.images.rendering import DEFAULT, Rendering
from labeling.ingest.dataset_folder import folder_problem
from labeling.ingest.grouping_template import MAX_TEMPLATE, GroupingProblem, Template
from labeling.models import Dataset, LabelClass

UNLABELLED = "unlabelled"
COLOURS = ("red", "green", "blue")
# Fields of the rendering's form that are filled in as they are.
_PLAIN = ("hdu", "stretch", "low", "high", "is_inverted", "first_row", "shows_cut")


class NewClassForm(forms.Form):
    """The name of a class to add; the rest follows from the list."""

    # No max_length: the message of `classes.tidy_name` says more, and nobody's typing is cut off.
    name = forms.CharField(
        label="New class",
        required=False,
        strip=False,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "enterkeyhint": "done"}),
    )

    def clean_name(self) -> str:
        return tidy(self.cleaned_data["name"])


def tidy(name: str) -> str:
    """:func:`labeling.decisions.classes.tidy_name` for a form."""
    try:
        return classes.tidy_name(name)
    except classes.ClassProblem as problem:
        raise ValidationError(problem.words) from problem


class ClassForm(NewClassForm):
    """Name, colour and key of a class."""

    colour = forms.RegexField(
        r"^#[0-9a-fA-F]{6}$",
        widget=forms.TextInput(attrs={"type": "color"}),
        error_messages={"invalid": "Give a colour as #rrggbb.", "required": "Give a colour."},
    )
    key = forms.TypedChoiceField(
        required=False,
        coerce=int,
        empty_value=None,
        choices=[("", "none"), *((str(key), str(key)) for key in classes.KEYS)],
        error_messages={"invalid_choice": "A key is one of 1 to 9, or none."},
    )

    field_order = ("name", "colour", "key")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].label = "Name"


class LabelsGoForm(forms.Form):
    """Where the labels of a class go that is deleted: to another class, or back to unlabelled.

    ``source`` is the class to delete; with ``merge_only`` the answer has to be a class.
    """

    target = forms.ChoiceField(
        label="Its labels go to",
        error_messages={
            "required": "Say where its labels go.",
            "invalid_choice": "That class was deleted or merged meanwhile. Choose another one.",
        },
    )

    def __init__(self, *args: Any, source: LabelClass, merge_only: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        others = LabelClass.objects.active().filter(dataset_id=source.dataset_id).exclude(pk=source.pk)
        self.targets = {str(other.pk): other for other in others}
        choices = [("", "Choose…")]
        if not merge_only:
            choices.append((UNLABELLED, "back to unlabelled"))
        choices += [(pk, other.name) for pk, other in self.targets.items()]
        field = self.fields["target"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices
        field.required = merge_only or source.n_items > 0

    def clean_target(self) -> LabelClass | None:
        """The class that gets the labels; None: they are taken back."""
        return self.targets.get(self.cleaned_data["target"])


class AddFolderForm(forms.Form):
    """A folder on the machine where HOSHINA runs, to become a dataset."""

    folder = forms.CharField(
        label="Folder",
        max_length=4096,
        error_messages={"required": "Give the folder's path."},
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    name = forms.CharField(label="Name", required=False, max_length=120, help_text="Left empty: the folder's own name.")

    def clean_folder(self) -> Path:
        try:
            folder = Path(self.cleaned_data["folder"]).expanduser()
        except RuntimeError as error:  # ~someone who is not there
            raise ValidationError("There is no such home folder. Give the full path.") from error
        if not folder.is_absolute():
            raise ValidationError("Give the full path, from the root of the disk.")
        words = folder_problem(folder)
        if words:
            raise ValidationError(words)
        folder = folder.resolve()
        store = Path(settings.STORE_DIR).resolve()
        if folder == store or store in folder.parents:
            raise ValidationError("That is where HOSHINA keeps its own files. Choose another folder.")
        return folder

    def clean_name(self) -> str:
        name = " ".join(self.cleaned_data["name"].split())
        if name and Dataset.objects.filter(name__iexact=name).exists():
            raise ValidationError(f"There is already a dataset “{name}”. Choose another name.")
        return name


class RenderingForm(forms.Form):
    """How images are shown; ``cleaned_data["rendering"]`` is the Rendering."""

    hdu = forms.IntegerField(
        label="HDU",
        required=False,
        help_text="Which part of a FITS file, counted from 0. Empty: the first that holds an image.",
        error_messages={"invalid": "An HDU is a whole number from 0."},
    )
    plane = forms.ChoiceField(
        label="Plane",
        required=False,
        choices=[
            ("first", "the first"),
            ("max", "the largest value of all"),
            ("mean", "the mean of all"),
            ("rgb", "the first three as red, green and blue"),
            ("number", "the one of this number"),
        ],
        help_text="Of cubes, pages of a TIFF, bands, and frames of an animation.",
    )
    number = forms.IntegerField(
        label="Number of the plane", required=False, error_messages={"invalid": "A plane is a whole number from 0."}
    )
    stretch = forms.ChoiceField(
        label="Stretch",
        required=False,
        choices=[
            ("usual", "usual: zscale for FITS, percentiles otherwise"),
            ("zscale", "zscale"),
            ("percentile", "percentiles, 0.5 to 99.5"),
            ("minmax", "from the smallest to the largest value"),
            ("linear", "linear"),
            ("asinh", "asinh"),
            ("log", "log"),
            ("sqrt", "square root"),
        ],
        help_text="Of images with more than 8 bits.",
    )
    low = forms.FloatField(label="Black at", required=False, error_messages={"invalid": "Give a number, or nothing."})
    high = forms.FloatField(label="White at", required=False, error_messages={"invalid": "Give a number, or nothing."})
    is_inverted = forms.BooleanField(label="Inverted: dark on bright", required=False)
    background = forms.CharField(
        label="Ground under transparent pixels", required=False, widget=forms.TextInput(attrs={"type": "color"})
    )
    first_row = forms.ChoiceField(
        label="First row of FITS images",
        required=False,
        choices=[("bottom", "at the bottom, as the standard says"), ("top", "at the top")],
        help_text="Where the header has no ROWORDER card.",
    )
    shows_cut = forms.BooleanField(label="Show files that end too early, with the missing part gray", required=False)

    @classmethod
    def showing(cls, rendering: Rendering) -> RenderingForm:
        """The form filled in with what is so now."""
        number = rendering.plane if isinstance(rendering.plane, int) else None
        plain = {name: getattr(rendering, name) for name in _PLAIN}
        plane = "number" if number is not None else rendering.plane
        initial = {**plain, "plane": plane, "number": number, "background": rendering.background}
        return cls(initial=initial, label_suffix="")

    def clean(self) -> dict[str, Any]:
        given = self.cleaned_data
        if self.errors:
            return given
        is_number = given["plane"] == "number"
        if is_number and given["number"] is None:
            self.add_error("number", "Say which plane, counted from 0.")
            return given
        try:
            given["rendering"] = Rendering(
                hdu=given["hdu"],
                plane=given["number"] if is_number else given["plane"] or DEFAULT.plane,
                stretch=given["stretch"] or DEFAULT.stretch,
                low=given["low"],
                high=given["high"],
                is_inverted=given["is_inverted"],
                background=given["background"].lower() or DEFAULT.background,
                first_row=given["first_row"] or DEFAULT.first_row,
                shows_cut=given["shows_cut"],
            )
        except ValueError as error:
            raise ValidationError(str(error)) from error
        return given


class GroupingForm(forms.Form):
    """By which template files are grouped; ``cleaned_data["grouping"]`` is the Template, None for single images."""

    template = forms.CharField(
        label="Template",
        required=False,
        max_length=MAX_TEMPLATE,
        widget=forms.TextInput(attrs={"spellcheck": "false", "autocapitalize": "off", "autocomplete": "off"}),
        help_text="Compared with the end of each path; * stands for anything. Empty: each file is an item.",
    )
    roles = forms.CharField(
        label="Roles that count, in order",
        required=False,
        widget=forms.TextInput(attrs={"spellcheck": "false", "autocapitalize": "off", "autocomplete": "off"}),
        help_text="Such as target, ref, diff. Empty: all that there are.",
    )

    @classmethod
    def showing(cls, grouping: Template | None) -> GroupingForm:
        """The form filled in with what is so now."""
        initial = {"template": grouping.plain, "roles": ", ".join(grouping.roles)} if grouping else {}
        return cls(initial=initial, label_suffix="")

    def clean(self) -> dict[str, Any]:
        given = self.cleaned_data
        text, roles = given.get("template", "").strip(), given.get("roles", "").strip()
        try:
            named = [role.strip() for role in roles.split(",")] if roles else []
            given["grouping"] = Template.read(text, named) if text else None
        except GroupingProblem as problem:
            self.add_error("template", str(problem))
        return given


class CompositionForm(forms.Form):
    """How the frames of each item are shown together; ``cleaned_data["composition"]`` is the Composition.

    ``roles``: the dataset's, of which bands are chosen.
    """

    layout = forms.ChoiceField(
        label="Frames",
        choices=[("side", "side by side"), ("blink", "blinking in one place"), ("rgb", "as one colour image")],
    )
    red = forms.ChoiceField(label="Red", required=False)
    green = forms.ChoiceField(label="Green", required=False)
    blue = forms.ChoiceField(label="Blue", required=False)
    softening = forms.FloatField(
        label="Softening (Q)",
        required=False,
        help_text="Higher: bright parts are held down more.",
        error_messages={"invalid": "Give a number above 0."},
    )
    range = forms.FloatField(
        label="Range",
        required=False,
        help_text="In the files' own values. Smaller: faint parts are brighter. Empty: found in each item.",
        error_messages={"invalid": "Give a number above 0, or nothing."},
    )
    vectors = forms.ChoiceField(
        label="For models, frames are",
        required=False,
        choices=[("concatenate", "put one after the other"), ("average", "averaged")],
        help_text="One after the other: models tell the roles apart. A colour image is seen by them as it is.",
    )

    def __init__(self, *args: Any, roles: Sequence[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_suffix = ""
        usual = Composition().bands_of(tuple(roles))
        for name, role in zip(COLOURS, usual, strict=True):
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)
            field.choices = [("", f"{role} (usual)"), *((one, one) for one in roles)]

    @classmethod
    def showing(cls, composition: Composition, roles: Sequence[str]) -> CompositionForm:
        """The form filled in with what is so now."""
        initial = {name: getattr(composition, name) for name in ("layout", "softening", "range", "vectors")}
        return cls(initial=initial | dict(zip(COLOURS, composition.bands, strict=False)), roles=roles)

    def clean(self) -> dict[str, Any]:
        given = self.cleaned_data
        if self.errors:
            return given
        bands = tuple(given[name] for name in COLOURS)
        if any(bands) and not all(bands):
            raise ValidationError("Choose all three bands, or leave all three to the usual ones.")
        chosen = {name: given[name] for name in ("softening", "vectors") if given[name] not in (None, "")}
        try:
            given["composition"] = Composition(
                layout=given["layout"], bands=bands if all(bands) else (), range=given["range"], **chosen
            )
        except ValueError as error:
            raise ValidationError(str(error)) from error
        return given

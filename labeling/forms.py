"""Define the forms of the data of record. Each error message says what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError

from hoshina.core.errors import Refusal
from labeling.decisions import classes
from labeling.images.composite import COLOURS, Composition
from labeling.images.rendering import DEFAULT, Rendering
from labeling.ingest.dataset_folder import folder_problem, url_problem
from labeling.ingest.grouping_template import MAX_TEMPLATE, GroupingProblem, Template
from labeling.models import Dataset, LabelClass

UNLABELLED = "unlabelled"
# Attributes of inputs that are not prose.
_NO_PROSE = {"autocomplete": "off", "spellcheck": "false"}


class NewClassForm(forms.Form):
    """The name of a new class. Its key and color follow from the list of classes."""

    # No max_length: the error of `classes.tidy_name` is clearer, and typed text is not cut off.
    name = forms.CharField(
        label="New class",
        required=False,
        strip=False,
        widget=forms.TextInput(attrs=_NO_PROSE | {"enterkeyhint": "done"}),
    )

    def clean_name(self) -> str:
        return tidy(self.cleaned_data["name"])


def tidy(name: str) -> str:
    """Return the name as :func:`labeling.decisions.classes.tidy_name` does. Raise ValidationError if it is refused."""
    try:
        return classes.tidy_name(name)
    except Refusal as problem:
        raise ValidationError(str(problem)) from problem


class ClassForm(NewClassForm):
    """Name, color and key of a class."""

    colour = forms.RegexField(
        r"^#[0-9a-fA-F]{6}$",
        label="Color",
        widget=forms.TextInput(attrs={"type": "color"}),
        error_messages={"invalid": "Enter a color as #rrggbb.", "required": "Choose a color."},
    )
    key = forms.ChoiceField(
        required=False,
        choices=[
            ("", "none"),
            *((str(key), str(key)) for key in classes.KEYS),
            *((letter, letter.upper()) for letter in classes.LETTERS),
        ],
        error_messages={"invalid_choice": "Choose a key from 1 to 9 or A to Z, or none."},
    )

    field_order = ("name", "colour", "key")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].label = "Name"

    def key_and_letter(self) -> dict[str, Any]:
        """Return the chosen key as ``key`` (None without a digit) and ``letter``."""
        chosen = self.cleaned_data["key"]
        return {"key": int(chosen), "letter": ""} if chosen.isdigit() else {"key": None, "letter": chosen}


class LabelsGoForm(forms.Form):
    """Where the labels of the deleted class ``source`` go: another class (required with ``merge_only``), or none."""

    target = forms.ChoiceField(
        label="Move its labels to",
        error_messages={
            "required": "Choose where its labels go.",
            "invalid_choice": "That class was deleted or merged in the meantime. Choose another one.",
        },
    )

    def __init__(self, *args: Any, source: LabelClass, merge_only: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        others = LabelClass.objects.active().filter(dataset_id=source.dataset_id).exclude(pk=source.pk)
        self.targets = {str(other.pk): other for other in others}
        choices = [("", "Choose…")]
        if not merge_only:
            choices.append((UNLABELLED, "no class (unlabeled)"))
        choices += [(pk, other.name) for pk, other in self.targets.items()]
        field = self.fields["target"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices
        field.required = merge_only or source.n_items > 0

    def clean_target(self) -> LabelClass | None:
        """Return the class that gets the labels; None to clear them."""
        return self.targets.get(self.cleaned_data["target"])


class AddFolderForm(forms.Form):
    """A folder on the machine where HOSHINA runs, to be added as a dataset."""

    folder = forms.CharField(
        label="Folder",
        max_length=4096,
        error_messages={"required": "Enter the folder's path."},
        widget=forms.TextInput(attrs=_NO_PROSE),
    )
    name = forms.CharField(
        label="Name", required=False, max_length=120, help_text="Left empty: the name of the folder."
    )
    labels_from_folders = forms.BooleanField(
        label="Label the images by their class folders",
        required=False,
        help_text="For folders such as cat/ and dog/, also within train/, val/ and test/.",
    )

    def clean_folder(self) -> Path:
        if problem := url_problem(self.cleaned_data["folder"]):
            raise ValidationError(problem)
        try:
            folder = Path(self.cleaned_data["folder"]).expanduser()
        except RuntimeError as error:  # ~user for a user who does not exist
            raise ValidationError("There is no such home folder. Enter the full path.") from error
        if not folder.is_absolute():
            raise ValidationError("Enter the full path, starting at the root of the disk.")
        problem = folder_problem(folder)
        if problem:
            raise ValidationError(problem)
        folder = folder.resolve()
        store = Path(settings.STORE_DIR).resolve()
        if folder == store or store in folder.parents:
            raise ValidationError("HOSHINA stores its own files there. Choose another folder.")
        return folder

    def clean_name(self) -> str:
        name = " ".join(self.cleaned_data["name"].split())
        if name and Dataset.objects.filter(name__iexact=name).exists():
            raise ValidationError(f"There is already a dataset “{name}”. Choose another name.")
        return name


class RenderingForm(forms.Form):
    """The display settings of images; ``cleaned_data["rendering"]`` is the Rendering."""

    hdu = forms.IntegerField(
        label="HDU",
        required=False,
        help_text="The part of a FITS file, counted from 0. Left empty: the first part with an image.",
        error_messages={"invalid": "Enter a whole number, 0 or more."},
    )
    plane = forms.ChoiceField(
        label="Plane",
        required=False,
        choices=[
            ("first", "first plane"),
            ("max", "maximum of all planes"),
            ("mean", "mean of all planes"),
            ("rgb", "first three planes as red, green and blue"),
            ("number", "plane with this number"),
        ],
        help_text="For cubes, pages of a TIFF, bands, and frames of an animation.",
    )
    number = forms.IntegerField(
        label="Plane number", required=False, error_messages={"invalid": "Enter a whole number, 0 or more."}
    )
    stretch = forms.ChoiceField(
        label="Stretch",
        required=False,
        choices=[
            ("usual", "default: zscale for FITS, percentiles otherwise"),
            ("zscale", "zscale"),
            ("percentile", "percentiles, 0.5 to 99.5"),
            ("minmax", "minimum to maximum"),
            ("linear", "linear"),
            ("asinh", "asinh"),
            ("log", "log"),
            ("sqrt", "square root"),
        ],
        help_text="For images with more than 8 bits.",
    )
    low = forms.FloatField(
        label="Black point", required=False, error_messages={"invalid": "Enter a number, or leave this empty."}
    )
    high = forms.FloatField(
        label="White point", required=False, error_messages={"invalid": "Enter a number, or leave this empty."}
    )
    is_inverted = forms.BooleanField(label="Invert: dark on bright", required=False)
    background = forms.CharField(
        label="Background of transparent pixels", required=False, widget=forms.TextInput(attrs={"type": "color"})
    )
    first_row = forms.ChoiceField(
        label="First row of FITS images",
        required=False,
        choices=[("bottom", "at the bottom (FITS standard)"), ("top", "at the top")],
        help_text="Applies if the header has no ROWORDER card.",
    )
    shows_cut = forms.BooleanField(label="Show truncated files, with the missing part in gray", required=False)

    @classmethod
    def showing(cls, rendering: Rendering) -> RenderingForm:
        """Return the form filled in with the current values."""
        initial = asdict(rendering)
        if isinstance(rendering.plane, int):
            initial |= {"plane": "number", "number": rendering.plane}
        return cls(initial=initial, label_suffix="")

    def clean(self) -> dict[str, Any]:
        values = self.cleaned_data
        if self.errors:
            return values
        options = {name: value for name, value in values.items() if value not in (None, "")}
        number = options.pop("number", None)
        if options.get("plane") == "number":
            if number is None:
                self.add_error("number", "Enter the plane number, counted from 0.")
                return values
            options["plane"] = number
        options["background"] = options.get("background", DEFAULT.background).lower()
        try:
            values["rendering"] = Rendering(**options)
        except ValueError as error:
            raise ValidationError(str(error)) from error
        return values


class GroupingForm(forms.Form):
    """The template that groups files; ``cleaned_data["grouping"]`` is the Template, or None for single images."""

    template = forms.CharField(
        label="Template",
        required=False,
        max_length=MAX_TEMPLATE,
        widget=forms.TextInput(attrs=_NO_PROSE | {"autocapitalize": "off"}),
        help_text="Matched against the end of each path; * matches anything. Left empty: each file is an item.",
    )
    roles = forms.CharField(
        label="Roles to use, in order",
        required=False,
        widget=forms.TextInput(attrs=_NO_PROSE | {"autocapitalize": "off"}),
        help_text="For example: target, ref, diff. Left empty: all roles.",
    )

    @classmethod
    def showing(cls, grouping: Template | None) -> GroupingForm:
        """Return the form filled in with the current values."""
        initial = {"template": grouping.plain, "roles": ", ".join(grouping.roles)} if grouping else {}
        return cls(initial=initial, label_suffix="")

    def clean(self) -> dict[str, Any]:
        values = self.cleaned_data
        text, roles = values.get("template", "").strip(), values.get("roles", "").strip()
        try:
            named = [role.strip() for role in roles.split(",")] if roles else []
            values["grouping"] = Template.read(text, named) if text else None
        except GroupingProblem as problem:
            self.add_error("template", str(problem))
        return values


class CompositionForm(forms.Form):
    """How the frames of each item are shown together; ``cleaned_data["composition"]`` is the Composition.

    ``roles`` are those of the dataset, from which the bands are chosen.
    """

    layout = forms.ChoiceField(
        label="Frames",
        choices=[("side", "side by side"), ("blink", "blinking in one place"), ("rgb", "as one color image")],
    )
    red = forms.ChoiceField(label="Red", required=False)
    green = forms.ChoiceField(label="Green", required=False)
    blue = forms.ChoiceField(label="Blue", required=False)
    softening = forms.FloatField(
        label="Softening (Q)",
        required=False,
        help_text="Higher values compress bright parts more.",
        error_messages={"invalid": "Enter a number above 0."},
    )
    range = forms.FloatField(
        label="Range",
        required=False,
        help_text="In raw pixel values. Smaller values brighten faint parts. Left empty: computed for each item.",
        error_messages={"invalid": "Enter a number above 0, or leave this empty."},
    )
    vectors = forms.ChoiceField(
        label="Embeddings of frames",
        required=False,
        choices=[("concatenate", "concatenated"), ("average", "averaged")],
        help_text="Concatenated embeddings let models distinguish the roles. A color image has one embedding.",
    )

    def __init__(self, *args: Any, roles: Sequence[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_suffix = ""
        defaults = Composition().bands_of(tuple(roles))
        for name, default in zip(COLOURS, defaults, strict=True):
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)
            field.choices = [("", f"{default} (default)"), *((role, role) for role in roles)]

    @classmethod
    def showing(cls, composition: Composition, roles: Sequence[str]) -> CompositionForm:
        """Return the form filled in with the current values."""
        initial = {name: getattr(composition, name) for name in ("layout", "softening", "range", "vectors")}
        return cls(initial=initial | dict(zip(COLOURS, composition.bands, strict=False)), roles=roles)

    def clean(self) -> dict[str, Any]:
        values = self.cleaned_data
        if self.errors:
            return values
        bands = tuple(values[name] for name in COLOURS)
        if any(bands) and not all(bands):
            raise ValidationError("Choose all three bands, or leave all three at the default.")
        chosen = {name: values[name] for name in ("softening", "vectors") if values[name] not in (None, "")}
        try:
            values["composition"] = Composition(
                layout=values["layout"], bands=bands if all(bands) else (), range=values["range"], **chosen
            )
        except ValueError as error:
            raise ValidationError(str(error)) from error
        return values

"""Show the data of record in the admin.

Classes can be added, changed and deleted by the same rules as on the Classes page. Decisions are append-only, and
everything that the application derives is read-only.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse

from hoshina.core.admin import BigTableAdmin, FixedRows, ReadOnlyAdmin
from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest
from labeling.decisions import classes
from labeling.forms import LabelsGoForm, tidy
from labeling.ingest.dataset_folder import folder_problem, stored_root
from labeling.ingest.image_uploads import is_uploaded
from labeling.models import Action, Annotation, Dataset, Frame, Item, LabelClass, Problem
from labeling.views.classes import retire

if TYPE_CHECKING:
    _ClassForm = forms.ModelForm[LabelClass]
    _DatasetForm = forms.ModelForm[Dataset]
    _FrameInline = admin.TabularInline[Frame, Item]
else:
    _ClassForm = _DatasetForm = forms.ModelForm
    _FrameInline = admin.TabularInline


# -- Classes --------------------------------------------------------------------------------------
class LabelClassForm(_ClassForm):
    """A class. The admin saves in the transaction in which it validates, so the lock below holds."""

    class Meta:
        model = LabelClass
        fields = ("dataset", "name", "colour", "key", "letter", "order")
        widgets = {"colour": forms.TextInput(attrs={"type": "color"})}

    # No max_length: the error of `tidy_name` is clearer, and it counts the cleaned name.
    name = forms.CharField(strip=False, required=False)

    def clean_name(self) -> str:
        return tidy(self.cleaned_data["name"])

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        dataset, name, key, letter = (cleaned.get(field) for field in ("dataset", "name", "key", "letter"))
        if key and letter:
            self.add_error("letter", "A class has a digit or a letter. Leave one of them empty.")
            return cleaned
        dataset = dataset or (self.instance.dataset if self.instance.pk else None)
        if dataset is None:
            return cleaned
        classes.lock(dataset.pk)
        others = LabelClass.objects.active().filter(dataset=dataset).exclude(pk=self.instance.pk)
        if name:
            try:
                classes.refuse_duplicate(name, others)
            except Refusal as problem:
                self.add_error("name", problem.message)
        owner = classes.owner_of_key(others, key, letter or "")
        if owner is not None:
            self.add_error("key" if key else "letter", classes.KeyTaken(owner).message)
        return cleaned


@admin.register(LabelClass)
class LabelClassAdmin(BigTableAdmin):
    form = LabelClassForm
    list_display = ("name", "dataset", "key", "letter", "colour", "n_items", "is_retired", "merged_into")
    list_filter = ("dataset", "is_retired")
    list_select_related = ("dataset", "merged_into")
    search_fields = ("name",)
    ordering = ("dataset", "order", "id")
    fields = ("dataset", "name", "colour", "key", "letter", "order", "n_items", "is_retired", "merged_into")
    readonly_fields = ("n_items", "is_retired", "merged_into")

    def get_readonly_fields(self, request: HttpRequest, obj: LabelClass | None = None) -> tuple[str, ...]:
        """Make the dataset read-only: a class stays with the dataset whose items it labels."""
        return self.readonly_fields if obj is None else ("dataset", *self.readonly_fields)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Refuse to change a retired class, which is history."""
        return not _is_retired(obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return not _is_retired(obj) and super().has_delete_permission(request, obj)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Remove "delete selected": each class in use needs its own answer."""
        return {name: action for name, action in super().get_actions(request).items() if "delete" not in name}

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"colour": classes.PALETTE[0]} | super().get_changeform_initial_data(request)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Ask where the labels of a class in use go, and retire the class: the history keeps its name."""
        label = self.get_object(request, object_id)
        if label is None or not isinstance(label, LabelClass):
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined, no-any-return]
        if not self.has_delete_permission(request, label):
            raise PermissionDenied
        form = LabelsGoForm(request.POST if request.method == "POST" else None, source=label)
        if request.method == "POST" and form.is_valid():
            return self._retire(request, label, form.cleaned_data["target"])  # type: ignore[arg-type]
        context = {
            **self.admin_site.each_context(request),
            "title": f"Delete the class “{label.name}”",
            "object": label,
            "form": form,
            "opts": self.opts,
            "media": self.media,
            **(extra_context or {}),
        }
        status = 422 if form.is_bound else 200
        return TemplateResponse(request, "admin/labeling/labelclass/delete.html", context, status=status)

    def _retire(self, request: HtmxHttpRequest, label: LabelClass, target: LabelClass | None) -> HttpResponse:
        try:
            message = retire(label, target, request)
        except classes.ClassGone as problem:
            self.message_user(request, str(problem), messages.ERROR)
        else:
            self.log_change(request, label, message)
            self.message_user(request, message, messages.SUCCESS)
        return redirect("admin:labeling_labelclass_changelist")


def _is_retired(obj: Model | None) -> bool:
    return isinstance(obj, LabelClass) and obj.is_retired


# -- Datasets and items ---------------------------------------------------------------------------
class DatasetForm(_DatasetForm):
    class Meta:
        model = Dataset
        fields = ("name", "root")

    def clean_root(self) -> str:
        if is_uploaded(self.instance) and "root" not in self.changed_data:
            return self.instance.root
        folder = Path(self.cleaned_data["root"]).expanduser()
        problem = folder_problem(folder) if folder.is_absolute() else "Enter the full path."
        if problem:
            raise forms.ValidationError(problem)
        return stored_root(folder.resolve())


@admin.register(Dataset)
class DatasetAdmin(FixedRows, BigTableAdmin):
    """Name, and root of a folder that was moved; datasets are made by reading a folder."""

    form = DatasetForm
    list_display = ("name", "root", "n_items", "n_labelled", "n_unsure", "n_skipped", "n_missing", "created_at")
    readonly_fields = (
        "slug", "n_items", "n_missing", "n_labelled", "n_unsure", "n_skipped", "n_decisions", "created_at",
    )  # fmt: skip
    fields = ("name", "root", *readonly_fields)


class FrameInline(FixedRows, _FrameInline):
    model = Frame
    fields = ("role", "path", "sha256", "size", "width", "height", "format")
    readonly_fields = fields
    can_delete = False
    extra = 0


@admin.register(Item)
class ItemAdmin(ReadOnlyAdmin):
    list_display = ("path", "dataset", "row", "state", "label", "is_available")
    list_filter = ("dataset", "state", "is_available")
    list_select_related = ("dataset", "label")
    raw_id_fields = ("label",)
    search_fields = ("path",)
    search_help_text = "The beginning of the path."
    inlines = (FrameInline,)
    # Matches an index, also when filtered by dataset.
    ordering = ("-dataset_id", "-row")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Item], search_term: str
    ) -> tuple[QuerySet[Item], bool]:
        """Search by the start of the path, spaces included: paths have them."""
        term = search_term.replace("\x00", "")
        return (queryset.filter(path__startswith=term) if term else queryset), False


@admin.register(Problem)
class ProblemAdmin(ReadOnlyAdmin):
    list_display = ("path", "reason", "dataset", "seen_at")
    list_filter = ("dataset",)
    list_select_related = ("dataset",)


# -- Decisions: append-only -----------------------------------------------------------------------
@admin.register(Action)
class ActionAdmin(ReadOnlyAdmin):
    list_display = ("uuid", "dataset", "kind", "annotator", "created_at")
    list_filter = ("dataset", "kind")
    list_select_related = ("dataset", "annotator")
    raw_id_fields = ("undoes",)


@admin.register(Annotation)
class AnnotationAdmin(ReadOnlyAdmin):
    list_display = ("id", "item", "state", "label", "annotator", "decided_at", "queue", "rank")
    list_select_related = ("item", "label", "annotator")
    raw_id_fields = ("item", "action", "previous", "label")

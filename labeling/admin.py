"""Show the data of record in the admin.

Classes can be added, changed and deleted by the same rules as on the Classes page. Decisions are append-only, and
everything that the application derives is read-only.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse

from hoshina.core.admin import BigTableAdmin, FixedRows, ReadOnlyAdmin
from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest
from labeling.decisions import classes
from labeling.decisions.class_changes import save_class
from labeling.forms import LabelsGoForm, tidy
from labeling.ingest.dataset_folder import folder_problem, stored_root
from labeling.ingest.image_uploads import is_uploaded
from labeling.models import (
    Action,
    Annotation,
    ClassChange,
    ClassGuide,
    Dataset,
    Field,
    Frame,
    Item,
    LabelClass,
    Note,
    Problem,
    State,
    Tag,
)  # fmt: skip
from labeling.views.classes import retire

# The last character of Unicode, which no path contains.
LAST_CHARACTER = "\U0010ffff"
SEARCHED_ITEMS = 500

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
    page_text = "View its images"

    def page_url(self, obj: LabelClass) -> str:
        return f"{obj.dataset.get_absolute_url()}?queue=all&state=labelled&label={obj.pk}"

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        """Make the dataset read-only: a class stays with the dataset whose items it labels."""
        fields = super().get_readonly_fields(request, obj)
        return fields if obj is None else ["dataset", *fields]

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

    def save_model(self, request: HtmxHttpRequest, obj: LabelClass, form: Any, change: bool) -> None:  # type: ignore[override]
        save_class(obj, user=request.user)

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


@admin.register(ClassChange)
class ClassChangeAdmin(ReadOnlyAdmin):
    list_display = ("label_class", "dataset", "kind", "old_name", "changed_by", "changed_at")
    list_filter = ("kind",)
    list_select_related = ("label_class__dataset", "changed_by")
    page_text = "Open the classes"

    def page_url(self, obj: ClassChange) -> str:
        return reverse("labeling:classes", args=[obj.label_class.dataset.slug])

    @admin.display
    def dataset(self, change: ClassChange) -> str:
        return change.label_class.dataset.name


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
    list_display = (
        "name", "n_items", "n_labelled", "n_unsure", "n_skipped", "n_missing", "root", "created_at", "archived_at",
    )  # fmt: skip
    search_fields = ("name", "root")
    readonly_fields = (
        "slug", "n_items", "n_missing", "n_labelled", "n_unsure", "n_skipped", "n_decisions", "goal_labels",
        "goal_percent", "created_at", "archived_at", "license", "citation", "description",
    )  # fmt: skip
    fields = ("name", "root", *readonly_fields)
    page_text = "Open in the workbench"

    def page_url(self, obj: Dataset) -> str:
        return obj.get_absolute_url()


class FrameInline(FixedRows, _FrameInline):
    model = Frame
    fields = ("role", "path", "format", "width", "height", "size", "note", "sha256")
    readonly_fields = fields
    can_delete = False
    extra = 0


class StateFilter(admin.SimpleListFilter):
    """Filter by the state of the newest decision, with the names that pages show."""

    title = "state"
    parameter_name = "state__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(state.value), state.display_name) for state in State]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value() or ""
        return queryset.filter(state=value) if value in map(str, State.values) else queryset


def _starting_with(items: QuerySet[Item], term: str) -> QuerySet[Item]:
    """Return the items whose path starts with the term, in the order of the index of (dataset, path)."""
    datasets = list(Dataset.objects.values_list("pk", flat=True))
    found = items.filter(dataset__in=datasets, path__startswith=term).order_by("dataset_id", "path")
    if connection.vendor != "sqlite":  # whose order of texts may be that of a language
        return found
    # Its LIKE ignores case, and would read the whole table.
    return found.filter(path__gte=term, path__lte=term + LAST_CHARACTER)


@admin.register(Item)
class ItemAdmin(ReadOnlyAdmin):
    list_display = ("path", "dataset", "row", "state_name", "label", "is_available")
    list_filter = ("dataset", StateFilter, "is_available")
    list_select_related = ("dataset", "label")
    # Another order would sort the whole table.
    sortable_by = ()
    raw_id_fields = ("label",)
    search_fields = ("path",)
    search_help_text = "The beginning of the path."
    fields = ("path", "dataset", "row", "state_name", "label", "is_available")
    readonly_fields = ("state_name",)
    inlines = (FrameInline,)
    # Matches an index, also when filtered by dataset.
    ordering = ("-dataset_id", "-row")
    page_text = "View item"

    def page_url(self, obj: Item) -> str:
        return reverse("labeling:item", args=[obj.dataset.slug, obj.row])

    @admin.display(description="state")
    def state_name(self, item: Item) -> str:
        return State(item.state).display_name

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Item], search_term: str
    ) -> tuple[QuerySet[Item], bool]:
        """Search by the start of the path, spaces included: paths have them."""
        term = search_term.replace("\x00", "")
        return (_starting_with(queryset, term) if term else queryset), False


@admin.register(Field)
class FieldAdmin(ReadOnlyAdmin):
    list_display = ("name", "dataset", "kind", "source", "n_known")
    list_filter = ("dataset", "kind")
    list_select_related = ("dataset",)
    search_fields = ("name",)
    page_text = "Open Fields"

    def page_url(self, obj: Field) -> str:
        return reverse("labeling:fields", args=[obj.dataset.slug])


@admin.register(Problem)
class ProblemAdmin(ReadOnlyAdmin):
    list_display = ("path", "reason", "dataset", "seen_at")
    list_filter = ("dataset",)
    list_select_related = ("dataset",)
    search_fields = ("path",)
    page_text = "Open Problems"

    def page_url(self, obj: Problem) -> str:
        return reverse("labeling:problems", args=[obj.dataset.slug])


# -- Decisions: append-only -----------------------------------------------------------------------
@admin.register(Action)
class ActionAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "kind", "dataset", "annotator")
    list_filter = ("dataset", "kind")
    list_select_related = ("dataset", "annotator")
    sortable_by = ()
    raw_id_fields = ("undoes",)
    page_text = "Open in the workbench"

    def page_url(self, obj: Action) -> str:
        return obj.dataset.get_absolute_url()


@admin.register(Annotation)
class AnnotationAdmin(ReadOnlyAdmin):
    list_display = ("decided_at", "item", "dataset", "state_name", "label", "annotator", "queue", "rank")
    list_filter = ("annotator", "label")
    list_select_related = ("item__dataset", "label", "annotator")
    sortable_by = ()
    raw_id_fields = ("item", "action", "previous", "label")
    search_fields = ("item__path",)
    search_help_text = f"The beginning of a path. At most {SEARCHED_ITEMS:,} items with such paths are considered."
    page_text = "View item"

    def page_url(self, obj: Annotation) -> str:
        return reverse("labeling:item", args=[obj.item.dataset.slug, obj.item.row])

    @admin.display
    def dataset(self, annotation: Annotation) -> str:
        return annotation.item.dataset.name

    @admin.display(description="state")
    def state_name(self, annotation: Annotation) -> str:
        return State(annotation.state).display_name

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Annotation], search_term: str
    ) -> tuple[QuerySet[Annotation], bool]:
        """Search by the start of the item's path."""
        term = search_term.replace("\x00", "")
        if not term:
            return queryset, False
        items = list(_starting_with(Item.objects.all(), term).values_list("pk", flat=True)[:SEARCHED_ITEMS])
        return queryset.filter(item__in=items), False


# -- Tags and notes: written on the pages ---------------------------------------------------------
@admin.register(Tag)
class TagAdmin(ReadOnlyAdmin):
    list_display = ("name", "dataset")
    list_filter = ("dataset",)
    list_select_related = ("dataset",)
    search_fields = ("name",)
    page_text = "View its images"

    def page_url(self, obj: Tag) -> str:
        return f"{obj.dataset.get_absolute_url()}?{urlencode({'queue': 'all', 'tag': obj.name})}"


@admin.register(Note)
class NoteAdmin(ReadOnlyAdmin):
    list_display = ("text", "item", "dataset", "author", "created_at")
    list_filter = ("dataset",)
    list_select_related = ("item", "dataset", "author")
    sortable_by = ()
    raw_id_fields = ("item",)
    search_fields = ("text",)
    page_text = "View item"

    def page_url(self, obj: Note) -> str:
        return reverse("labeling:item", args=[obj.dataset.slug, obj.row])


@admin.register(ClassGuide)
class ClassGuideAdmin(ReadOnlyAdmin):
    list_display = ("label_class", "dataset", "description")
    list_select_related = ("label_class__dataset",)
    ordering = ("label_class_id",)
    page_text = "Open the class guide"

    def page_url(self, obj: ClassGuide) -> str:
        return reverse("labeling:guide", args=[obj.label_class.dataset.slug])

    @admin.display
    def dataset(self, guide: ClassGuide) -> str:
        return guide.label_class.dataset.name

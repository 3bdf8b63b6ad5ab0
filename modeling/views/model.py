"""The model as the pages show it: its badge in the header, its page, an item's probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET, require_POST
from django_htmx.http import trigger_client_event

from hoshina.http import HtmxHttpRequest
from hoshina.jobs.life import enqueue
from hoshina.jobs.models import Job
from labeling.models import Dataset, Item, LabelClass
from modeling.models import EmbeddingSet, ModelVersion, RetrainPolicy
from modeling.policy import due_at, forget, policy_of
from modeling.predictions import active_model, active_predictions

if TYPE_CHECKING:
    _PolicyModelForm = forms.ModelForm[RetrainPolicy]
else:  # Django's own class takes no type at run time
    _PolicyModelForm = forms.ModelForm


class PolicyForm(_PolicyModelForm):
    """When the assistive model retrains by itself."""

    class Meta:
        model = RetrainPolicy
        fields = ["is_automatic", "min_new", "share_new"]
        labels = {
            "is_automatic": "Retrain by itself",
            "min_new": "after so many new decisions",
            "share_new": "or this share of the labels, whichever is more (0.1 is a tenth)",
        }
        widgets: ClassVar = {"share_new": forms.NumberInput(attrs={"min": 0, "max": 1})}

    def clean_share_new(self) -> float:
        share = float(self.cleaned_data["share_new"])
        if not 0 <= share <= 1:
            raise forms.ValidationError("Give a share from 0 to 1: 0.1 is a tenth of the labels.")
        return share


@require_GET
def badge(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """The model's state in a few words, for the header."""
    dataset = get_object_or_404(Dataset, slug=slug)
    return render(request, "modeling/_badge.html", {"dataset": dataset, **_state(dataset)})


@require_GET
def page(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Versions, honest quality, calibration, confusion, and when the model retrains."""
    dataset = get_object_or_404(Dataset, slug=slug)
    form = PolicyForm(instance=policy_of(dataset))
    return render(request, "modeling/model.html", _page_context(dataset, form))


@require_POST
def policy(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Change when the model retrains by itself."""
    dataset = get_object_or_404(Dataset, slug=slug)
    form = PolicyForm(request.POST, instance=policy_of(dataset))
    if not form.is_valid():
        return render(request, "modeling/_policy.html", {"dataset": dataset, "form": form}, status=422)
    form.save()
    forget(dataset)
    return render(request, "modeling/_policy.html", {"dataset": dataset, "form": form, "is_saved": True})


@require_POST
def retrain(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Ask for a retrain; a second ask while one runs is the same one."""
    dataset = get_object_or_404(Dataset, slug=slug)
    enqueue("retrain", dataset_id=dataset.pk, user=request.user)
    return _asked()


@require_POST
def embed(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Ask for the vectors of new and changed images."""
    dataset = get_object_or_404(Dataset, slug=slug)
    enqueue("embed", dataset_id=dataset.pk, user=request.user)
    return _asked()


@require_GET
def probabilities(request: HtmxHttpRequest, slug: str, row: int) -> HttpResponse:
    """One item's calibrated probabilities as bars, likeliest first."""
    item = get_object_or_404(Item, dataset__slug=slug, row=row)
    predictions = active_predictions(item.dataset)
    bars = predictions.by_class(predictions.of_rows([row])[0]) if predictions else []
    bars.sort(key=lambda bar: (-bar.probability, bar.label.order))
    context = {"bars": bars, "model": predictions.model if predictions else None, "item": item}
    return render(request, "modeling/_probabilities.html", context)


def _asked() -> HttpResponse:
    return trigger_client_event(HttpResponse(status=204), "hoshina:job")


def _state(dataset: Dataset) -> dict[str, Any]:
    model = active_model(dataset)
    embedding_set = EmbeddingSet.objects.filter(dataset=dataset, is_active=True).first()
    retraining = Job.objects.filter(kind="retrain", dataset_id=dataset.pk, state__in=Job.ACTIVE).first()
    n_newer = max(0, dataset.n_decisions - model.n_decisions) if model else 0
    return {
        "model": model,
        "half_width": _half_width(model),
        "embedding_set": embedding_set,
        "retraining": retraining,
        "n_newer": n_newer,
        "n_classes_labelled": LabelClass.objects.active().filter(dataset=dataset, n_items__gt=0).count(),
    }


def _half_width(model: ModelVersion | None) -> float | None:
    interval = model.metrics.get("accuracy_interval") if model else None
    return (interval[1] - interval[0]) / 2 if interval else None


def _page_context(dataset: Dataset, form: PolicyForm) -> dict[str, Any]:
    state = _state(dataset)
    model = state["model"]
    versions = list(ModelVersion.objects.filter(dataset=dataset).select_related("embedding_set")[:50])
    names = dict(LabelClass.objects.filter(dataset=dataset).values_list("pk", "name"))
    policy = policy_of(dataset)
    return {
        "dataset": dataset,
        "form": form,
        "versions": versions,
        "due_at": due_at(dataset, policy, model),
        "class_names": [names.get(class_id, "deleted") for class_id in model.class_ids] if model else [],
        "confusion": _confusion(model, names) if model else [],
        "reliability": _reliability(model) if model else [],
        **state,
    }


def _reliability(model: ModelVersion) -> list[dict[str, Any]]:
    """The reliability diagram's points; ``y`` counts downwards from the top of a square of 100."""
    bins = model.metrics.get("reliability") or []
    return [{**bin_, "y": round(100 * (1 - bin_["accuracy"]), 2)} for bin_ in bins]


def _confusion(model: ModelVersion, names: dict[int, str]) -> list[dict[str, Any]]:
    """The confusion matrix's rows for the template: a name, and cells with their share of the row."""
    rows = []
    for position, counts in enumerate(model.metrics.get("confusion") or []):
        total = sum(counts)
        rows.append(
            {
                "name": names.get(model.class_ids[position], "deleted"),
                "total": total,
                "recall": counts[position] / total if total else None,
                "cells": [
                    {"n": n, "share": n / total if total else 0, "is_right": column == position}
                    for column, n in enumerate(counts)
                ],
            }
        )
    return rows

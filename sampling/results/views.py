"""Show the results of a dataset: how good the model is, where it is wrong, and what to do next."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from hoshina.core.http import HtmxHttpRequest
from labeling.models import Dataset
from modeling.assistive.views import state_of
from modeling.models import ModelVersion
from modeling.versions import model_files
from modeling.versions.facts import classes_of, confusion, names_of
from modeling.versions.plots import briefs, learning_plot
from sampling.accuracy.estimate import history, outlook
from sampling.accuracy.views import estimates_plot
from sampling.results.mistakes import confused_pairs, lowest_recalls
from sampling.results.next_step import Situation, next_step


@require_GET
def page(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the three answers, then the plots."""
    dataset = get_object_or_404(Dataset, slug=slug)
    state = state_of(dataset)
    estimates = history(dataset)
    ahead = outlook(estimates)
    situation = Situation(dataset, request.user.pk, state, estimates, ahead)
    context = {"dataset": dataset, **state, "step": next_step(situation)}
    if state["model"] is not None:
        context |= _mistakes(dataset, state["model"])
        context |= {"audited_plot": estimates_plot(estimates, ahead) if estimates else None, "outlook": ahead}
        context |= {"learning": learning_plot(briefs(dataset), state["model"].number)}
    return render(request, "sampling/results/page.html", context)


def _mistakes(dataset: Dataset, model: ModelVersion) -> dict[str, Any]:
    """Return the confusion matrix of the active version, and the most frequent errors in it."""
    names = names_of(model, classes_of(dataset))
    rows = confusion(dataset, model, names)
    return {
        "names": names,
        "confusion": rows,
        "has_items": bool(rows) and model_files.has_held_out(model),
        "pairs": confused_pairs(rows),
        "recalls": lowest_recalls(rows),
    }

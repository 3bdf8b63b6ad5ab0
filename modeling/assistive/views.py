"""Show the model's badge in the header, its retraining policy, and the probabilities of an item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import trigger_client_event

from hoshina.core.http import HtmxHttpRequest
from hoshina.core.roles import Role, requires
from hoshina.jobs.lifecycle import enqueue
from hoshina.jobs.models import Job
from labeling.models import Dataset, Item, LabelClass
from modeling.assistive.policy import forget, new_labels, policy_of, request_retrain
from modeling.models import EmbeddingSet, RetrainPolicy
from modeling.predictions import active_model, active_predictions
from modeling.versions.active import chosen_external
from modeling.versions.headline import headline_of

if TYPE_CHECKING:
    _PolicyModelForm = forms.ModelForm[RetrainPolicy]
else:  # Django's own class is not generic at run time
    _PolicyModelForm = forms.ModelForm


class PercentField(forms.FloatField):
    """Read and show a share in percent."""

    def prepare_value(self, value: Any) -> Any:
        return f"{100 * value:g}" if isinstance(value, float) else value

    def clean(self, value: Any) -> float | None:
        percent = super().clean(value)
        return None if percent is None else percent / 100


class PolicyForm(_PolicyModelForm):
    """The settings of when and how the assistive model is retrained."""

    share_new = PercentField(
        label="or after this share of the labels in %, whichever is more",
        min_value=0,
        max_value=100,
        error_messages=dict.fromkeys(("invalid", "min_value", "max_value"), "Give a share from 0 to 100 percent."),
    )

    class Meta:
        model = RetrainPolicy
        fields = ["is_automatic", "min_new", "share_new", "calibration", "class_weights", "is_smoothed"]
        labels = {
            "is_automatic": "Retrain automatically",
            "min_new": "after this many new labels",
            "calibration": "Calibration of the probabilities",
            "class_weights": "Class weights",
            "is_smoothed": "Smooth over similar images",
        }


@never_cache
@require_GET
def badge(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the state of the model in short, for the header."""
    dataset = get_object_or_404(Dataset, slug=slug)
    return render(request, "modeling/assistive/_badge.html", {"dataset": dataset, **state_of(dataset)})


@require_http_methods(["GET", "HEAD", "POST"])
def policy(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the page Retraining, or change when and how the model is retrained."""
    dataset = get_object_or_404(Dataset, slug=slug)
    instance = policy_of(dataset)
    if request.method != "POST":
        form, model = PolicyForm(instance=instance), active_model(dataset)
        context = {"dataset": dataset, "policy": instance, "form": form, "model": model}
        return render(request, "modeling/assistive/policy.html", context)
    form = PolicyForm(request.POST, instance=instance)
    if not form.is_valid():
        return render(request, "modeling/assistive/_policy.html", {"dataset": dataset, "form": form}, status=422)
    # Another request may have changed is_requested in the meantime.
    form.save(commit=False).save(update_fields=form.fields)
    forget(dataset)
    return render(request, "modeling/assistive/_policy.html", {"dataset": dataset, "form": form, "is_saved": True})


@requires(Role.LABELER)
@require_POST
def retrain(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Request a retrain, or join the one that runs. Missing embeddings are computed first."""
    dataset = get_object_or_404(Dataset, slug=slug)
    job = request_retrain(dataset, request.user)
    response = _asked()
    if job.kind == "retrain":
        chosen = chosen_external(dataset)
        if chosen is None:
            return response
        text = f"A new model is trained. Model {chosen.number}, which you chose, stays in use until you choose another."
        return trigger_client_event(response, "hoshina:toast", {"text": text})
    begins = "are being computed" if job.state == Job.State.RUNNING else "are computed first"
    text = f"Embeddings {begins}. The model is trained as soon as they are ready."
    return trigger_client_event(response, "hoshina:toast", {"text": text})


@require_POST
def embed(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Request the embeddings of new and changed images."""
    dataset = get_object_or_404(Dataset, slug=slug)
    enqueue("embed", dataset_id=dataset.pk, user=request.user)
    return _asked()


@require_GET
def probabilities(request: HtmxHttpRequest, slug: str, row: int) -> HttpResponse:
    """Show the calibrated probabilities of one item as bars, most likely class first."""
    item = get_object_or_404(Item, dataset__slug=slug, row=row)
    predictions = active_predictions(item.dataset)
    bars = predictions.by_class(predictions.of_rows([row])[0]) if predictions else []
    bars.sort(key=lambda bar: (-bar.probability, bar.label.order))
    context = {"bars": bars, "model": predictions.model if predictions else None, "item": item}
    return render(request, "modeling/assistive/_probabilities.html", context)


def _asked() -> HttpResponse:
    return trigger_client_event(HttpResponse(status=204), "hoshina:job")


def state_of(dataset: Dataset) -> dict[str, Any]:
    """Return the active model, its embeddings, a running training, and how the labels have changed since."""
    model = active_model(dataset)
    embedding_set = EmbeddingSet.objects.filter(dataset=dataset, is_active=True).first()
    retraining = Job.objects.filter(kind="retrain", dataset_id=dataset.pk, state__in=Job.ACTIVE).first()
    is_embedding_first = (
        retraining is None
        and RetrainPolicy.objects.filter(dataset=dataset, is_requested=True).exists()
        and Job.objects.filter(kind="embed", dataset_id=dataset.pk, state__in=Job.ACTIVE).exists()
    )
    n_newer = new_labels(dataset, model) if model else 0
    return {
        "model": model,
        "headline": headline_of(dataset, model),
        "embedding_set": embedding_set,
        "retraining": retraining,
        "is_embedding_first": is_embedding_first,
        "n_newer": n_newer,
        # Labels that were undone or cleared since: what is shown of the model was measured on more than there are.
        "n_gone": max(0, model.n_labels - dataset.n_labelled) if model else 0,
        "n_classes_labelled": LabelClass.objects.active().filter(dataset=dataset, n_items__gt=0).count(),
    }

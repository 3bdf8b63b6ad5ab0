"""Explain to the user why a queue has no images to show, and suggest what to do next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urlencode

from django.urls import reverse

from hoshina.core.plural import counted
from hoshina.jobs.models import Job
from labeling.models import Dataset
from modeling.predictions import active_model
from sampling.models import Round
from sampling.queues.field_filter import from_params
from sampling.queues.leases import LEASE, NO_WINDOW, Holding, Window, holdings
from sampling.queues.note_filter import note_filter_from
from sampling.queues.pull import CHANGED, filters_from, leases
from sampling.queues.registry import STRATEGIES
from sampling.sweeps.banner import nothing_to_sweep
from sampling.sweeps.checks import n_waiting


@dataclass(frozen=True)
class Empty:
    """What to show in place of tiles: a title, a text and the next action."""

    title: str
    text: str
    action_label: str = ""
    action_url: str = ""
    is_waiting: bool = False
    # People who hold images that the queue could have shown.
    holdings: tuple[Holding, ...] = ()

    @property
    def has_own(self) -> bool:
        """Return whether the person's other windows hold some of the images."""
        return any(holding.is_own for holding in self.holdings)


def nothing_left(dataset: Dataset, round_: Round, window: Window = NO_WINDOW) -> Empty:
    """Return why a round has no image to show in ``window``, and who holds which images."""
    dataset.refresh_from_db()
    is_leased = leases(STRATEGIES[round_.queue], filters_from(round_.params["filters"]))
    held = tuple(holdings(dataset, window)) if is_leased and dataset.n_left else ()
    return replace(_why(dataset, round_, held), holdings=held)


def _why(dataset: Dataset, round_: Round, held: tuple[Holding, ...]) -> Empty:
    if dataset.n_items == 0:
        return _nothing_read(dataset)
    if STRATEGIES[round_.queue].needs_held_out:
        return _no_suspects(dataset)
    if round_.queue == "checks" and n_waiting(dataset):
        text = "Others are looking at the remaining checks. These become available when they leave the page."
        return Empty("No checks available right now", text, is_waiting=True)
    if round_.queue == "checks":
        return Empty("No checks are waiting", "Images to check come from sweeps. Accept a page of a sweep first.")
    if round_.queue == "review":
        url = reverse("labeling:classes", args=[dataset.slug])
        return Empty(
            "Reviewed", "Every image that the split left open was decided.", action_label="Classes", action_url=url
        )
    filters = round_.params["filters"]
    if dataset.n_left == 0 and filters["state"] == "unlabelled":
        return Empty(
            "Everything is labeled",
            "Every image has a decision. Review the unsure images, or export the dataset.",
            action_label="Export dataset",
            action_url=reverse("labeling:export", args=[dataset.slug]),
        )
    if narrow := _nothing_that_narrow(dataset, round_):
        return narrow
    if STRATEGIES[round_.queue].is_sweep:
        facts, label, query = round_.params.get("facts", {}), "Open Uncertain", "queue=uncertain"
        if facts.get("is_strict") and facts["n_candidates"]:
            label, query = "Show looser groups", "queue=groups&loose=1"
        url = f"{reverse('workbench', args=[dataset.slug])}?{query}"
        return Empty(*nothing_to_sweep(round_), action_label=label, action_url=url)
    return _none_available(round_, held)


def _none_available(round_: Round, held: tuple[Holding, ...]) -> Empty:
    if round_.params["filters"]["predicted"] is not None:
        return Empty("No matches", "No unlabeled image is predicted as this class. Choose another class.")
    if round_.queue == "unlike" and not held:
        return _no_groups(round_)
    text = "The remaining images have no embeddings yet. Try again in a moment, or choose the queue All."
    if held:
        others = "Others are labeling the remaining images. These become available when they leave the page"
        text = f"{others}, or {LEASE.seconds // 60} minutes after they were last active."
    return Empty("No images available right now", text, is_waiting=True)


def _no_suspects(dataset: Dataset) -> Empty:
    """Return that no label is probably wrong, with the number of held-out predictions that differ from the labels."""
    model = active_model(dataset)
    confusion = (model.metrics.get("confusion") if model else None) or []
    n = sum(map(sum, confusion))
    n_different = n - sum(row[at] for at, row in enumerate(confusion))
    later = "Labels made since the last training are checked after the next one."
    if model is None or not n_different:
        return Empty("No suspect labels", f"The held-out predictions agree with the labels. {later}")
    text = (
        f"The held-out predictions of {model} differ from {n_different:,} of {counted(n, 'label')}, which Results "
        f"lists. This queue shows only those that are probably wrong; none is, or you have checked them. {later}"
    )
    url = reverse("sampling:results", args=[dataset.slug])
    return Empty("No suspect labels", text, action_label="Results", action_url=url)


def _no_groups(round_: Round) -> Empty:
    if round_.params.get("facts", {}).get("groups"):
        return Empty("No further groups", "The groups before this one were found. Choose one of them on the left.")
    text = "No unlabeled images were found that resemble each other and none of your labels. Choose another queue."
    return Empty("No such groups", text)


def _nothing_that_narrow(dataset: Dataset, round_: Round) -> Empty | None:
    """Return the message for filters that no image matches, or None if the filters are not the reason."""
    filters, is_sweep = round_.params["filters"], STRATEGIES[round_.queue].is_sweep
    if filters["state"] == CHANGED and not any(value for name, value in filters.items() if name != "state"):
        return Empty("No changed files", "As of the last scan, no file changed after its image was labeled.")
    if "path" in filters and not is_sweep:
        return _nothing_at_path(dataset, round_)
    if (remarks := note_filter_from(filters)) and not is_sweep:
        return Empty("No matches", f"{remarks.nothing} Change or remove a filter.")
    if "fields" in filters and not is_sweep:
        conditions = "; ".join(condition.text for condition in from_params(filters))
        return Empty("No matches", f"No image matches all filters ({conditions}). Remove a filter.")
    if round_.queue == "band":
        return Empty("No images in the band", "No image has a probability in this range. Widen the range.")
    if round_.queue == "similar":
        return Empty("No similar images", "No other image is this similar. Move the slider to the left.")
    if "region" in filters and not is_sweep:
        address = f"{reverse('workbench', args=[dataset.slug])}?queue={round_.queue}"
        text = "Every image of the queue in this region has a decision, or someone else is labeling it."
        if filters["state"] != "unlabelled":
            text = "No image in this region matches the filters."
        return Empty("No images left in this region", text, action_label="Show all images", action_url=address)
    if round_.queue == "all" or filters["state"] != "unlabelled":
        return Empty("No matches", "No image matches the filters. Change or remove a filter.")
    return None


def _nothing_at_path(dataset: Dataset, round_: Round) -> Empty:
    filters = round_.params["filters"]
    text = f"No image whose path contains “{filters['path']}” matches the other filters."
    others = (value for name, value in filters.items() if name not in {"path", "state"})
    if filters["state"] == "any" and not any(others):
        return Empty("No matches", f"No path contains “{filters['path']}”.")
    if filters["state"] == "any":
        return Empty("No matches", text)
    query = urlencode({"queue": "all", "state": "any", "path": filters["path"]})
    url = f"{reverse('workbench', args=[dataset.slug])}?{query}"
    return Empty("No matches", text, action_label="Look among all images", action_url=url)


def _nothing_read(dataset: Dataset) -> Empty:
    """Return why a dataset has no images: the folder is being read, has none, or could not be read."""
    newest = Job.objects.filter(kind="ingest", dataset_id=dataset.pk).order_by("-created_at").first()
    if newest is None or newest.is_active:
        text = "The first images appear here as soon as they are read."
        return Empty("Reading the folder", text, is_waiting=True)
    if newest.state == Job.State.SUCCEEDED:
        text = f"{dataset.data_dir} has no readable images. Add some and rescan the folder."
        url = reverse("labeling:problems", args=[dataset.slug])
        return Empty("No images found", text, action_label="Show problems", action_url=url)
    why = " ".join(f"{newest.error} {newest.hint}".split()) or f"The job was {newest.get_state_display().lower()}."
    return Empty("The folder could not be read", why, action_label="Show jobs", action_url=reverse("jobs:page"))

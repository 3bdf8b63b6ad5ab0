"""Define ``hoshina embed``: compute missing embeddings in the foreground."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from hoshina.core.commands import HoshinaCommand
from hoshina.core.plural import counted
from hoshina.jobs.console import run_command_job
from hoshina.jobs.lifecycle import cancel, reap
from hoshina.jobs.models import Job
from labeling.management.datasets import add_common_arguments, pick_dataset
from labeling.models import Dataset
from modeling.backends import AUTO, BACKENDS, is_backend, timm_models
from modeling.encoders.choice import backend_of, graphs_dir, likely, survey
from modeling.models import EmbeddingSet, EncoderChoice


class Command(HoshinaCommand):
    help = "Compute embeddings for images that have none or have changed."

    def add_arguments(self, parser: CommandParser) -> None:
        add_common_arguments(parser)
        parser.add_argument(
            "--backend",
            metavar="ENCODER",
            help=f"the encoder for this run: {', '.join(BACKENDS)}, file:NAME for a model file, or several joined by "
            "plus signs (otherwise the dataset's choice, or AL_EMBEDDING_BACKEND, which says "
            f"{settings.EMBEDDING_BACKEND})",
        )
        parser.add_argument(
            "--refit",
            action="store_true",
            help="fit the components of joined encoders to the current images and compute all embeddings again",
        )
        parser.add_argument("--list", action="store_true", help="show which encoders could run here, and why")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["backend"] is not None and not is_backend(options["backend"]):
            names = f"{', '.join(BACKENDS)}, file:NAME for a model file, or several joined by plus signs"
            raise CommandError(f"There is no encoder called {options['backend']!r}. Choose {names}.", returncode=2)
        if options["list"]:
            self._list(options["dataset"], options["backend"], as_json=options["json"])
            return
        dataset = pick_dataset(options["dataset"])
        params: dict[str, Any] = {}
        if options["backend"] not in (None, backend_of(dataset.pk)):
            params["backend"] = options["backend"]
        if options["refit"]:
            params["is_refit"] = True
        _withdraw_queued(dataset, params)
        job = run_command_job(self, "embed", dataset.pk, params, as_json=options["json"])
        result = job.result
        lines = [
            f"{dataset.name}: {counted(result['items'], 'embedding')} of {result['dim']:,} dimensions by "
            f"{result['encoder']}, {result['computed']:,} of them new, in {result['seconds']:.1f} s."
        ]
        lines += [f"{counted(result['failed'], 'image')} could not be read."] if result["failed"] else []
        if result.get("without_embedding"):
            lines.append(f"{counted(result['without_embedding'], 'image')} without one: import more embeddings.")
        self.print_result(result, [*lines, result["reason"]], as_json=options["json"])

    def _list(self, name: str | None, backend: str | None, *, as_json: bool) -> None:
        found = EmbeddingSet.objects.select_related("dataset").order_by("dataset__name", "encoder")
        choices = EncoderChoice.objects.select_related("dataset").order_by("dataset__name")
        wanted = backend or str(settings.EMBEDDING_BACKEND)
        if wanted.startswith(timm_models.PREFIX):  # so that its license and input size are in the list
            timm_models.describe(wanted.removeprefix(timm_models.PREFIX).partition("@")[0], graphs_dir())
        if name is not None:
            dataset = pick_dataset(name)
            found, choices = found.filter(dataset=dataset), choices.filter(dataset=dataset)
            wanted = backend or backend_of(dataset.pk)
        listed = {
            "wanted": wanted.partition("/")[0] if wanted.startswith(AUTO) else wanted,
            "chosen": asdict(likely(wanted)),
            "encoders": [asdict(line) for line in survey()],
            "choices": [{"dataset": choice.dataset.name, "backend": choice.backend} for choice in choices],
            "sets": [_set(embedding_set) for embedding_set in found],
        }
        self.print_result(listed, _for_people(listed), as_json=as_json)


def _set(embeddings: EmbeddingSet) -> dict[str, Any]:
    return {
        "dataset": embeddings.dataset.name,
        "encoder": embeddings.encoder,
        "backend": embeddings.backend,
        "fingerprint": embeddings.fingerprint,
        "dim": embeddings.dim,
        "vectors": embeddings.n_vectors,
        "failed": embeddings.n_failed,
        "active": embeddings.is_active,
        "reason": embeddings.reason,
    }


def _for_people(listed: dict[str, Any]) -> Iterator[str]:
    """Yield a line per encoder, with a star at the one that applies; then the datasets' choices and embeddings."""
    chosen = listed["chosen"]["backend"]
    width = max(len(line["backend"]) for line in listed["encoders"])
    for line in listed["encoders"]:
        mark = "*" if line["backend"] == chosen else " "
        state = "ready" if line["available"] else "not ready"
        yield f"{mark} {line['backend']:<{width}} {line['encoder']:<14} {state:<10} {line['reason']}"
        if line["backend"].startswith(timm_models.PREFIX):
            yield f"  {line['about']}"
    yield f"* is selected by {listed['wanted']!r}; missing weights would be downloaded first."
    for choice in listed["choices"]:
        yield f"{choice['dataset']}: {choice['backend']!r} was chosen for it."
    for embeddings in listed["sets"]:
        active = "active" if embeddings["active"] else "kept"
        yield (
            f"{embeddings['dataset']}: {embeddings['vectors']:,} x {embeddings['dim']:,} by {embeddings['encoder']} "
            f"({embeddings['fingerprint']}), {active}. {embeddings['reason']}"
        )


def _withdraw_queued(dataset: Dataset, params: dict[str, Any]) -> None:
    """Cancel a queued job with another encoder, which the requested one replaces."""
    reap()
    for job in Job.objects.filter(kind="embed", dataset_id=dataset.pk, state=Job.State.QUEUED):
        if job.params != params:
            cancel(job)

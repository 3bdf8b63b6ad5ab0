"""``manage.py embed``: vectors for every image that has none, in the foreground."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from hoshina.jobs.console import run_command_job
from hoshina.jobs.life import cancel, reap
from hoshina.jobs.models import Job
from labeling.management.datasets import add_common_arguments, pick_dataset
from labeling.models import Dataset
from modeling.backends import BACKENDS, likely, survey
from modeling.models import EmbeddingSet


class Command(BaseCommand):
    help = "Compute vectors for images that have none or have changed."

    def add_arguments(self, parser: CommandParser) -> None:
        add_common_arguments(parser)
        parser.add_argument(
            "--backend",
            choices=BACKENDS,
            help=f"the encoder for this run (AL_EMBEDDING_BACKEND says {settings.EMBEDDING_BACKEND})",
        )
        parser.add_argument("--list", action="store_true", help="show which encoders could run here, and why")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["list"]:
            self._list(options["dataset"], options["backend"], as_json=options["json"])
            return
        dataset = pick_dataset(options["dataset"])
        params = {}
        if options["backend"] not in (None, settings.EMBEDDING_BACKEND):
            params["backend"] = options["backend"]
        _withdraw_queued(dataset, params)
        job = run_command_job(self, "embed", dataset.pk, params, as_json=options["json"])
        if options["json"]:
            self.stdout.write(json.dumps(job.result))
            return
        result = job.result
        self.stdout.write(
            f"{dataset.name}: {result['items']:,} vectors of {result['dim']:,} numbers by "
            f"{result['encoder']}, {result['computed']:,} of them new, in {result['seconds']:.1f} s."
        )
        if result["failed"]:
            self.stdout.write(f"{result['failed']:,} images could not be read.")
        self.stdout.write(result["reason"])

    def _list(self, name: str | None, backend: str | None, *, as_json: bool) -> None:
        wanted = backend or settings.EMBEDDING_BACKEND
        encoders = survey(settings.WEIGHTS_DIR)
        chosen = likely(wanted, settings.WEIGHTS_DIR)
        found = EmbeddingSet.objects.select_related("dataset").order_by("dataset__name", "encoder")
        if name is not None:
            found = found.filter(dataset=pick_dataset(name))
        sets = [
            {
                "dataset": one.dataset.name,
                "encoder": one.encoder,
                "fingerprint": one.fingerprint,
                "dim": one.dim,
                "vectors": one.n_vectors,
                "active": one.is_active,
                "reason": one.reason,
            }
            for one in found
        ]
        if as_json:
            self.stdout.write(
                json.dumps(
                    {"wanted": wanted, "chosen": chosen, "encoders": encoders, "sets": sets},
                    ensure_ascii=False,
                )
            )
            return
        for line in encoders:
            mark = "*" if line == chosen else " "
            state = "ready" if line["available"] else "not ready"
            self.stdout.write(f"{mark} {line['backend']:<11} {line['encoder']:<13} {state:<10} {line['reason']}")
        self.stdout.write(f"* is what {wanted!r} means here; missing weights would be downloaded first.")
        for one in sets:
            active = "active" if one["active"] else "kept"
            self.stdout.write(
                f"{one['dataset']}: {one['vectors']:,} x {one['dim']:,} by {one['encoder']} "
                f"({one['fingerprint']}), {active}. {one['reason']}"
            )


def _withdraw_queued(dataset: Dataset, params: dict[str, Any]) -> None:
    """A run that only waits for a worker, with another encoder, gives way to the one asked for now."""
    reap()
    for job in Job.objects.filter(kind="embed", dataset_id=dataset.pk, state=Job.State.QUEUED):
        if job.params != params:
            cancel(job)

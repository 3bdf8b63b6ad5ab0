"""Pull a queue: in the request if that is cheap, in a worker otherwise."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any, NoReturn

from django.db.models import Q

from hoshina.core.errors import Refusal
from hoshina.jobs import clock
from hoshina.jobs.lifecycle import enqueue
from hoshina.jobs.models import Job
from hoshina.jobs.presence import missing_worker_message, worker_alive
from hoshina.jobs.runner import seconds_left
from labeling.models import Dataset, Field
from modeling.encoders.neighbor_cache import AT_ONCE
from modeling.models import EmbeddingSet
from sampling.models import Round
from sampling.queues.outlier_cache import has_oddness
from sampling.queues.pull import Order, basis_of
from sampling.queues.registry import STRATEGIES

# Seconds that a page waits for a worker's ranking before it reports that the ranking is being computed.
PATIENCE = 6.0
# Auto does not make anyone wait: it shows a random sample until its ranking is ready.
PATIENCE_OF_AUTO = 1.0
LOOK_EVERY = 0.05
# A finished ranking is reused for this long. That of Auto stays valid longer: it depends on the same model and
# embeddings, and items labeled since are skipped when the page is built.
FRESH, FRESH_OF_AUTO = timedelta(seconds=60), timedelta(minutes=10)
STOPPED_LATELY = timedelta(minutes=30)


class StillRanking(Exception):
    """Raised while a ranking is being computed; its text says what the person waits for."""


def get_or_rank_round(dataset: Dataset, order: Order) -> Round:
    """Return the round for ``order``, from a recent ranking if there is one.

    Raises Refusal, and StillRanking if a worker needs longer than a page may wait.
    """
    if not _is_for_a_worker(dataset, order):
        return order.pull(dataset)
    comparison = comparison_for(dataset, order.queue, order.params)
    if comparison is not None:
        _say_how_far(latest(dataset, comparison) or enqueue("oddness", dataset_id=dataset.pk, params=comparison))
    fingerprint = _fingerprint(dataset, order)
    is_auto = order.queue == "auto"
    job = _made_since(dataset, fingerprint, FRESH_OF_AUTO if is_auto else FRESH) or enqueue(
        "rank", dataset_id=dataset.pk, params={"order": asdict(order), "fingerprint": fingerprint}
    )
    deadline = time.monotonic() + (PATIENCE_OF_AUTO if is_auto else PATIENCE)
    while job.is_active and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY)
        job.refresh_from_db()
    if job.state == Job.State.SUCCEEDED:
        return Round.objects.get(pk=job.result["round"])
    if is_auto:
        return replace(order, is_by_chance=True).pull(dataset)
    if not job.is_active:
        raise Refusal(job.error or "The ranking stopped", job.hint or "Try again.")
    if not worker_alive("interactive"):
        raise StillRanking(missing_worker_message("interactive"))
    raise StillRanking("This takes a moment. The images appear here when they are ranked.")


def comparison_for(dataset: Dataset, queue: str, params: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the parameters of the "oddness" job that has to run before this pull, or None if no job is needed."""
    if queue not in {"oddities", "groups", "unlike"}:  # the queues that need the k-NN graph
        return None
    method = params.get("method", "local outlier factor")
    embedding_set = EmbeddingSet.objects.filter(dataset=dataset, is_active=True, n_vectors__gt=AT_ONCE).first()
    if embedding_set is None or has_oddness(embedding_set, method):
        return None
    return {"method": method}


def latest(dataset: Dataset, comparison: dict[str, Any]) -> Job | None:
    """Return the running job, or one that stopped recently: that is not restarted without a request."""
    same = Job.objects.filter(kind="oddness", dataset_id=dataset.pk, params=comparison)
    lately = Q(finished_at__gt=clock.now() - STOPPED_LATELY) & ~Q(state=Job.State.SUCCEEDED)
    return same.filter(Q(state__in=Job.ACTIVE) | lately).order_by("-created_at").first()


def _say_how_far(job: Job) -> NoReturn:
    if not job.is_active:
        raise Refusal(
            job.error or "Oddities are not computed",
            f"{job.hint} This queue compares all images with each other once. Retry the job on the Jobs page.".strip(),
        )
    if job.state == Job.State.QUEUED and not worker_alive("heavy"):
        raise StillRanking(missing_worker_message("heavy"))
    left = seconds_left(job)
    far = f" {100 * job.done // job.total} % done" if job.total else ""
    far += f", about {max(1, round(left / 60))} min left" if left is not None else ""
    raise StillRanking(
        f"All images are being compared with each other, which is needed only once.{far and far + '.'} "
        "The images appear here when that is done. Meanwhile, you can label in another queue."
    )


def _is_for_a_worker(dataset: Dataset, order: Order) -> bool:
    # Without embeddings there is little to compute: the queue draws at random or says what is missing.
    has_vectors = EmbeddingSet.objects.filter(dataset=dataset, is_active=True, generation__gt=0).exists()
    return STRATEGIES[order.queue].is_slow and has_vectors


def _fingerprint(dataset: Dataset, order: Order) -> str:
    """Return a hash of everything that makes two orders equal, which is all but the seed.

    The windows of one person share a ranking: each skips the items that another shows. A sweep is decided page by
    page, so each window has rankings of its own; its next page is another group, and so is the first page after a
    decision.
    """
    strategy = STRATEGIES[order.queue]
    is_shared = order.user_id is not None and not strategy.is_sweep
    holder = "" if is_shared else order.holder
    facts = asdict(replace(order, seed=0, is_continued=False, holder=holder)) | {
        "basis": basis_of(dataset, strategy, order.params)
    }
    if "fields" in order.filters:  # importing the values again may change which images match
        facts |= {"fields": list(Field.objects.filter(dataset=dataset).values_list("pk", "generation"))}
    if strategy.is_sweep:
        facts |= {"seed": order.seed if order.is_continued else 0, "n_decisions": dataset.n_decisions}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]


def _made_since(dataset: Dataset, fingerprint: str, fresh: timedelta) -> Job | None:
    done = Job.objects.filter(kind="rank", dataset_id=dataset.pk, state=Job.State.SUCCEEDED)
    recent = done.filter(finished_at__gt=clock.now() - fresh, params__fingerprint=fingerprint)
    return recent.order_by("-finished_at").first()

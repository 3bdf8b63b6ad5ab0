"""Choose the encoder of a dataset: find what is requested and available, and switch to another one."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet

from hoshina.core.errors import Refusal
from hoshina.jobs.lifecycle import enqueue
from hoshina.jobs.models import Job
from labeling.models import Dataset
from modeling import backends, store
from modeling.assistive.policy import retrain_after_embedding
from modeling.backends import Encoder, Line, timm_models
from modeling.encoders.input_spec import InputSpec
from modeling.maps.projections import maps_after_embedding
from modeling.models import IMPORTED, MAX_BACKEND, EmbeddingSet, EncoderChoice, ModelVersion


# -- Requested encoder -------------------------------------------------------------------------------
def graphs_dir() -> Path:
    """Return the folder of frozen Keras files, with a subfolder for uploaded model files."""
    return Path(settings.STORE_DIR) / "encoders"


def backend_of(dataset_id: int) -> str:
    """Return the requested encoder: the dataset's own choice, or AL_EMBEDDING_BACKEND.

    With ``auto``, a dataset whose embeddings an earlier version's ``auto`` computed keeps that encoder or fallback, and
    a dataset whose embeddings are those of one network keeps them if ``auto`` would now use two.
    """
    chosen = EncoderChoice.objects.filter(dataset=dataset_id).values_list("backend", flat=True).first()
    wanted = chosen or str(settings.EMBEDDING_BACKEND)
    if wanted != backends.AUTO:
        return wanted
    active = EmbeddingSet.objects.filter(dataset=dataset_id, is_active=True).values_list("backend", flat=True).first()
    if active == backends.OLD_BEST:
        return active
    if active in backends.WITH_ONE_NETWORK and likely(active).available and likely(wanted).backend != active:
        return active
    return backends.auto_with(active) if active in backends.OLD_FALLBACKS else wanted


def likely(backend: str) -> Line:
    """Return what an encoder's name most likely means on this machine."""
    if backend.startswith(IMPORTED):
        return Line(
            backend, backend.removeprefix(IMPORTED), True, "Imported embeddings; new images need another import."
        )
    return backends.likely(backend, settings.WEIGHTS_DIR, graphs_dir())


def survey() -> list[Line]:
    """Return every encoder and model file, and whether it can be used on this machine."""
    return backends.survey(settings.WEIGHTS_DIR, graphs_dir())


# -- Fingerprints --------------------------------------------------------------------------------------
def fingerprint_of(encoder: Encoder, spec: InputSpec) -> str:
    """Return the fingerprint of embeddings: that of the encoder, plus a key of the input unless that is the default."""
    return f"{encoder.fingerprint}-{spec.key}" if spec.key else encoder.fingerprint


def sets_as_shown(dataset: Dataset) -> QuerySet[EmbeddingSet]:
    """Return the dataset's embeddings that were computed from images as they are displayed now."""
    sets, key = EmbeddingSet.objects.filter(dataset=dataset), InputSpec.of(dataset).key
    # Imported embeddings do not depend on how images are displayed, and their fingerprints have no key.
    as_usual = sets.exclude(fingerprint__contains="-")
    if not key:
        return as_usual
    return sets.filter(fingerprint__endswith=f"-{key}") | as_usual.filter(backend__startswith=IMPORTED)


def imported_set(dataset: Dataset, backend: str) -> EmbeddingSet | None:
    """Return the newest embeddings that were imported under this name."""
    sets = EmbeddingSet.objects.filter(dataset=dataset, backend=backend, generation__gt=0)
    return sets.order_by("-updated_at").first() if backend.startswith(IMPORTED) else None


# -- Switching ---------------------------------------------------------------------------------------
def use(dataset: Dataset, backend: str, user: User | None = None) -> bool:
    """Switch to an encoder: at once if it has a complete set of embeddings, otherwise by a job.

    With an empty ``backend``, AL_EMBEDDING_BACKEND decides. While the job runs, models and queues use the existing
    embeddings. Returns whether the switch is done.

    Raises
    ------
    Refusal : it cannot be used here, or a command is computing other embeddings.
    """
    _require_usable(dataset, backend, user)
    running = embedding_job(dataset)
    if running is not None and running.params.get("backend"):
        raise Refusal(
            f"A command is computing embeddings with {running.params['backend']!r}. Wait for it, or cancel it on the "
            "Jobs page."
        )
    if backend:
        EncoderChoice.objects.update_or_create(dataset=dataset, defaults={"backend": backend})
    else:
        EncoderChoice.objects.filter(dataset=dataset).delete()
    complete = complete_set(dataset, backend_of(dataset.pk))
    if complete is None:
        # Without parameters: the job reads the choice, and a running one switches to it.
        enqueue("embed", dataset_id=dataset.pk, user=user)
        return False
    if not complete.is_active:
        activate(complete)
        retrain_after_embedding(dataset.pk)
        maps_after_embedding(dataset.pk)
    return True


def complete_set(dataset: Dataset, backend: str) -> EmbeddingSet | None:
    """Return the newest embeddings of that encoder if they cover all images, judging by their number.

    Imported ones are always complete: nothing can compute more of them.
    """
    if backend.startswith(IMPORTED):
        return imported_set(dataset, backend)
    wanted = likely(backend).backend
    n_images = max(0, dataset.n_items - dataset.n_missing)
    found = sets_as_shown(dataset).filter(backend=wanted, generation__gt=0).order_by("-updated_at").first()
    return found if found is not None and found.n_vectors + found.n_failed >= n_images else None


def activate(vectors: EmbeddingSet, *, n_failed: int | None = None) -> None:
    """Make this the set that models and queues use; the embeddings of other encoders stay on disk."""
    with transaction.atomic():
        others = EmbeddingSet.objects.filter(dataset=vectors.dataset_id, is_active=True)
        others.exclude(pk=vectors.pk).update(is_active=False)
        vectors.is_active = True
        if n_failed is not None:
            vectors.n_failed = n_failed
        vectors.save(update_fields=["is_active", "n_failed", "updated_at"])


def delete_set(vectors: EmbeddingSet) -> None:
    """Delete a set that nothing uses, with its files.

    Raises
    ------
    Refusal : it is in use, or may be written to at the moment.
    """
    if vectors.is_active:
        raise Refusal("These embeddings are in use. Use another encoder first.")
    if embedding_job(vectors.dataset) is not None:
        raise Refusal("Embeddings are being computed. Delete these when that is done.")
    reading = ModelVersion.objects.filter(embedding_set=vectors, is_active=True).first()
    if reading is not None:
        raise Refusal(f"Model {reading.number}, which is in use, was trained on these embeddings. Retrain first.")
    store.delete_vectors(vectors)
    vectors.delete()


def embedding_job(dataset: Dataset) -> Job | None:
    """Return the job that computes the dataset's embeddings, queued or running."""
    return Job.objects.filter(kind="embed", dataset_id=dataset.pk, state__in=Job.ACTIVE).first()


def _require_usable(dataset: Dataset, backend: str, user: User | None) -> None:
    if backend.startswith(IMPORTED):
        if imported_set(dataset, backend) is None:
            name = backend.removeprefix(IMPORTED)
            raise Refusal(f"There are no embeddings called {name!r}.", "Import them first, or choose an encoder.")
        return
    if backend and not backends.is_backend(backend):
        raise Refusal(f"There is no encoder {backend!r}. Choose one from the list.")
    if len(backend) > MAX_BACKEND:
        raise Refusal("The names of these encoders are too long together. Join fewer of them.")
    if user is not None and backend.startswith(timm_models.PREFIX) and ("/" in backend or "\\" in backend):
        raise Refusal(
            "Weight files are chosen by their name here.",
            "Put the file into AL_WEIGHTS_DIR, or give its path in AL_EMBEDDING_BACKEND or hoshina embed --backend.",
        )
    line = likely(backend or str(settings.EMBEDDING_BACKEND))
    if not line.available and not line.may_download:
        raise Refusal(f"{line.encoder} cannot be used here. {line.reason}")

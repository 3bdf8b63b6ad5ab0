from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import AppConfig

if TYPE_CHECKING:
    from labeling.models import Dataset


class ModelingConfig(AppConfig):
    name = "modeling"
    verbose_name = "Embeddings and models"

    def ready(self) -> None:
        from django.db.models.signals import post_delete

        import modeling.leakage.export
        import modeling.maps.export
        import modeling.versions.history  # noqa: F401  (and this)
        from hoshina.core import links
        from hoshina.jobs import upkeep
        from labeling.signals import decided, ingested, register_encoder_side, regrouped, reshown
        from modeling.assistive.policy import on_decided
        from modeling.encoders.neighbor_cache import forget_set
        from modeling.maps.coordinates import forget_projection
        from modeling.models import EmbeddingSet, Projection

        links.register(retrain="modeling:retrain", probabilities="modeling:probabilities", leakage="modeling:leakage")
        register_encoder_side(side_of)
        upkeep.register(forget_frozen_networks)
        ingested.connect(embed_new_images, dispatch_uid="modeling.embed_new_images")
        reshown.connect(embed_again, dispatch_uid="modeling.embed_again")
        regrouped.connect(forget_rows, dispatch_uid="modeling.forget_rows")
        decided.connect(on_decided, dispatch_uid="modeling.retrain_if_due")
        post_delete.connect(forget_set, sender=EmbeddingSet, dispatch_uid="modeling.forget_set")
        post_delete.connect(forget_projection, sender=Projection, dispatch_uid="modeling.forget_projection")


def side_of(dataset: Dataset) -> int | None:
    """Return the side in pixels of the square that the requested encoder takes from each file."""
    from modeling.encoders.choice import backend_of, likely

    # Not decided by the roles: these do not exist yet when the first ingest of groups starts.
    is_one_picture = bool(dataset.grouping) and dataset.composed_as.is_color
    return None if is_one_picture else likely(backend_of(dataset.pk)).side


def embed_new_images(sender: object, *, dataset_id: int, **kwargs: Any) -> None:
    """Start an embedding job after an ingest if images are new or changed, or a better encoder is available."""
    from hoshina.jobs.lifecycle import enqueue
    from labeling.models import Dataset
    from modeling.encoders.pipeline import has_work

    if has_work(Dataset.objects.get(pk=dataset_id)):
        enqueue("embed", dataset_id=dataset_id)


def embed_again(sender: object, *, dataset_id: int, **kwargs: Any) -> None:
    """Start an embedding job after the display of images was changed."""
    from hoshina.jobs.lifecycle import enqueue

    enqueue("embed", dataset_id=dataset_id)


def forget_rows(sender: object, *, dataset_id: int, **kwargs: Any) -> None:
    """Delete embeddings, models, maps and near-duplicates after all items were created anew: rows changed."""
    from modeling import store
    from modeling.leakage.files import forget
    from modeling.models import EmbeddingSet, ModelVersion, Projection
    from modeling.versions import model_files

    forget(dataset_id)
    for version in ModelVersion.objects.filter(dataset=dataset_id):
        model_files.delete_files(version)
        version.delete()
    Projection.objects.filter(dataset=dataset_id).delete()
    for vectors in EmbeddingSet.objects.filter(dataset=dataset_id):
        store.delete_vectors(vectors)
        vectors.delete()


def forget_frozen_networks() -> None:
    """Delete the networks that earlier versions froze in the store: they are assembled from their weights (ADR 46)."""
    from modeling.backends.keras_networks import NETWORKS
    from modeling.encoders.choice import graphs_dir

    for network in NETWORKS:
        for file in graphs_dir().glob(f"{network.backend}-*.tflite"):
            file.unlink(missing_ok=True)

from typing import Any

from django.apps import AppConfig


class ModelingConfig(AppConfig):
    name = "modeling"

    def ready(self) -> None:
        from django.db.models.signals import post_delete

        import modeling.exporting  # noqa: F401  (joins the export's registry)
        from labeling.signals import decided, ingested, reshown
        from modeling.graphs import forget_set
        from modeling.maps import forget_projection
        from modeling.models import EmbeddingSet, Projection
        from modeling.policy import on_decided

        ingested.connect(embed_new_images, dispatch_uid="modeling.embed_new_images")
        reshown.connect(embed_again, dispatch_uid="modeling.embed_again")
        decided.connect(on_decided, dispatch_uid="modeling.retrain_if_due")
        post_delete.connect(forget_set, sender=EmbeddingSet, dispatch_uid="modeling.forget_set")
        post_delete.connect(forget_projection, sender=Projection, dispatch_uid="modeling.forget_projection")


def embed_new_images(sender: object, *, dataset_id: int, **kwargs: Any) -> None:
    """After an ingest: vectors for what is new or changed, or by an encoder that runs here only now."""
    from hoshina.jobs.life import enqueue
    from labeling.models import Dataset
    from modeling.pipelines.embedding import has_work

    if has_work(Dataset.objects.get(pk=dataset_id)):
        enqueue("embed", dataset_id=dataset_id)


def embed_again(sender: object, *, dataset_id: int, **kwargs: Any) -> None:
    """Images are shown in another way: vectors of what is to be seen now."""
    from hoshina.jobs.life import enqueue

    enqueue("embed", dataset_id=dataset_id)

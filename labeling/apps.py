from typing import Any

from django.apps import AppConfig


class LabelingConfig(AppConfig):
    name = "labeling"
    verbose_name = "Datasets and labels"

    def ready(self) -> None:
        from django.db.models.signals import post_delete

        import labeling.fields.export  # joins the export's registry
        import labeling.history.class_changes
        import labeling.history.export  # noqa: F401  (and this)
        from hoshina.jobs import upkeep
        from labeling.fields.columns import forget_field
        from labeling.importing import uploads
        from labeling.models import Dataset, Field
        from labeling.signals import ingested, regrouped

        post_delete.connect(forget_files, sender=Dataset, dispatch_uid="labeling.forget_files")
        post_delete.connect(forget_field, sender=Field, dispatch_uid="labeling.forget_field")
        upkeep.register(uploads.forget_old)
        ingested.connect(read_new_cards, dispatch_uid="labeling.read_new_cards")
        regrouped.connect(forget_values, dispatch_uid="labeling.forget_values")


def forget_files(sender: object, *, instance: Any, **kwargs: Any) -> None:
    """Delete cached encoder inputs of a dataset that was deleted."""
    from labeling.images.decoder_pool import forget_squares

    forget_squares(instance.pk)


def read_new_cards(sender: object, *, dataset_id: int, **kwargs: Any) -> None:
    """Read the header cards that are fields from new and changed files."""
    from hoshina.jobs.lifecycle import enqueue
    from labeling.fields.header_fields import KIND, has_work
    from labeling.models import Dataset

    if has_work(Dataset.objects.get(pk=dataset_id)):
        enqueue(KIND, dataset_id=dataset_id, params={"cards": []})


def forget_values(sender: object, *, dataset_id: int, **kwargs: Any) -> None:
    """Clear the values of fields, because rows refer to other items after a regrouping."""
    from labeling.fields.columns import empty
    from labeling.models import Field

    for field in Field.objects.filter(dataset=dataset_id):
        empty(field)

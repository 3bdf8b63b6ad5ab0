from django.apps import AppConfig


class LabelingConfig(AppConfig):
    name = "labeling"

    def ready(self) -> None:
        from django.db.models.signals import post_delete

        import labeling.fields.exporting  # noqa: F401  (joins the export's registry)
        from labeling.fields.columns import forget_field
        from labeling.models import Field

        post_delete.connect(forget_field, sender=Field, dispatch_uid="labeling.forget_field")

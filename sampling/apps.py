from django.apps import AppConfig


class SamplingConfig(AppConfig):
    name = "sampling"

    def ready(self) -> None:
        from django.db.models.signals import post_delete

        import sampling.exporting  # noqa: F401  (joins the export's registry)
        from modeling.models import EmbeddingSet
        from modeling.signals import asks_for_draws, trained
        from sampling.accuracy import drawn_rows, estimate_version
        from sampling.graphs import forget_set

        trained.connect(estimate_version, dispatch_uid="sampling.estimate_version")
        asks_for_draws.connect(drawn_rows, dispatch_uid="sampling.drawn_rows")
        post_delete.connect(forget_set, sender=EmbeddingSet, dispatch_uid="sampling.forget_set")

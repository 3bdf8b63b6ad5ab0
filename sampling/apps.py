from django.apps import AppConfig


class SamplingConfig(AppConfig):
    name = "sampling"

    def ready(self) -> None:
        import sampling.exporting  # noqa: F401  (joins the export's registry)
        from modeling.signals import asks_for_draws, trained
        from sampling.accuracy import drawn_rows, estimate_version

        trained.connect(estimate_version, dispatch_uid="sampling.estimate_version")
        asks_for_draws.connect(drawn_rows, dispatch_uid="sampling.drawn_rows")

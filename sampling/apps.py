from django.apps import AppConfig


class SamplingConfig(AppConfig):
    name = "sampling"

    def ready(self) -> None:
        import sampling.exporting  # noqa: F401  (joins the export's registry)
        from modeling.signals import trained
        from sampling.accuracy import estimate_version

        trained.connect(estimate_version, dispatch_uid="sampling.estimate_version")

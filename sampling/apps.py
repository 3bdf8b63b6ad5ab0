from django.apps import AppConfig


class SamplingConfig(AppConfig):
    name = "sampling"

    def ready(self) -> None:
        import sampling.exporting  # noqa: F401  (joins the export's registry)

from django.apps import AppConfig


class HoshinaConfig(AppConfig):
    name = "hoshina"

    def ready(self) -> None:
        from hoshina import checks, lifeline

        checks.register_all()
        lifeline.watch_parent()

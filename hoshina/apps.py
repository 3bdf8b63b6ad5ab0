from django.apps import AppConfig


class HoshinaConfig(AppConfig):
    name = "hoshina"

    def ready(self) -> None:
        from hoshina import checks
        from hoshina.core import parent_watch
        from hoshina.jobs.reaper import leave

        checks.register_all()
        parent_watch.watch_parent(leave)

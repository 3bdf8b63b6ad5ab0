from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "hoshina.api"
    label = "api"
    verbose_name = "API"

    def ready(self) -> None:
        from hoshina.api.tokens import forget_expired
        from hoshina.jobs import upkeep

        upkeep.register(forget_expired)

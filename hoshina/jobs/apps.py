from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "hoshina.jobs"
    label = "jobs"
    verbose_name = "Jobs and workers"

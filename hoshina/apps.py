from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class HoshinaAdminConfig(admin_apps.AdminConfig):
    default = False
    default_site = "hoshina.web.admin_site.HoshinaAdminSite"


class HoshinaConfig(AppConfig):
    name = "hoshina"
    default = True

    def ready(self) -> None:
        from django.apps import apps
        from django.db.models.signals import post_migrate, post_save

        from hoshina import checks
        from hoshina.core import database_file, links, parent_watch, url_converters
        from hoshina.jobs import lifecycle, presence, upkeep
        from hoshina.jobs.reaper import leave
        from hoshina.web import error_reports, groups

        url_converters.register()
        links.register(disk="disk")
        database_file.watch()
        checks.register_all()
        error_reports.start()
        links.register(manage_dataset="dataset_manage")
        post_migrate.connect(groups.create_groups, sender=apps.get_app_config("sampling"), dispatch_uid="groups")
        post_save.connect(groups.add_to_labelers, sender="auth.User", dispatch_uid="hoshina.add_to_labelers")
        for function in (presence.forget_old, lifecycle.forget_old, _forget_expired_sessions):
            upkeep.register(function)
        parent_watch.watch_parent(leave)
        apps.get_app_config("auth").verbose_name = "People"
        apps.get_app_config("axes").verbose_name = "Failed sign-ins"


def _forget_expired_sessions() -> None:
    """Delete the sessions of people who did not come back."""
    from django.contrib.sessions.models import Session

    from hoshina.jobs import clock

    Session.objects.filter(expire_date__lt=clock.now()).delete()

"""Define the URLs of the site."""

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import LogoutView
from django.urls import URLResolver, include, path
from django.urls.resolvers import RoutePattern

from hoshina.core.roles import Role, requires
from hoshina.datasets import views as datasets
from hoshina.web import account, disk, pages, sign_in
from hoshina.web.docs import docs
from hoshina.web.healthz import healthz


class _LazyResolver(URLResolver):
    """Resolve addresses in a namespace whose module is imported at the first request to one of them.

    ``include()`` imports it at once, and Django's resolver when the first address of any page is reversed.
    """

    def _populate(self) -> None:
        """Do nothing: only addresses outside of namespaces are collected by the resolver above."""


urlpatterns = [
    path("", pages.home, name="home"),
    path("d/<slug:slug>/", pages.workbench, name="workbench"),
    path("healthz", healthz, name="healthz"),
    path("disk/", disk.page, name="disk"),
    path("d/<slug:slug>/manage/", datasets.page, name="dataset_manage"),
    path("d/<slug:slug>/manage/rename/", datasets.rename, name="dataset_rename"),
    path("d/<slug:slug>/manage/describe/", datasets.describe, name="dataset_describe"),
    path("d/<slug:slug>/manage/archive/", datasets.archive, name="dataset_archive"),
    path("d/<slug:slug>/manage/delete/", datasets.delete, name="dataset_delete"),
    path("docs/", docs, name="docs"),
    path("docs/<path:path>", docs, name="docs"),
    path("sign-in/", sign_in.SignInView.as_view(), name="login"),
    path("sign-in/link/<str:token>/", sign_in.local_sign_in, name="local_sign_in"),
    path("sign-in/first/<uidb64>/<token>/", sign_in.ChoosePasswordView.as_view(), name="first_sign_in"),
    path("sign-out/", login_not_required(LogoutView.as_view()), name="logout"),
    path("account/", requires(Role.LABELER)(account.AccountView.as_view()), name="account"),
    path("account/tokens/", account.tokens, name="tokens"),
    path("account/tokens/<number:pk>/revoke/", account.revoke, name="token_revoke"),
    path("account/sign-out-elsewhere/", account.sign_out_elsewhere, name="sign_out_elsewhere"),
    path("admin/", admin.site.urls),
    path("jobs/", include("hoshina.jobs.urls")),
    path("", include("sampling.urls")),
    path("", include("modeling.urls")),
    path("", include("labeling.urls")),
    # It loads libraries that pages do not need.
    _LazyResolver(RoutePattern("api/"), "hoshina.api.urls", app_name="api", namespace="api"),
]
if settings.METRICS_TOKEN:  # imports a library that nobody else needs
    from hoshina.web.metrics import metrics

    urlpatterns.append(path("metrics", metrics, name="metrics"))

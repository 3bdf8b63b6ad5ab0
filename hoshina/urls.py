"""Define the URLs of the site."""

from django.contrib import admin
from django.contrib.auth import views as auth_views
from django.urls import include, path

from hoshina.jobs.views import healthz
from hoshina.web import pages
from hoshina.web.docs import docs
from hoshina.web.first_sign_in import FirstSignInView

admin.site.site_header = admin.site.site_title = "HOSHINA"
admin.site.index_title = "The data of record"

urlpatterns = [
    path("", pages.home, name="home"),
    path("d/<slug:slug>/", pages.workbench, name="workbench"),
    path("healthz", healthz, name="healthz"),
    path("docs/", docs, name="docs"),
    path("docs/<path:path>", docs, name="docs"),
    path("sign-in/", auth_views.LoginView.as_view(), name="login"),
    path("sign-in/first/<uidb64>/<token>/", FirstSignInView.as_view(), name="first_sign_in"),
    path("sign-out/", auth_views.LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
    path("jobs/", include("hoshina.jobs.urls")),
    path("", include("sampling.urls")),
    path("", include("modeling.urls")),
    path("", include("labeling.urls")),
]

from django.urls import path

from hoshina.jobs import views

app_name = "jobs"
urlpatterns = [
    path("", views.page, name="page"),
    path("list/", views.job_list, name="list"),
    path("strip/<number:dataset_id>/", views.strip, name="strip"),
    path("<uuid:pk>/cancel/", views.cancel, name="cancel"),
    path("<uuid:pk>/retry/", views.retry, name="retry"),
]

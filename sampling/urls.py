from django.urls import path

from sampling import views

app_name = "sampling"
urlpatterns = [
    path("d/<slug:slug>/grid/", views.grid, name="grid"),
    path("d/<slug:slug>/queues/", views.queues, name="queues"),
]

from django.urls import path

from sampling import accuracy_views, views

app_name = "sampling"
urlpatterns = [
    path("d/<slug:slug>/grid/", views.grid, name="grid"),
    path("d/<slug:slug>/queues/", views.queues, name="queues"),
    path("d/<slug:slug>/accuracy/", accuracy_views.page, name="accuracy"),
    path("d/<slug:slug>/accuracy/honest/", accuracy_views.honest, name="honest"),
    path("d/<slug:slug>/accuracy/plot/", accuracy_views.accuracy_plot, name="plot"),
    path("d/<slug:slug>/accuracy/share/", accuracy_views.share, name="share"),
]

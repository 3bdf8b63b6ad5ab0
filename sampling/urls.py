from django.urls import path

from sampling.accuracy import views as accuracy_views
from sampling.maps import manage_views
from sampling.maps import views as map_views
from sampling.queues import lease_views
from sampling.queues import views as queue_views

app_name = "sampling"
urlpatterns = [
    path("d/<slug:slug>/grid/", queue_views.grid, name="grid"),
    path("d/<slug:slug>/queues/", queue_views.queues, name="queues"),
    path("d/<slug:slug>/queues/field/", queue_views.field, name="field"),
    path("d/<slug:slug>/leases/renew/", lease_views.renew, name="leases_renew"),
    path("d/<slug:slug>/leases/release/", lease_views.release, name="leases_release"),
    path("d/<slug:slug>/accuracy/", accuracy_views.page, name="accuracy"),
    path("d/<slug:slug>/accuracy/honest/", accuracy_views.honest, name="honest"),
    path("d/<slug:slug>/accuracy/plot/", accuracy_views.accuracy_plot, name="plot"),
    path("d/<slug:slug>/accuracy/share/", accuracy_views.share, name="share"),
    path("d/<slug:slug>/map/", map_views.page, name="map"),
    path("d/<slug:slug>/map/list/", manage_views.maps, name="map_projections"),
    path("d/<slug:slug>/map/make/", manage_views.make, name="map_make"),
    path("d/<slug:slug>/map/<number:pk>/rename/", manage_views.rename, name="map_rename"),
    path("d/<slug:slug>/map/<number:pk>/delete/", manage_views.delete, name="map_delete"),
    path("d/<slug:slug>/map/<number:pk>/points/", map_views.points, name="map_points"),
    path("d/<slug:slug>/map/<number:pk>/colours/", map_views.colours, name="map_colours"),
    path("d/<slug:slug>/map/<number:pk>/changes/", map_views.changes, name="map_changes"),
    path("d/<slug:slug>/map/<number:pk>/legend/", map_views.legend, name="map_legend"),
    path("d/<slug:slug>/map/<number:pk>/clusters/", map_views.clusters, name="map_clusters"),
    path("d/<slug:slug>/map/<number:pk>/clusters/list/", map_views.clusters_list, name="map_clusters_list"),
    path("d/<slug:slug>/map/<number:pk>/at/", map_views.at, name="map_at"),
    path("d/<slug:slug>/map/<number:pk>/thumbs/", map_views.thumbs, name="map_thumbs"),
]

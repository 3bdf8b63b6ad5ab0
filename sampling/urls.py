from django.urls import path

from sampling.accuracy import views as accuracy_views
from sampling.classes import views as class_views
from sampling.compare import views as compare_views
from sampling.guide import views as guide_views
from sampling.maps import manage_views
from sampling.maps import views as map_views
from sampling.queues import example_views, lease_views, search_views, view_views
from sampling.queues import views as queue_views
from sampling.results import views as result_views

app_name = "sampling"
urlpatterns = [
    path("d/<slug:slug>/grid/", queue_views.grid, name="grid"),
    path("d/<slug:slug>/queues/", queue_views.queues, name="queues"),
    path("d/<slug:slug>/queues/unlike/", queue_views.unlike_groups, name="unlike_groups"),
    path("d/<slug:slug>/queues/field/", queue_views.field, name="field"),
    path("d/<slug:slug>/search/", search_views.search, name="search"),
    path("d/<slug:slug>/views/save/", view_views.save, name="view_save"),
    path("d/<slug:slug>/views/<number:pk>/delete/", view_views.delete, name="view_delete"),
    path("d/<slug:slug>/examples/", example_views.upload, name="example_upload"),
    path("d/<slug:slug>/examples/<str:name>/", example_views.picture, name="example"),
    path("d/<slug:slug>/leases/renew/", lease_views.renew, name="leases_renew"),
    path("d/<slug:slug>/leases/release/", lease_views.release, name="leases_release"),
    path("d/<slug:slug>/classes/<number:pk>/split/", class_views.page, name="class_split"),
    path("d/<slug:slug>/classes/<number:pk>/split/state/", class_views.state, name="class_split_state"),
    path("d/<slug:slug>/classes/<number:pk>/split/propose/", class_views.propose, name="class_split_propose"),
    path("d/<slug:slug>/classes/<number:pk>/split/preview/", class_views.preview, name="class_split_preview"),
    path("d/<slug:slug>/classes/<number:pk>/split/apply/", class_views.apply, name="class_split_apply"),
    path("d/<slug:slug>/classes/<number:pk>/split/learn/", class_views.learn, name="class_split_learn"),
    path("d/<slug:slug>/classes/<number:pk>/split/update/", class_views.update, name="class_split_update"),
    path("d/<slug:slug>/classes/<number:pk>/split/undo/", class_views.undo, name="class_split_undo"),
    path("d/<slug:slug>/classes/<number:pk>/split/close/", class_views.close, name="class_split_close"),
    path("d/<slug:slug>/classes/<number:pk>/merge-preview/", class_views.merge_preview, name="merge_preview"),
    path("d/<slug:slug>/review/<number:pk>/progress/", class_views.progress, name="review_progress"),
    path("d/<slug:slug>/results/", result_views.page, name="results"),
    path("d/<slug:slug>/classes/<number:pk>/guide/suggestions/", guide_views.suggestions, name="guide_suggestions"),
    path("d/<slug:slug>/items/<number:row>/guide/", guide_views.item_guide, name="item_guide"),
    path("d/<slug:slug>/items/<number:row>/compare/", compare_views.comparison, name="compare"),
    path("d/<slug:slug>/accuracy/", accuracy_views.page, name="accuracy"),
    path("d/<slug:slug>/accuracy/honest/", accuracy_views.honest, name="honest"),
    path("d/<slug:slug>/accuracy/audit/", accuracy_views.audit_progress, name="audit_progress"),
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

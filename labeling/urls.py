from django.urls import path

from labeling.views import annotating, classes, composites, datasets, exchange, fields, images, items, media, workbench

app_name = "labeling"
urlpatterns = [
    path("datasets/", datasets.index, name="datasets"),
    path("d/<slug:slug>/", workbench.page, name="workbench"),
    path("d/<slug:slug>/header/", workbench.header, name="header"),
    path("d/<slug:slug>/annotate/", annotating.annotate, name="annotate"),
    path("d/<slug:slug>/items/<int:row>/", items.page, name="item"),
    path("d/<slug:slug>/items/<int:row>/detail/", items.detail, name="detail"),
    path("d/<slug:slug>/classes/", classes.page, name="classes"),
    path("d/<slug:slug>/classes/list/", classes.class_list, name="class_list"),
    path("d/<slug:slug>/classes/add/", classes.add, name="class_add"),
    path("d/<slug:slug>/classes/<int:pk>/edit/", classes.edit, name="class_edit"),
    path("d/<slug:slug>/classes/<int:pk>/move/", classes.move, name="class_move"),
    path("d/<slug:slug>/classes/<int:pk>/merge/", classes.merge, name="class_merge"),
    path("d/<slug:slug>/classes/<int:pk>/delete/", classes.delete, name="class_delete"),
    path("d/<slug:slug>/images/", images.page, name="images"),
    path("d/<slug:slug>/images/preview/", images.preview, name="images_preview"),
    path("d/<slug:slug>/fields/", fields.page, name="fields"),
    path("d/<slug:slug>/fields/list/", fields.field_list, name="field_list"),
    path("d/<slug:slug>/fields/cards/", fields.cards, name="field_cards"),
    path("d/<slug:slug>/fields/<int:pk>/edit/", fields.edit, name="field_edit"),
    path("d/<slug:slug>/fields/<int:pk>/delete/", fields.delete, name="field_delete"),
    path("d/<slug:slug>/problems/", datasets.problems, name="problems"),
    path("d/<slug:slug>/problems/read-again/", datasets.read_again, name="read_again"),
    path("d/<slug:slug>/look-again/", datasets.look_again, name="look_again"),
    path("d/<slug:slug>/watch/", datasets.watch, name="watch"),
    path("d/<slug:slug>/export/", exchange.export_page, name="export"),
    path("d/<slug:slug>/export.zip", exchange.export_zip, name="export_zip"),
    path("d/<slug:slug>/import/", exchange.import_labels, name="import"),
    path("media/<int:frame_id>/thumbnail/<int:size>/", media.thumbnail, name="thumbnail"),
    path("media/<int:frame_id>/rendered/", images.picture, name="rendered"),
    path("media/<int:frame_id>/header/", items.file_header, name="file_header"),
    path("media/items/<int:item_id>/colour/<int:size>/", composites.colour, name="colour"),
    path("media/<int:frame_id>/full/", media.full, name="full"),
]

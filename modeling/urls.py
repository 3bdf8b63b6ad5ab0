from django.urls import path

from modeling.assistive import views as assistive_views
from modeling.encoders import views as encoder_views
from modeling.external import views as external_views
from modeling.leakage import views as leakage_views
from modeling.quick import views as quick_views
from modeling.versions import views as version_views

app_name = "modeling"
urlpatterns = [
    path("d/<slug:slug>/model/", version_views.page, name="model"),
    path("d/<slug:slug>/model/<number:number>/", version_views.version, name="version"),
    path("d/<slug:slug>/model/<number:number>/head/", version_views.head, name="head"),
    path("d/<slug:slug>/model/<number:number>/use/", version_views.use, name="use"),
    path("d/<slug:slug>/model/<number:number>/release/", version_views.release, name="release"),
    path("d/<slug:slug>/model/versions/", version_views.version_list, name="versions"),
    path("d/<slug:slug>/model/import/", external_views.predictions, name="predictions"),
    path("d/<slug:slug>/model/compare/", version_views.compare, name="compare"),
    path("d/<slug:slug>/model/badge/", assistive_views.badge, name="badge"),
    path("d/<slug:slug>/model/retrain/", assistive_views.retrain, name="retrain"),
    path("d/<slug:slug>/model/policy/", assistive_views.policy, name="policy"),
    path("d/<slug:slug>/model/embed/", assistive_views.embed, name="embed"),
    path("d/<slug:slug>/leakage/", leakage_views.leakage, name="leakage"),
    path("d/<slug:slug>/near-duplicates/", leakage_views.near_duplicates, name="near_duplicates"),
    path("d/<slug:slug>/encoders/", encoder_views.page, name="encoders"),
    path("d/<slug:slug>/encoders/use/", encoder_views.use, name="encoder_use"),
    path("d/<slug:slug>/encoders/timm/", encoder_views.look_up, name="encoder_look_up"),
    path("d/<slug:slug>/encoders/refit/", encoder_views.refit, name="encoder_refit"),
    path("d/<slug:slug>/encoders/add/", encoder_views.add, name="encoder_add"),
    path("d/<slug:slug>/encoders/remove/", encoder_views.remove, name="encoder_remove"),
    path("d/<slug:slug>/encoders/import/", external_views.embeddings, name="embeddings"),
    path("d/<slug:slug>/encoders/<number:pk>/delete/", encoder_views.delete, name="encoder_delete"),
    path("d/<slug:slug>/quick/", quick_views.quick_page, name="quick"),
    path("d/<slug:slug>/quick/check/", quick_views.check, name="quick_check"),
    path("d/<slug:slug>/quick/samples.png", quick_views.samples, name="quick_samples"),
    path("d/<slug:slug>/quick/<uuid:pk>/", quick_views.live, name="quick_live"),
    path("d/<slug:slug>/quick/<uuid:pk>/finish/", quick_views.finish, name="quick_finish"),
    path("d/<slug:slug>/model/<number:number>/embed/", quick_views.embed_with, name="quick_embed"),
    path("d/<slug:slug>/model/<number:number>/files/<str:name>", quick_views.model_file, name="quick_file"),
    path("d/<slug:slug>/items/<number:row>/probabilities/", assistive_views.probabilities, name="probabilities"),
]

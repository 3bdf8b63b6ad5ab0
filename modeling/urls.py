from django.urls import path

from modeling.views import encoders, model, quick, versions

app_name = "modeling"
urlpatterns = [
    path("d/<slug:slug>/model/", versions.page, name="model"),
    path("d/<slug:slug>/model/<int:number>/", versions.version, name="version"),
    path("d/<slug:slug>/model/<int:number>/head/", versions.head, name="head"),
    path("d/<slug:slug>/model/<int:number>/use/", versions.use, name="use"),
    path("d/<slug:slug>/model/<int:number>/release/", versions.release, name="release"),
    path("d/<slug:slug>/model/versions/", versions.version_list, name="versions"),
    path("d/<slug:slug>/model/compare/", versions.compare, name="compare"),
    path("d/<slug:slug>/model/badge/", model.badge, name="badge"),
    path("d/<slug:slug>/model/retrain/", model.retrain, name="retrain"),
    path("d/<slug:slug>/model/policy/", model.policy, name="policy"),
    path("d/<slug:slug>/model/embed/", model.embed, name="embed"),
    path("d/<slug:slug>/encoders/", encoders.page, name="encoders"),
    path("d/<slug:slug>/encoders/use/", encoders.use, name="encoder_use"),
    path("d/<slug:slug>/encoders/add/", encoders.add, name="encoder_add"),
    path("d/<slug:slug>/encoders/remove/", encoders.remove, name="encoder_remove"),
    path("d/<slug:slug>/encoders/<int:pk>/delete/", encoders.delete, name="encoder_delete"),
    path("d/<slug:slug>/quick/", quick.quick_page, name="quick"),
    path("d/<slug:slug>/quick/check/", quick.check, name="quick_check"),
    path("d/<slug:slug>/quick/samples.png", quick.samples, name="quick_samples"),
    path("d/<slug:slug>/quick/<uuid:pk>/", quick.live, name="quick_live"),
    path("d/<slug:slug>/quick/<uuid:pk>/finish/", quick.finish, name="quick_finish"),
    path("d/<slug:slug>/model/<int:number>/embed/", quick.embed_with, name="quick_embed"),
    path("d/<slug:slug>/model/<int:number>/files/<str:name>", quick.model_file, name="quick_file"),
    path("d/<slug:slug>/items/<int:row>/probabilities/", model.probabilities, name="probabilities"),
]

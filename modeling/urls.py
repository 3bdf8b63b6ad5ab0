from django.urls import path

from modeling.views import model, quick

app_name = "modeling"
urlpatterns = [
    path("d/<slug:slug>/model/", model.page, name="model"),
    path("d/<slug:slug>/model/badge/", model.badge, name="badge"),
    path("d/<slug:slug>/model/retrain/", model.retrain, name="retrain"),
    path("d/<slug:slug>/model/policy/", model.policy, name="policy"),
    path("d/<slug:slug>/model/embed/", model.embed, name="embed"),
    path("d/<slug:slug>/quick/", quick.quick_page, name="quick"),
    path("d/<slug:slug>/quick/check/", quick.check, name="quick_check"),
    path("d/<slug:slug>/quick/samples.png", quick.samples, name="quick_samples"),
    path("d/<slug:slug>/quick/<uuid:pk>/", quick.live, name="quick_live"),
    path("d/<slug:slug>/quick/<uuid:pk>/finish/", quick.finish, name="quick_finish"),
    path("d/<slug:slug>/model/<int:number>/embed/", quick.embed_with, name="quick_embed"),
    path("d/<slug:slug>/model/<int:number>/files/<str:name>", quick.model_file, name="quick_file"),
    path("d/<slug:slug>/items/<int:row>/probabilities/", model.probabilities, name="probabilities"),
]

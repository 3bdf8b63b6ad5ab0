from django.urls import path

from modeling.views import model

app_name = "modeling"
urlpatterns = [
    path("d/<slug:slug>/model/", model.page, name="model"),
    path("d/<slug:slug>/model/badge/", model.badge, name="badge"),
    path("d/<slug:slug>/model/retrain/", model.retrain, name="retrain"),
    path("d/<slug:slug>/model/policy/", model.policy, name="policy"),
    path("d/<slug:slug>/model/embed/", model.embed, name="embed"),
    path("d/<slug:slug>/items/<int:row>/probabilities/", model.probabilities, name="probabilities"),
]

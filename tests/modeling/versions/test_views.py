"""The model's page: every version with what is known of it, two side by side, and any of them in use again."""

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.test import Client

from hoshina.core.errors import Refusal
from hoshina.jobs.lifecycle import enqueue, run_now
from hoshina.jobs.models import Job
from labeling.decisions.save import Decision, record_import
from labeling.models import Dataset, Item, LabelClass, State
from modeling import store as arrays
from modeling.assistive import policy
from modeling.assistive.policy import retrain_after_embedding
from modeling.models import EmbeddingSet, ModelVersion, RetrainPolicy
from modeling.predictions import active_model, held_out_of
from modeling.versions import active as active_version
from modeling.versions import model_files
from modeling.versions.comparison import changes, shared
from modeling.versions.facts import classes_of, survivors
from sampling.models import AccuracyEstimate
from tests.factories import MakeDataset, assert_contains, call_after, count_queries, fresh, not_none, said
from tests.modeling.factories import add_vectors, decide_rows, import_labels, two_clouds

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]
PAGE = "/d/pictures/model/"


def words(client: Client, url: str) -> str:
    return unescape(said(client.get(url), 200))


def some_versions(dataset: Dataset, n: int) -> list[ModelVersion]:
    """Return rows as retrains leave them, without files; the newest is in use."""
    class_ids = list(dataset.classes.values_list("pk", flat=True))
    bins = [{"confidence": 0.8, "accuracy": 0.75, "lower": 0.6, "upper": 0.9, "count": 20}]
    made = [
        ModelVersion(
            dataset=dataset, number=number, class_ids=class_ids, n_labels=10 * number, n_rows=3, n_decisions=0,
            is_calibrated=True, calibration_note="calibrated on 20 held-out labels", is_active=number == n,
            metrics={
                "accuracy": 0.75, "accuracy_interval": [0.6, 0.9], "ece_before": 0.2, "ece_after": 0.1,
                "log_loss_before": 0.6, "log_loss_after": 0.5, "precision": [0.75, None], "recall": [0.6, 0.0],
                "confusion": [[3 * number, 2 * number], [5 * number, 0]], "reliability": bins,
            },
        )
        for number in range(1, n + 1)
    ]  # fmt: skip
    ModelVersion.objects.bulk_create(made)
    return made


def trained(dataset: Dataset, *sizes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a version for each number of labels, by real retrains on two clouds that overlap."""
    X, y = two_clouds(dataset.n_items)
    X = (X - 1.2 * y[:, None]).astype(np.float32)  # nearer to each other, so that some are confused
    if not EmbeddingSet.objects.filter(dataset=dataset).exists():
        add_vectors(dataset, X)
    for size in sizes:
        import_labels(dataset, list(range(size)), y)
        run_now("retrain", dataset_id=dataset.pk)
    return X, y


# -- Pages ----------------------------------------------------------------------------------------
def test_a_versions_page_is_the_models_page_for_it(make_dataset: MakeDataset, client: Client) -> None:
    trained(make_dataset(120), 40, 80)
    newest, first = words(client, PAGE), words(client, f"{PAGE}1/")
    assert "Model 2 ? Help: accuracy and calibration (new tab) in use" in newest
    assert_contains(newest, "Trained on 80 labels of 2 classes", "Since model 1", lacks=["Use this version"])
    assert_contains(first, "Model 2 is in use. Show it", "Trained on 40 labels of 2 classes", "The first version")
    assert "Use this version" in first
    assert words(client, f"{PAGE}2/") == newest


@pytest.mark.parametrize("path", ["3/", "3/head/", "compare/?a=1&b=3", "compare/?a=x&b=1", "compare/", "?before=x"])
def test_what_does_not_exist_is_not_found(make_dataset: MakeDataset, client: Client, path: str) -> None:
    some_versions(make_dataset(3), 2)
    some_versions(make_dataset(3, name="other"), 3)
    assert client.get(PAGE + path).status_code == 404
    assert client.get(f"/d/nowhere/model/{path}").status_code == 404


@pytest.mark.parametrize("path", ["1/use/", "1/release/"])
def test_putting_in_use_is_posted(make_dataset: MakeDataset, client: Client, path: str) -> None:
    some_versions(make_dataset(3), 2)
    assert client.get(PAGE + path).status_code == 405
    assert client.post(f"{PAGE}7/use/").status_code == 404
    assert client.post("/d/nowhere/model/1/use/").status_code == 404


def test_every_fragment_asks_to_sign_in_as_the_page_does(
    make_dataset: MakeDataset, client: Client, settings: Any
) -> None:
    settings.LOGIN_REQUIRED = True
    some_versions(make_dataset(3), 2)
    fragments = ("", "1/", "1/head/", "versions/", "compare/?a=1&b=2")
    every = [*(PAGE + fragment for fragment in fragments), "/d/pictures/accuracy/plot/"]
    for url in every:
        assert client.get(url).status_code == 302, url
        assert client.get(url, headers={"HX-Request": "true"}).status_code == 401, url
    for url in (f"{PAGE}1/use/", f"{PAGE}2/release/"):
        assert client.post(url).status_code == 401, url
    assert ModelVersion.objects.get(is_active=True).number == 2
    client.force_login(User.objects.create(username="ana"))
    assert all(client.get(url).status_code in {200, 204} for url in every)


@pytest.mark.parametrize("path", ["", "2/", "2/head/", "versions/", "compare/?a=2&b=3"])
def test_queries_do_not_grow_with_versions_or_items(make_dataset: MakeDataset, client: Client, path: str) -> None:
    make_dataset(1)
    client.get(PAGE)  # the first answer of a process asks more
    counted = []
    for name, n in (("few", 3), ("many", 70)):
        some_versions(make_dataset(5 * n, name=name), n)
        RetrainPolicy.objects.create(dataset=Dataset.objects.get(name=name))
        counted.append(count_queries(words, client, f"/d/{name}/model/{path}"))
    assert counted[0] == counted[1] < 30


def test_the_table_goes_down_by_pages(make_dataset: MakeDataset, client: Client) -> None:
    some_versions(make_dataset(3), 120)
    seen: list[int] = []
    url = f"{PAGE}versions/"
    for page in range(3):
        html = client.get(url).content.decode()
        found = [int(number) for number in re.findall(r'Version </span><a href="/d/pictures/model/(\d+)/"', html)]
        assert len(found) == (50, 50, 20)[page]
        seen += found
        following = re.search(r'hx-get="([^"]+before=\d+)" hx-target', html)
        assert bool(following) == (page < 2)
        url = following[1] if following else ""
    assert seen == list(range(120, 0, -1))
    assert "in use" in client.get(f"{PAGE}versions/").content.decode()
    whole = client.get(f"{PAGE}?before=71").content.decode()
    assert 'href="/d/pictures/model/70/"' in whole, "the same address without htmx"


def test_the_plots_show_the_newest_and_say_so(make_dataset: MakeDataset, client: Client) -> None:
    some_versions(make_dataset(3), 130)
    shown = client.get(PAGE).content.decode()
    assert "The newest 100 versions; the table lists all of them." in shown
    assert shown.count('data-tooltip="Model 130, 1,300 labels') == 5, "accuracy, ECE twice, labels, learning curve"
    assert 'data-tooltip="Model 30,' not in shown


# -- Words for what is missing --------------------------------------------------------------------
def test_words_for_a_version_that_could_hold_nothing_out(make_dataset: MakeDataset, client: Client) -> None:
    trained(make_dataset(40), 10)
    shown = words(client, PAGE)
    assert_contains(shown, "too few labels", "Held-out accuracy not known yet", "Reliability Not available")
    assert_contains(shown, "Confusion Not available", "The curve starts at 20 labels")
    trained(Dataset.objects.get(), 30)
    shown = words(client, PAGE)
    assert "so they can't be compared" in shown
    assert "20 labels more, 0 fewer by class; changes of single labels were not recorded." in shown


def test_an_older_version_lacks_measures_and_is_shown_all_the_same(make_dataset: MakeDataset, client: Client) -> None:
    version = some_versions(make_dataset(3), 1)[0]
    shown = words(client, PAGE)
    assert "cat 5 75.0 % 60.0 % 66.7 % dog 2" in shown, "labels and F1 follow from the confusions"
    assert "dog 5 0.0 % 0.0 % cat 5" in shown
    version.metrics = {"accuracy": None}
    version.save()
    assert "Trained on 10 labels" in words(client, PAGE)
    ModelVersion.objects.update(metrics={})
    assert "Trained on 10 labels" in words(client, PAGE)


def test_classes_of_yesterday_are_named_as_what_became_of_them(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(120, classes=("cat", "dog", "wolf"))
    trained(dataset, 40, 80)
    cat, dog, wolf = dataset.classes.all()
    LabelClass.objects.filter(pk=cat.pk).update(is_retired=True)
    LabelClass.objects.filter(pk=dog.pk).update(is_retired=True, merged_into=wolf)
    assert_contains(words(client, PAGE), "cat (deleted)", "dog (now wolf)")
    assert "cat (deleted)" in words(client, f"{PAGE}compare/?a=1&b=2")
    Item.objects.update(label=None, state=State.UNLABELLED)
    ModelVersion.objects.update(class_ids=[cat.pk, 999])
    assert "deleted" in words(client, PAGE), "its row is gone as well"


def test_before_there_is_a_model_the_next_step_is_said(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(40)
    assert "The images have no embeddings yet" in words(client, PAGE)
    X, y = two_clouds(40)
    add_vectors(dataset, X)
    assert "Label at least one image in each of two classes" in words(client, PAGE)
    import_labels(dataset, list(range(20)), y)
    assert "2 classes have labels to train on" in words(client, PAGE)


# -- What changed ---------------------------------------------------------------------------------
def test_labels_that_came_went_and_changed_are_counted_by_class(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(120, classes=("cat", "dog", "wolf"))
    _, y = trained(dataset, 60)
    ids = dict(dataset.items.values_list("row", "pk"))
    cat, dog, wolf = dataset.classes.all()
    dogs = [row for row in range(60) if y[row] == 1]
    cats = [row for row in range(60) if y[row] == 0]
    decisions = [Decision(ids[row], State.LABELLED, wolf.pk) for row in dogs[:4]]
    decisions += [Decision(ids[row], State.UNSURE, None) for row in cats[:3]]
    decisions += [Decision(ids[row], State.LABELLED, cat.pk) for row in range(60, 70)]
    record_import(dataset, decisions, None)
    run_now("retrain", dataset_id=dataset.pk)
    before, after = ModelVersion.objects.order_by("number")
    told = not_none(changes(before, after, survivors(classes_of(dataset))))
    assert told.is_exact
    counted = [
        (line.label, line.before, line.added, line.gained, line.lost, line.removed, line.after) for line in told.lines
    ]
    assert counted == [
        (cat, len(cats), 10, 0, 0, 3, len(cats) + 7),
        (dog, len(dogs), 0, 0, 4, 0, len(dogs) - 4),
        (wolf, 0, 0, 4, 0, 0, 4),
    ]
    assert_contains(words(client, PAGE), "10 labels added, 4 changed, 3 removed.", "Classes without wolf → with wolf")
    for line in told.lines:
        assert line.before + line.added + line.gained - line.lost - line.removed == line.after


def test_the_difference_is_that_of_the_images_that_both_held_out(make_dataset: MakeDataset, client: Client) -> None:
    trained(make_dataset(160), 60, 140)
    first, second = ModelVersion.objects.order_by("number")
    one, two = not_none(held_out_of(first)), not_none(held_out_of(second))
    said = dict(zip(two.rows.tolist(), zip(two.given.tolist(), two.predicted().tolist(), strict=True), strict=True))
    pairs = [
        (predicted == said[row][0], said[row][1] == said[row][0])
        for row, predicted in zip(one.rows.tolist(), one.predicted().tolist(), strict=True)
    ]
    both = not_none(shared(first, second))
    told = both.paired()
    assert told.n == len(pairs) == 60
    assert (told.only_first, told.only_second) == (pairs.count((True, False)), pairs.count((False, True)))
    assert told.only_first + told.only_second > 0, "otherwise this shows little"
    assert not_none(shared(second, first)).paired().difference == -told.difference
    shown = words(client, f"{PAGE}compare/?a=1&b=2")
    low, high = told.interval()
    assert f"model 1 {told.first:.1%}, model 2 {told.second:.1%}".replace("%", " %") in shown
    assert f"{abs(100 * told.difference):.1f} points , 95 % interval" in shown
    assert f"{abs(100 * low):.1f} points to" in shown
    assert_contains(shown, f"{abs(100 * high):.1f} points on the 60 images that both held out", "Models 1 and 2")
    assert "Labels 60 140" in shown


def test_a_label_changed_since_is_judged_as_it_is_now(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(120)
    _, y = trained(dataset, 60)
    y = y.copy()
    y[7] = 1 - y[7]
    import_labels(dataset, [7], y)
    run_now("retrain", dataset_id=dataset.pk)
    first, second = ModelVersion.objects.order_by("number")
    both = not_none(shared(first, second))
    classes = list(dataset.classes.values_list("pk", flat=True))
    assert both.given[both.rows == 7].tolist() == [classes[y[7]]]


def test_a_version_beside_itself(make_dataset: MakeDataset, client: Client) -> None:
    some_versions(make_dataset(3), 1)
    assert "The same version twice" in words(client, f"{PAGE}compare/?a=1&b=1")


def test_versions_of_quick_training_show_their_options_curves_and_files(
    make_dataset: MakeDataset, client: Client
) -> None:
    version = some_versions(make_dataset(3), 2)[1]
    version.kind = ModelVersion.Kind.QUICK
    version.options = {"backbone": "mobilenet_v2", "is_fine_tuned": True, "validation_share": 0.2, "is_used": False}
    version.metrics |= {
        "epochs": [{"epoch": n, "loss": 1 / n, "accuracy": 0.5, "val_loss": 2 / n, "val_accuracy": 0.4} for n in (1, 2)]
    }
    version.save()
    folder = model_files.folder_of(version) / "quick"
    folder.mkdir(parents=True)
    (folder / "model.tflite").write_bytes(b"model")
    html = client.get(PAGE).content.decode()
    shown = words(client, PAGE)
    assert_contains(shown, "quick training", "Network MobileNetV2 Fine-tune yes Held out 20 %")
    assert "as soon as it is trained" not in shown
    assert "epoch 2 validation: 1.000" in html.replace("\n", " ")
    assert 'href="/d/pictures/model/2/files/model.tflite"' in html
    assert "Kind assistive → quick training" in shown


def test_a_quick_training_that_held_out_a_part_took_no_label_away(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(80)
    trained(dataset, 60, 70)
    newest = ModelVersion.objects.get(number=2)
    held = not_none(model_files.open_held_out(newest))
    part = slice(0, 10)
    model_files.save_held_out(
        newest, model_files.HeldOut(held.rows[part], held.columns[part], held.probabilities[part])
    )
    ModelVersion.objects.filter(pk=newest.pk).update(kind="quick", options={"backbone": "mobilenet_v2"})
    shown = words(client, PAGE)
    assert "10 labels more, 0 fewer by class; changes of single labels were not recorded" in shown
    assert "as usual →" not in shown


# -- In use again ---------------------------------------------------------------------------------
def test_an_older_version_is_put_in_use_at_once_and_stays(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(100)
    _, y = trained(dataset, 40, 60)
    answer = client.post(f"{PAGE}1/use/")
    assert answer.headers["HX-Refresh"] == "true"
    model = not_none(active_model(dataset))
    assert (model.number, model.is_chosen) == (1, True)
    shown = words(client, PAGE)
    assert "Model 1 ? Help: accuracy and calibration (new tab) in use chosen" in shown
    assert "Model 1 is in use because you chose it. Automatic retraining is paused." in shown
    assert "in use, chosen" in shown, "the table"
    assert "retraining paused" in words(client, f"{PAGE}badge/")
    assert "Model 1 is in use because you chose it" in words(client, f"{PAGE}2/head/")
    decide_rows(dataset, list(range(60, 95)), y)
    assert not Job.objects.filter(kind="retrain", state__in=Job.ACTIVE).exists()

    answer = client.post(f"{PAGE}1/release/")
    assert "because you chose it" not in answer.content.decode()
    assert Job.objects.filter(kind="retrain", state=Job.State.QUEUED).count() == 1, "it was due meanwhile"
    model = not_none(active_model(dataset))
    assert (model.number, model.is_chosen) == (1, False)
    run_now("retrain", dataset_id=dataset.pk)
    model = not_none(active_model(dataset))
    assert (model.number, model.is_chosen) == (3, False)


def test_without_automatic_retraining_nothing_is_to_be_resumed(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(3)
    some_versions(dataset, 2)
    ModelVersion.objects.filter(number=2).update(is_chosen=True)
    RetrainPolicy.objects.create(dataset=dataset, is_automatic=False)
    shown = words(client, PAGE)
    assert_contains(shown, "Model 2 is in use because you chose it. To retrain, press R.", lacks=["Resume"])


def test_predictions_that_were_given_back_are_computed_again(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(100)
    trained(dataset, 40, 60)
    first = ModelVersion.objects.get(number=1)
    before = np.array(model_files.open_probabilities(first))
    model_files.delete_probabilities(first)
    answer = client.post(f"{PAGE}1/use/")
    assert "is predicting every image again and will be used when that is done" in answer.content.decode()
    assert "hoshina:job" in answer.headers["HX-Trigger"]
    client.post(f"{PAGE}1/use/")
    assert Job.objects.filter(kind="predict").count() == 1
    model = not_none(active_model(dataset))
    assert model.number == 2, "until then"
    job = run_now("predict", dataset_id=dataset.pk, params={"version": 1, "is_refresh": False})
    assert job.result == {"model_version": 1, "items": 100}
    model = not_none(active_model(dataset))
    assert (model.number, model.is_chosen) == (1, True)
    np.testing.assert_allclose(model_files.open_probabilities(model), before, atol=1e-6)
    assert "Model 1 ? Help: accuracy and calibration (new tab) in use chosen" in words(client, f"{PAGE}1/head/")


@pytest.mark.parametrize("calibration", ["platt", "vector"])
def test_they_are_calibrated_as_they_were(make_dataset: MakeDataset, calibration: str) -> None:
    dataset = make_dataset(160)
    _, y = trained(dataset)
    RetrainPolicy.objects.update_or_create(dataset=dataset, defaults={"calibration": calibration})
    import_labels(dataset, list(range(140)), y)
    run_now("retrain", dataset_id=dataset.pk)
    version = ModelVersion.objects.get()
    before = np.array(model_files.open_probabilities(version))
    model_files.delete_probabilities(version)
    run_now("predict", dataset_id=dataset.pk, params={"version": 1, "is_refresh": False})
    np.testing.assert_allclose(model_files.open_probabilities(version), before, atol=1e-6)


def test_images_that_came_since_are_predicted_too(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(100)
    X, _ = trained(dataset, 40, 60)
    vectors = EmbeddingSet.objects.get()
    Item.objects.create(dataset=dataset, row=100, path="late.png")
    arrays.save_part(vectors, 100, 101, np.array([100]), np.array([7], np.uint64), X[:1])
    arrays.merge_parts(vectors, 101)
    client.post(f"{PAGE}1/use/")
    run_now("predict", dataset_id=dataset.pk, params={"version": 1, "is_refresh": False})
    probabilities = not_none(model_files.open_probabilities(ModelVersion.objects.get(number=1)))
    np.testing.assert_allclose(probabilities[100], probabilities[0], atol=1e-6)


def test_a_chosen_version_tells_of_images_embedded_later_and_is_not_replaced(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(60)
    trained(dataset, 40)
    version = ModelVersion.objects.get()
    active_version.activate(version, is_chosen=True)
    retrain_after_embedding(dataset.pk)
    job = Job.objects.get(state=Job.State.QUEUED)
    assert (job.kind, job.params) == ("predict", {"version": 1, "is_refresh": True})
    active_version.activate(version)  # released, and by now something else may be in use
    run_now("predict", dataset_id=dataset.pk, params=job.params)
    assert not fresh(version).is_chosen, "nobody asked for that"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda version: EmbeddingSet.objects.all().delete(), "embeddings that model 1 was trained on were deleted"),
        (
            lambda version: (model_files.folder_of(version) / "head.npz").unlink(),
            "classifier of model 1 is no longer stored",
        ),
        (lambda version: (model_files.folder_of(version) / "head.npz").write_bytes(b"no"), "is damaged"),
        (lambda version: EmbeddingSet.objects.update(dim=5), "float32 with 5 columns"),
        (
            lambda version: (
                ModelVersion.objects.filter(pk=version.pk).update(kind="quick"),
                (model_files.folder_of(version) / "head.npz").unlink(),
            ),
            "a quick training cannot compute them again",
        ),
    ],
)
def test_why_it_cannot_predict_again_is_said(
    make_dataset: MakeDataset, client: Client, spoil: Callable[..., Any], said: str
) -> None:
    dataset = make_dataset(60)
    trained(dataset, 30, 40)
    first = ModelVersion.objects.get(number=1)
    model_files.delete_probabilities(first)
    spoil(first)
    client.post(f"{PAGE}1/use/")
    with pytest.raises(Refusal, match=said):
        run_now("predict", dataset_id=dataset.pk, params={"version": 1, "is_refresh": False})
    assert not_none(active_model(dataset)).number == 2, "the one in use stays"
    assert model_files.open_probabilities(first) is None
    assert re.search(said, words(client, f"{PAGE}1/head/"))


def test_another_choice_and_a_retrain_under_way_are_called_off(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(60)
    trained(dataset, 30, 40, 50)
    first, second, _ = ModelVersion.objects.order_by("number")
    model_files.delete_probabilities(first)
    retraining = enqueue("retrain", dataset_id=dataset.pk)
    job = not_none(active_version.choose(first))
    assert fresh(retraining).state == Job.State.CANCELLED
    assert active_version.choose(second) is None
    assert fresh(job).state == Job.State.CANCELLED
    assert active_model(dataset) == second


def test_a_retrain_called_off_at_the_last_moment_does_not_take_the_chosen_ones_place(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset(60)
    trained(dataset, 30, 40)
    first = ModelVersion.objects.get(number=1)
    call_after(monkeypatch, model_files, "save_held_out", lambda *_: active_version.choose(first))
    with pytest.raises(Refusal, match="cancelled"):
        run_now("retrain", dataset_id=dataset.pk)
    assert active_model(dataset) == first
    assert ModelVersion.objects.count() == 2


def test_what_is_kept_of_old_versions(make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make_dataset(40)
    monkeypatch.setattr(active_version, "ARRAYS_KEPT", 1)
    monkeypatch.setattr(active_version, "FILES_KEPT", 2)
    trained(dataset, *[30] * 5)
    kept = [
        (model_files.open_probabilities(one) is not None, model_files.has_held_out(one), model_files.has_head(one))
        for one in ModelVersion.objects.order_by("number")
    ]
    assert kept == [
        (False, False, False), (False, False, False), (False, True, True), (True, True, True), (True, True, True),
    ]  # fmt: skip
    newest = ModelVersion.objects.order_by("-number").values_list("pk", flat=True)
    assert sorted(model_files.ids_with_files()) == sorted(newest[:3])


def test_a_version_without_files_is_not_offered_for_use(
    make_dataset: MakeDataset, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset(40)
    monkeypatch.setattr(active_version, "FILES_KEPT", 1)
    monkeypatch.setattr(active_version, "ARRAYS_KEPT", 0)
    trained(dataset, *[30] * 3)
    pages = [client.get(f"/d/pictures/model/{number}/").content.decode() for number in (1, 2)]
    assert ['id="use"' in page for page in pages] == [False, True]
    assert "only the metrics are stored" in pages[0]
    with pytest.raises(Refusal, match="classifier of model 1 is no longer stored"):
        run_now("predict", dataset_id=dataset.pk, params={"version": 1, "is_refresh": False})


# -- Honest accuracy, from the room above ---------------------------------------------------------
def test_the_plot_of_accuracy_has_the_estimates_where_there_are_some(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(3)
    assert client.get("/d/pictures/accuracy/plot/").status_code == 204
    second = some_versions(dataset, 3)[1]
    assert client.get("/d/pictures/accuracy/plot/").status_code == 204
    AccuracyEstimate.objects.create(
        dataset=dataset, model_version=second, n_labels=20, n_items=3, n_audit=9, n_right=8, value=0.875, low=0.5,
        high=0.9375, n_effective=9,
    )  # fmt: skip
    assert 'id="plot-accuracy"' in client.get("/d/pictures/accuracy/plot/").content.decode()
    assert 'id="plot-accuracy"' in client.get(PAGE).content.decode(), "in its place"
    shown = words(client, "/d/pictures/accuracy/plot/")
    assert_contains(shown, "audited 2 87.5 % 50 % to 93.8 %", "held-out 3 75 % 60 % to 90 %")
    honest = "/d/pictures/accuracy/honest/"
    assert "88 % of all images" in words(client, f"{honest}?model=2")
    assert "not known for this version" in words(client, f"{honest}?model=1")
    assert "not known for this version" in words(client, f"{honest}?model=x")


def test_the_policy_waits_while_a_version_is_chosen(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(3)
    version = some_versions(dataset, 1)[0]
    active_version.activate(version, is_chosen=True)
    policy.retrain_if_due(dataset)
    assert not Job.objects.exists()

"""The page Encoders: what there is, going over to another one, a model of one's own, deleting vectors."""

import json
import re
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from cachetools import LRUCache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from hoshina.core.roles import Role
from hoshina.jobs.lifecycle import run_now
from hoshina.jobs.models import Job
from labeling.models import Dataset
from modeling.backends.plugins import LoadedEncoder
from modeling.backends.scattering import PatchesEncoder
from modeling.encoders import choice as encoder_choice
from modeling.encoders import pipeline as encoder_pipeline
from modeling.encoders import uploads
from modeling.models import EmbeddingSet, EncoderChoice, ModelVersion
from modeling.quick.pipeline import FEATURES, quick_folder
from tests.factories import MakeDataset, assert_contains, call_before, text
from tests.modeling.factories import add_item_with_file, make_version
from tests.modeling.weights import hide_lite2, hide_weights
from tests.people import account

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]

HTMX = {"HX-Request": "true"}


@pytest.fixture(autouse=True)
def _hog(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.EMBEDDING_BACKEND = "hog"
    settings.WEIGHTS_DIR = None
    monkeypatch.setattr(encoder_pipeline, "_encoders", {})


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    made = Dataset.objects.create(name="pictures", slug="pictures", root=str(tmp_path / "pictures"), n_items=6)
    for row in range(6):
        add_item_with_file(made, row)
    return made


def post(client: Client, view: str, /, *args: Any, **data: Any) -> Any:
    return client.post(reverse(f"modeling:{view}", args=["pictures", *args]), data, headers=HTMX)


def embed(dataset: Dataset) -> None:
    run_now("embed", dataset_id=dataset.pk)


class TestPage:
    def test_every_encoder_and_whether_it_can_be_used(self, client: Client, dataset: Dataset) -> None:
        text = client.get("/d/pictures/encoders/").content.decode()
        for words in (
            "MobileNetV2",
            "EfficientNetB0",
            "ResNet50",
            "ResNet18",
            "Scattering",
            "HOG + color",
            "HOG + Scattering",
        ):
            assert words in text
        assert_contains(text, "efficientnetb0_notop.h5 in AL_WEIGHTS_DIR", 'class="badge">default', 'id="add"')

    def test_the_list_alone_for_htmx(self, client: Client, dataset: Dataset) -> None:
        answer = client.get("/d/pictures/encoders/", headers=HTMX)
        assert answer.content.decode().lstrip().startswith('<div id="encoders"')
        assert "HX-Request" in answer["Vary"]

    def test_it_asks_again_while_vectors_are_computed(self, client: Client, dataset: Dataset) -> None:
        assert "every 2s" not in client.get("/d/pictures/encoders/").content.decode()
        Job.objects.create(kind="embed", queue="heavy", dataset_id=dataset.pk, key="k", stage="HOG + color", total=6)
        assert_contains(client.get("/d/pictures/encoders/"), "every 2s", "HOG + color, 0 of 6")

    def test_queries_do_not_grow_with_sets(
        self, client: Client, dataset: Dataset, django_assert_max_num_queries: Any
    ) -> None:
        for number in range(12):
            EmbeddingSet.objects.create(dataset=dataset, fingerprint=str(number), encoder="HOG", backend="hog", dim=3)
        client.get("/d/pictures/encoders/")
        with django_assert_max_num_queries(9):
            client.get("/d/pictures/encoders/")

    def test_vectors_whose_model_file_is_gone_are_still_there(self, client: Client, dataset: Dataset) -> None:
        EmbeddingSet.objects.create(dataset=dataset, fingerprint="a", encoder="Birds", backend="file:b.onnx", dim=3)
        EmbeddingSet.objects.create(dataset=dataset, fingerprint="b", encoder="Old", backend="", dim=3)
        text = client.get("/d/pictures/encoders/").content.decode()
        assert_contains(text, "There is no model file &#x27;b.onnx&#x27;", "an earlier version")

    def test_the_header_leads_there(self, client: Client, dataset: Dataset) -> None:
        embed(dataset)
        link = r'<a class="encoder-link" href="/d/pictures/encoders/"[^>]*>· HOG \+ color'
        assert re.search(link, client.get("/d/pictures/model/badge/").content.decode())
        encoders = '<a href="/d/pictures/encoders/" aria-current="page">Encoders</a>'
        assert encoders in client.get("/d/pictures/encoders/").content.decode()

    def test_unknown_dataset(self, client: Client) -> None:
        assert client.get("/d/nothing/encoders/").status_code == 404

    def test_signing_in_is_needed(self, client: Client, dataset: Dataset, settings: Any) -> None:
        settings.LOGIN_REQUIRED = True
        assert client.get("/d/pictures/encoders/").status_code == 302
        assert post(client, "encoder_use", backend="hog").status_code == 401
        assert post(client, "encoder_add").status_code == 401
        assert post(client, "encoder_delete", 1).status_code == 401


class TestUse:
    def test_vectors_come_in_the_background_and_the_old_ones_go_on(self, client: Client, dataset: Dataset) -> None:
        embed(dataset)
        assert "use those of HOG + color" in text(post(client, "encoder_use", backend="patches"), 200)
        assert Job.objects.get(state=Job.State.QUEUED, kind="embed").params == {}
        assert EmbeddingSet.objects.get(is_active=True).backend == "hog"
        embed(dataset)
        active = EmbeddingSet.objects.get(is_active=True)
        assert (active.backend, active.n_vectors) == ("patches", 6)
        assert EmbeddingSet.objects.count() == 2

    def test_complete_vectors_are_used_at_once(self, client: Client, dataset: Dataset) -> None:
        embed(dataset)
        post(client, "encoder_use", backend="patches")
        embed(dataset)
        n_jobs = Job.objects.filter(kind="embed").count()
        assert encoder_choice.use(dataset, "hog")
        assert EmbeddingSet.objects.get(is_active=True).backend == "hog"
        assert Job.objects.filter(kind="embed").count() == n_jobs
        assert not encoder_choice.use(Dataset.objects.get(), "mobilenet_v2")

    def test_the_model_learns_again(self, client: Client, dataset: Dataset) -> None:
        embed(dataset)
        make_version(dataset, class_ids=[1], is_active=True)
        post(client, "encoder_use", backend="patches")
        embed(dataset)
        assert Job.objects.filter(kind="retrain").count() == 1
        Job.objects.filter(kind="retrain").delete()
        encoder_choice.use(dataset, "hog")
        assert Job.objects.filter(kind="retrain").count() == 1

    def test_incomplete_vectors_are_completed_first(self, dataset: Dataset) -> None:
        embed(dataset)
        Dataset.objects.update(n_items=7)
        encoder_choice.use(dataset, "patches")
        embed(dataset)
        dataset.refresh_from_db()
        assert not encoder_choice.use(dataset, "hog")
        assert EmbeddingSet.objects.get(is_active=True).backend == "patches"

    def test_the_choice_counts_wherever_the_setting_did(self, dataset: Dataset) -> None:
        embed(dataset)
        assert not encoder_pipeline.has_work(dataset)
        EncoderChoice.objects.create(dataset=dataset, backend="patches")
        assert encoder_pipeline.has_work(dataset)
        embed(dataset)
        assert not encoder_pipeline.has_work(dataset)

    def test_back_to_what_the_settings_say(self, client: Client, dataset: Dataset) -> None:
        post(client, "encoder_use", backend="patches")
        assert encoder_choice.backend_of(dataset.pk) == "patches"
        post(client, "encoder_use", backend="")
        assert not EncoderChoice.objects.exists()
        assert encoder_choice.backend_of(dataset.pk) == "hog"

    @pytest.mark.parametrize(
        ("backend", "words"),
        [
            ("magic", "There is no encoder"),
            ("file:x.onnx", "no model file"),
            ("efficientnet_lite2", "weights are not installed"),
        ],
    )
    def test_what_cannot_be_used_is_refused(
        self, backend: str, words: str, client: Client, dataset: Dataset, monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:  # fmt: skip
        hide_lite2(monkeypatch, tmp_path / "hidden")
        assert words in text(post(client, "encoder_use", backend=backend), 422)
        assert not EncoderChoice.objects.exists()
        assert not Job.objects.exists()

    def test_a_command_that_insists_is_not_interfered_with(self, client: Client, dataset: Dataset) -> None:
        Job.objects.create(kind="embed", queue="heavy", dataset_id=dataset.pk, key="k", params={"backend": "hog"})
        assert "A command is computing embeddings" in text(post(client, "encoder_use", backend="patches"), 422)

    def test_a_running_job_goes_over_to_the_new_choice(self, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(encoder_pipeline, "CHUNK_ROWS", 2)
        by: list[str] = []

        def choose(run: Any, start: int, stop: int) -> None:
            by.append(run.job.result["backend"])
            if len(by) == 2:
                EncoderChoice.objects.create(dataset=dataset, backend="patches")

        call_before(monkeypatch, encoder_pipeline, "embed_chunk", choose)
        result = run_now("embed", dataset_id=dataset.pk).result
        assert by == ["hog", "hog", "patches", "patches", "patches"]
        assert (result["encoder"], result["items"], result["failed"]) == ("Scattering", 6, 0)
        active = EmbeddingSet.objects.get(is_active=True)
        assert active.fingerprint == LoadedEncoder(PatchesEncoder()).fingerprint


class TestQuickTrainings:
    @pytest.fixture
    def version(self, dataset: Dataset) -> ModelVersion:
        return make_version(dataset, 2, class_ids=[1], kind=ModelVersion.Kind.QUICK)

    def test_their_network_is_chosen_as_any_other(
        self, client: Client, dataset: Dataset, version: ModelVersion
    ) -> None:
        folder = quick_folder(version)
        folder.mkdir(parents=True)
        (folder / FEATURES).write_bytes(b"a network")
        assert post(client, "quick_embed", 2).status_code == 204
        assert encoder_choice.backend_of(dataset.pk) == "file:pictures-quick-2.keras"
        assert Job.objects.get(kind="embed").params == {}
        assert "pictures, quick training 2" in client.get("/d/pictures/encoders/").content.decode()

    def test_files_that_are_gone_are_told(self, client: Client, dataset: Dataset, version: ModelVersion) -> None:
        assert post(client, "quick_embed", 2)["HX-Refresh"] == "true"
        assert "The files of model 2 are missing." in client.get("/d/pictures/encoders/").content.decode()
        assert not EncoderChoice.objects.exists()


class TestEncodersOfAProcess:
    def test_few_are_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(encoder_pipeline, "_encoders", LRUCache(1))
        hog = encoder_pipeline.encoder_of("hog")
        assert encoder_pipeline.encoder_of("hog") is hog
        encoder_pipeline.encoder_of("patches")
        assert len(encoder_pipeline._encoders) == 1
        assert encoder_pipeline.encoder_of("hog") is not hog

    def test_a_model_file_that_was_changed_is_opened_again(self, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        choose = Mock(side_effect=lambda *_, **__: LoadedEncoder(PatchesEncoder()))
        monkeypatch.setattr(encoder_pipeline, "choose_encoder", choose)
        file = store / "encoders" / "own" / "birds.tflite"
        file.parent.mkdir(parents=True)
        for content in (b"1", b"12"):
            file.write_bytes(content)
            for _ in range(2):
                encoder_pipeline.encoder_of("file:birds.tflite")
        assert [call.args[0] for call in choose.call_args_list] == ["file:birds.tflite"] * 2


class TestDelete:
    def test_with_its_files(self, client: Client, dataset: Dataset, store: Path) -> None:
        embed(dataset)
        old = EmbeddingSet.objects.get()
        encoder_choice.use(dataset, "patches")
        embed(dataset)
        folder = store / "vectors" / str(dataset.pk) / old.fingerprint
        assert list(folder.glob("*.npy"))
        computed = store / "neighbours" / str(old.pk) / "graph-1.npz"
        computed.parent.mkdir(parents=True)
        computed.write_bytes(b"")
        assert post(client, "encoder_delete", old.pk).status_code == 200
        assert not folder.exists()
        assert not computed.parent.exists()
        assert EmbeddingSet.objects.get().backend == "patches"

    def test_not_what_is_in_use(self, client: Client, dataset: Dataset) -> None:
        embed(dataset)
        assert "in use" in text(post(client, "encoder_delete", EmbeddingSet.objects.get().pk), 422)
        assert EmbeddingSet.objects.count() == 1

    def test_not_what_the_model_in_use_has_learnt_from(self, client: Client, dataset: Dataset) -> None:
        old = EmbeddingSet.objects.create(dataset=dataset, fingerprint="a", encoder="HOG", dim=3)
        make_version(dataset, 4, class_ids=[1], is_active=True, embedding_set=old)
        assert "Model 4, which is in use" in post(client, "encoder_delete", old.pk).content.decode()

    def test_not_while_vectors_are_computed(self, client: Client, dataset: Dataset) -> None:
        old = EmbeddingSet.objects.create(dataset=dataset, fingerprint="a", encoder="HOG", dim=3)
        Job.objects.create(kind="embed", queue="heavy", dataset_id=dataset.pk, key="k")
        assert post(client, "encoder_delete", old.pk).status_code == 422

    def test_not_of_another_dataset(self, client: Client, dataset: Dataset, make_dataset: MakeDataset) -> None:
        other = EmbeddingSet.objects.create(dataset=make_dataset(0, name="o"), fingerprint="a", encoder="HOG", dim=3)
        assert post(client, "encoder_delete", other.pk).status_code == 404


def tflite(name: str = "birds.tflite", content: bytes = b"\x1c\0\0\0TFL3 and so on") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content)


class TestAdd:
    def test_kept_with_what_is_said_about_it(self, client: Client, dataset: Dataset, store: Path) -> None:
        answer = post(client, "encoder_add", file=tflite(), preprocessing="0..1", name="Birds of Mey")
        assert answer.status_code == 200
        assert "hoshina:encoders" in answer["HX-Trigger"]
        folder = store / "encoders" / "own"
        assert sorted(one.name for one in folder.iterdir()) == ["birds.tflite", "birds.tflite.json"]
        said = json.loads((folder / "birds.tflite.json").read_text())
        assert said == {"preprocessing": "0..1", "name": "Birds of Mey"}
        assert_contains(client.get("/d/pictures/encoders/"), "Birds of Mey", "pixels scaled to 0..1")
        assert not list((store / "encoders").glob("upload-*"))

    def test_never_overwrites(self, client: Client, dataset: Dataset, store: Path) -> None:
        post(client, "encoder_add", file=tflite())
        assert "already" in text(post(client, "encoder_add", file=tflite(content=b"\x1c\0\0\0TFL3 another")), 422)
        assert (store / "encoders" / "own" / "birds.tflite").read_bytes().endswith(b"so on")

    @pytest.mark.parametrize(
        ("file", "words"),
        [
            (tflite("birds.exe"), "birds.exe is not a model file"),
            (tflite("b<i>rds.tflite"), "Its name may contain"),
            (tflite("birds.tflite", b"PK\x03\x04 a zip file"), "does not start like a .tflite file"),
            (tflite("birds.keras", b"\x89HDF\r\n"), "does not start like"),
            (tflite("birds.h5", b"GIF89a"), "does not start like"),
            (tflite("birds.tflite", b""), "The file is empty."),
        ],
    )
    def test_what_is_no_model_is_refused(
        self, file: SimpleUploadedFile, words: str, client: Client, dataset: Dataset, store: Path
    ) -> None:
        assert words in text(post(client, "encoder_add", file=file), 422)
        assert not list((store / "encoders").rglob("*.*"))

    def test_no_file_and_a_strange_preprocessing(self, client: Client, dataset: Dataset) -> None:
        text = post(client, "encoder_add", preprocessing="0..7").content.decode()
        assert_contains(text, "Choose a file first.", "Choose one from the list.")

    def test_too_large(self, client: Client, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(uploads, "MAX_UPLOAD", 10)
        assert "It is larger than" in post(client, "encoder_add", file=tflite()).content.decode()

    def test_only_administrators_may(self, client: Client, dataset: Dataset, settings: Any) -> None:
        settings.LOGIN_REQUIRED = True
        client.force_login(account(Role.MANAGER))
        assert 'id="add"' not in client.get("/d/pictures/encoders/").content.decode()
        assert post(client, "encoder_add", file=tflite()).status_code == 403
        client.force_login(account(Role.ADMINISTRATOR))
        assert post(client, "encoder_add", file=tflite()).status_code == 200


class TestRemove:
    def remove(self, client: Client, name: str = "birds.tflite") -> Any:
        return post(client, "encoder_remove", backend=f"file:{name}")

    def test_with_what_is_said_about_it(self, client: Client, dataset: Dataset, store: Path) -> None:
        post(client, "encoder_add", file=tflite(), name="Birds of Mey")
        post(client, "encoder_add", file=tflite("bees.tflite"))
        assert client.get("/d/pictures/encoders/").content.decode().count("/encoders/remove/") == 2
        page = text(self.remove(client), 200)
        assert "Birds of Mey" not in page
        assert page.count("/encoders/remove/") == 1
        assert [one.name for one in (store / "encoders" / "own").iterdir()] == ["bees.tflite"]

    def test_not_while_it_is_in_use(self, client: Client, dataset: Dataset, store: Path, settings: Any) -> None:
        post(client, "encoder_add", file=tflite())
        choice = EncoderChoice.objects.create(dataset=dataset, backend="file:birds.tflite@0..1")
        assert "it is the encoder of pictures" in self.remove(client).content.decode()
        choice.delete()
        facts = {"fingerprint": "f", "encoder": "Birds", "dim": 3, "backend": "file:birds.tflite"}
        vectors = EmbeddingSet.objects.create(dataset=dataset, is_active=True, **facts)
        assert "the embeddings of pictures come from it" in text(self.remove(client), 422)
        vectors.delete()
        settings.EMBEDDING_BACKEND = "file:birds.tflite"
        assert "AL_EMBEDDING_BACKEND names it" in self.remove(client).content.decode()
        settings.EMBEDDING_BACKEND = "hog"
        job = Job.objects.create(
            kind="embed", dataset_id=dataset.pk, params={"backend": "file:birds.tflite"}, state=Job.State.QUEUED
        )
        assert "being computed with it" in self.remove(client).content.decode()
        job.delete()
        assert (store / "encoders" / "own" / "birds.tflite").is_file()
        assert self.remove(client).status_code == 200

    def test_nothing_but_what_was_added_here(
        self, client: Client, dataset: Dataset, store: Path, settings: Any, tmp_path: Path
    ) -> None:
        post(client, "encoder_add", file=tflite())
        settings.WEIGHTS_DIR = tmp_path / "weights"
        settings.WEIGHTS_DIR.mkdir()
        (settings.WEIGHTS_DIR / "ours.tflite").write_bytes(b"of whoever runs this")
        for name in ("ours.tflite", "../own/birds.tflite", "", "none.tflite"):
            assert "No model file of that name" in self.remove(client, name).content.decode()
        assert (settings.WEIGHTS_DIR / "ours.tflite").is_file()
        assert (store / "encoders" / "own" / "birds.tflite").is_file()

    def test_only_administrators_may(self, client: Client, dataset: Dataset, settings: Any) -> None:
        post(client, "encoder_add", file=tflite())
        settings.LOGIN_REQUIRED = True
        client.force_login(account(Role.MANAGER))
        assert "/encoders/remove/" not in client.get("/d/pictures/encoders/").content.decode()
        assert self.remove(client).status_code == 403


class TestFallbackOfEarlierVersions:
    """Stores from when Scattering was the fallback."""

    @pytest.fixture(autouse=True)
    def _no_weights(self, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        settings.EMBEDDING_BACKEND, settings.WEIGHTS_DIR = "auto", None
        hide_weights(monkeypatch, tmp_path)
        monkeypatch.setattr(encoder_pipeline, "_encoders", {})

    def test_a_new_dataset_gets_the_new_fallback(self, dataset: Dataset) -> None:
        embed(dataset)
        made = EmbeddingSet.objects.get(is_active=True)
        assert (made.backend, made.encoder) == ("hog+patches", "HOG + color + Scattering")
        assert "could not be downloaded" in made.reason
        assert "; using HOG + color + Scattering" in made.reason

    def test_vectors_of_scattering_stay_and_grow(self, dataset: Dataset, settings: Any) -> None:
        settings.EMBEDDING_BACKEND = "patches"
        embed(dataset)
        before = EmbeddingSet.objects.get()
        settings.EMBEDDING_BACKEND = "auto"
        add_item_with_file(dataset, 6)
        Dataset.objects.update(n_items=7)
        embed(dataset)
        after = EmbeddingSet.objects.get()
        assert (after.pk, after.is_active, after.fingerprint) == (before.pk, True, before.fingerprint)
        assert (after.n_vectors, after.encoder) == (7, "Scattering")

    def test_going_over_to_the_new_one_is_a_choice(self, dataset: Dataset, settings: Any) -> None:
        settings.EMBEDDING_BACKEND = "patches"
        embed(dataset)
        settings.EMBEDDING_BACKEND = "auto"
        assert encoder_choice.backend_of(dataset.pk) == "auto/patches"
        assert not encoder_choice.use(dataset, "hog+scattering")
        embed(dataset)
        assert EmbeddingSet.objects.get(is_active=True).backend == "hog+scattering"
        assert encoder_choice.backend_of(dataset.pk) == "hog+scattering"


def test_vectors_of_scattering_are_what_the_page_says(dataset: Dataset) -> None:
    encoder_choice.use(dataset, "patches")
    embed(dataset)
    made = EmbeddingSet.objects.get()
    assert (made.dim, made.encoder, made.reason) == (PatchesEncoder.dim, "Scattering", "Scattering, as chosen.")
    found = np.load(next((Path(encoder_choice.settings.STORE_DIR) / "vectors").rglob("vectors-*.npy")))
    assert found.shape == (6, PatchesEncoder.dim)

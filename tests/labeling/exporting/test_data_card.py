"""Test that the data card says what is true of the labels, and nothing else."""

import re

import pytest
from django.contrib.auth.models import User

from labeling.guide import guides
from labeling.models import Dataset, Item, LabelClass
from sampling.models import AccuracyEstimate
from tests.factories import MakeDataset, archive_bytes, assert_contains, decide, manifest, opened

pytestmark = pytest.mark.django_db


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    """Provide labels of two people, some disputed, with a guide and texts."""
    dataset = make_dataset(40, classes=("cat", "dog_*"))
    ana, ben = User.objects.create_user("ana"), User.objects.create_user("ben")
    shown = {"suggestion_shown": True, "suggested_label_id": LabelClass.objects.get(name="cat").pk}
    decide(dataset, "assign", range(6), "cat", user=ana, queue="audit", is_random_draw=True)
    decide(dataset, "assign", range(6, 20), "dog_*", user=ben, queue="uncertain", **shown)
    decide(dataset, "assign", [0], "dog_*", user=ben)
    decide(dataset, "assign", [1], "cat", user=ben)
    decide(dataset, "assign", [30], "cat", user=ana)
    decide(dataset, "undo", user=ana)
    decide(dataset, "unsure", [20, 21], rendering="stretch=asinh")
    decide(dataset, "skip", [22])
    cat, dog = LabelClass.objects.order_by("name")
    guides.save(cat, "Has *whiskers*.", {dog.pk: "Dogs | bark."})
    guides.add_examples(dataset, [Item.objects.get(row=2).pk])
    Dataset.objects.filter(pk=dataset.pk).update(license="CC0-1.0", citation="Cats (2026).", description="Pets.")
    return dataset


def card_of(dataset: Dataset, **options: object) -> str:
    return opened(archive_bytes(dataset, **options)).read("data_card.md").decode()


def test_the_card_tells_how_the_labels_were_made(dataset: Dataset) -> None:
    card = card_of(dataset)
    assert_contains(
        card,
        "# pictures\n\nPets.", "**License.** CC0-1.0", "**Citation.** Cats (2026).",
        "### cat\n\nHas *whiskers*.\n\nExamples: image0002.png.",
        "Not to be confused with dog\\_\\*: Dogs \\| bark.",
        "### dog\\_\\*\n\nNobody has described this class.",
        "Of 40 images, 20 have a label, 2 are marked unsure and 1 skipped; nobody decided on 17.",
        "| audit | 4 |", "| uncertain | 14 |",
        "6 labeled images were drawn uniformly and randomly", "| ana | 6 |", "| ben | 16 |",
        "| someone without an account | 3 |",
        "For 14 decisions a suggestion of the model was visible, and 0.0 % of them agree with it.",
        "1 image got different classes", "2 images were labeled by several people, who disagreed on 1.",
        "; 1 were undone", "| stretch=asinh | 2 |", "Fewer than 30 images have the class cat, dog",
        "No accuracy was measured on randomly drawn images.",
        "3 images marked unsure or skipped have no class",
        lacks=["## Audited accuracy", "Not stated", "No image was labeled by several people"],
    )  # fmt: skip


def test_the_facts_are_those_of_the_manifest(dataset: Dataset) -> None:
    facts = manifest(opened(archive_bytes(dataset)))
    assert facts["annotators"] == [
        {"name": "", "decisions": 3}, {"name": "ana", "decisions": 6}, {"name": "ben", "decisions": 16},
    ]  # fmt: skip
    assert facts["review"] == {
        "decisions": 27, "by_hand": 25, "undone": 1, "relabeled_images": 1, "images_of_several_people": 2,
        "disputed_images": 1, "suggestion_visible": 14, "suggestion_accepted": 0,
    }  # fmt: skip
    assert facts["random_draws"] == {"labeled": 6, "undecided": 0}
    assert "data_card.md" in facts["files"]
    assert card_of(dataset) == card_of(dataset)


def test_an_empty_dataset_has_a_card(make_dataset: MakeDataset) -> None:
    card = card_of(make_dataset(3))
    assert_contains(card, "The dataset has no description.", "**License.** Not stated.", "nobody decided on 3")
    assert_contains(card, "## Known limits", lacks=["## Who labeled", "## How the images were chosen", "## Models"])


def test_people_have_numbers_on_request(dataset: Dataset) -> None:
    card = card_of(dataset, numbers_annotators=True)
    assert_contains(card, "| annotator-1 | 6 |", "| annotator-2 | 16 |", lacks=["ana |", "ben |"])


def test_the_audited_accuracy_has_its_interval(dataset: Dataset) -> None:
    from modeling.models import ModelVersion

    version = ModelVersion.objects.create(
        dataset=dataset, number=3, class_ids=[], n_labels=20, n_rows=40, n_decisions=9
    )
    AccuracyEstimate.objects.create(
        dataset=dataset, model_version=version, n_labels=20, n_items=40, n_audit=30, n_right=27, value=0.9, low=0.75,
        high=0.97, n_effective=30,
        per_class=[{"class_id": LabelClass.objects.get(name="cat").pk, "n": 10, "n_right": 9, "value": 0.9, "low": 0.6,
                    "high": 1.0}],
    )  # fmt: skip
    card = " ".join(card_of(dataset).split())
    assert "Model 3 is right on 90.0 % of the 40 images (95 % interval 75.0 % to 97.0 %)" in card
    assert "estimated from 30 labels of randomly drawn images" in card
    assert "| cat | 90.0 % |" in card
    assert "No accuracy was measured" not in card


def test_an_earlier_card_says_so(dataset: Dataset) -> None:
    card = card_of(dataset, as_of="2100-01-01")
    assert_contains(card, "This is the dataset as of 2100-01-01T23:59:59.999999Z.", "are those of today")
    assert "| ana | 6 |" in card


@pytest.mark.parametrize("layout", ["coco", "imagefolder", "tfrecord"])
def test_other_layouts_have_the_card_beside_the_images(dataset: Dataset, layout: str) -> None:
    archive = opened(archive_bytes(dataset, layout=layout))
    assert [name for name in archive.namelist() if re.search(r"card|README", name)] == ["data_card.md"]
    assert archive.read("data_card.md").decode().startswith("# pictures")


def test_the_card_of_hugging_face_is_its_readme(dataset: Dataset) -> None:
    pytest.importorskip("pyarrow")
    archive = opened(archive_bytes(dataset, layout="huggingface"))
    assert "data_card.md" not in archive.namelist()
    readme = archive.read("README.md").decode()
    assert readme.startswith("---\npretty_name")
    assert "\n---\n\n# pictures\n" in readme
    assert "## Known limits" in readme

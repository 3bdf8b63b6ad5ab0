"""What a quick training can be asked for, and what is refused in words."""

from dataclasses import asdict, fields, replace
from typing import Any

import pytest

from hoshina.core.errors import Refusal
from hoshina.core.parsing import parse_options
from modeling.quick.options import BACKBONES, Facts, QuickOptions, problems, remarks, suggest

PLENTY = Facts(n_labelled=400, per_class=[200, 200], median_side=300, memory_free=8 * 10**9)


def test_options_survive_the_way_through_a_job() -> None:
    options = QuickOptions(backbone="resnet50", epochs=3, is_fine_tuned=True, zoom=True, validation_share=0.4, seed=7)
    assert parse_options(QuickOptions, asdict(options)) == options
    assert parse_options(QuickOptions, {}) == QuickOptions()
    assert set(asdict(options)) == {field.name for field in fields(QuickOptions)}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("backbone", "vgg"), ("epochs", 0), ("epochs", 201), ("epochs", "ten"), ("epochs", True), ("batch_size", 0),
        ("image_side", 4), ("image_side", 96.0), ("is_fine_tuned", "yes"), ("flip", 1), ("early_stopping", -1),
        ("class_weights", "some"), ("validation_share", 0.01), ("validation_share", 0.9), ("validation_share", "a"),
        ("validation_share", True), ("weights", "jft"), ("seed", -1), ("rotation", True),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_refused_with_the_options_name(field: str, value: Any) -> None:
    with pytest.raises(Refusal) as refused:
        parse_options(QuickOptions, {field: value})
    assert refused.value.field == field
    assert refused.value.message


def test_what_suits_the_images_is_possible() -> None:
    for side in (0, 28, 96, 300, 4000):
        for counts in ([5, 5], [30, 30, 40], [2000, 100]):
            facts = Facts(sum(counts), counts, side, 8 * 10**9)
            assert problems(suggest(facts), facts) == []
    assert [suggest(replace(PLENTY, median_side=side)).image_side for side in (28, 300, 4000)] == [96, 160, 224]
    assert suggest(replace(PLENTY, per_class=[380, 20])).class_weights == "balanced"
    assert suggest(PLENTY).class_weights == "equal"


@pytest.mark.parametrize(
    ("options", "facts", "field", "words"),
    [
        (QuickOptions(), Facts(9, [5, 4]), "", "needs 10 labels; there are 9"),
        (QuickOptions(), Facts(40, [40, 0]), "", "two classes"),
        (QuickOptions(image_side=16), PLENTY, "image_side", "at least 32 px"),
        (QuickOptions(weights="random"), PLENTY, "is_fine_tuned", "the whole network must be trained"),
        (QuickOptions(validation_share=0.05), Facts(30, [15, 15]), "validation_share", "a larger share"),
        (QuickOptions(validation_share=0.8), Facts(12, [2] * 6), "validation_share", "Choose a smaller share"),
    ],
)
def test_the_impossible_is_said(options: QuickOptions, facts: Facts, field: str, words: str) -> None:
    ((found, said),) = problems(options, facts)
    assert found == field
    assert words in said


def test_more_than_the_memory_holds_is_refused_with_what_would_fit() -> None:
    large = QuickOptions(backbone="resnet50", image_side=224, batch_size=64, is_fine_tuned=True)
    ((field, said),) = problems(large, replace(PLENTY, memory_free=4 * 10**9))
    assert field == "batch_size"
    fits = int(said.split(" would fit")[0].split()[-1])
    assert 0 < fits < 64
    assert problems(replace(large, batch_size=fits), replace(PLENTY, memory_free=4 * 10**9)) == []
    assert problems(replace(large, batch_size=fits + 1), replace(PLENTY, memory_free=4 * 10**9)) != []
    assert problems(replace(large, is_fine_tuned=False), replace(PLENTY, memory_free=4 * 10**9)) == []
    assert problems(large, replace(PLENTY, memory_free=0)) == [], "not known"
    ((_, said),) = problems(large, replace(PLENTY, memory_free=10**8))
    assert "smaller images" in said


def test_a_batch_is_never_larger_than_what_is_learnt_from() -> None:
    few = Facts(20, [10, 10], 300, 0)
    assert any("training set has 16 images" in one for one in remarks(QuickOptions(), few))
    assert problems(QuickOptions(), few) == []
    assert remarks(QuickOptions(image_side=160), PLENTY) == []


def test_what_is_worth_knowing() -> None:
    small = replace(PLENTY, median_side=28)
    assert any("28 px" in one for one in remarks(QuickOptions(image_side=160), small))
    assert remarks(suggest(small), small) == []
    assert any("One class has fewer than five" in one for one in remarks(QuickOptions(), Facts(403, [200, 200, 3])))
    assert any("thousands" in one for one in remarks(QuickOptions(weights="random", is_fine_tuned=True), PLENTY))
    assert any("orientation" in one for one in remarks(QuickOptions(rotate=True), PLENTY))


def test_every_backbone_has_what_a_form_shows() -> None:
    for backbone in BACKBONES.values():
        assert 0 < backbone.smallest_side <= backbone.usual_side
        assert backbone.title
        assert backbone.summary

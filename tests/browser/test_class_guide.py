"""The class guide in a real browser: read with G, edited, and filled with examples from the detail."""

import re

import pytest
from playwright.sync_api import Page, expect

from labeling.guide import guides
from labeling.models import ClassExample, Item, LabelClass
from tests.browser.axe import require_accessible, require_no_wider_than_the_window
from tests.browser.bench import Bench
from tests.browser.conftest import Site
from tests.browser.factories import add_falling_model
from tests.factories import assign


def label(name: str) -> LabelClass:
    return LabelClass.objects.get(name=name)


def title(name: str) -> str:
    return f"#class-guide-title-{label(name).pk}"


def test_g_opens_the_guide_at_the_class_of_the_image(bench: Bench) -> None:
    add_falling_model(bench.dataset)
    guides.save(label("bird"), "It *flies*.", {})
    page = bench.open(f"queue=all&predicted={label('dog').pk}").page
    bench.press("g")
    expect(page.locator(title("dog"))).to_be_focused()  # suggested
    expect(page.locator(".class-guides")).to_contain_text("It flies.")
    expect(page.get_by_role("dialog", name="Class guide")).to_be_visible()
    page.locator(".class-guides-list").get_by_role("button", name="bird").click()
    expect(page.locator(title("bird"))).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#dialog")).not_to_be_visible()
    bench.press("3", "ArrowLeft", "g")
    bench.settle()
    expect(page.locator(".class-guides")).to_be_visible()
    assert Item.objects.filter(label__name="bird").count() == 1


def test_in_blind_mode_the_guide_reveals_no_suggestion(bench: Bench) -> None:
    add_falling_model(bench.dataset)
    guides.save(label("cat"), "It meows.", {})
    page = bench.open().page
    bench.press("b", "Enter")
    expect(page.locator("#side-body .detail-title")).to_be_visible()
    expect(page.locator("#item-guide.is-suggested")).to_have_count(1)
    expect(page.locator("#item-guide")).to_be_hidden()
    expect(page.locator("#open-compare")).to_be_hidden()
    bench.press("y")
    expect(bench.toasts).to_contain_text("Turn blind mode off first.")
    expect(page.locator("#compare")).to_be_hidden()
    bench.press("g")
    expect(page.locator(".class-guides")).to_be_visible()
    assert page.evaluate("document.activeElement.id").startswith("class-guide-title") is False
    page.keyboard.press("Escape")
    bench.press("b")
    expect(page.locator("#item-guide")).to_contain_text("It meows.")


def test_a_guide_is_written_by_keyboard(bench: Bench) -> None:
    page = bench.open().page
    bench.press("g")
    page.get_by_role("button", name="Edit the guide of dog").press("Enter")
    expect(page.get_by_label("Description")).to_be_focused()
    page.keyboard.type("It **barks**.\n\n- and wags")
    page.locator(".guide-row select").select_option("cat")
    page.get_by_label("Difference").fill("Cats meow.")
    page.get_by_role("button", name="Add another").click()
    expect(page.get_by_label("Difference")).to_have_count(2)
    expect(page.get_by_label("Description")).to_have_value("It **barks**.\n\n- and wags")
    page.locator(".guide-row select").nth(1).select_option("cat")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("alert").filter(has_text="listed twice")).to_be_visible()
    page.locator(".guide-row select").nth(1).select_option("")
    page.get_by_role("button", name="Save", exact=True).click()
    dog, cat = (page.locator(f"#class-guide-{label(name).pk}") for name in ("dog", "cat"))
    expect(dog.locator("strong")).to_have_text("barks")
    expect(page.get_by_role("button", name="Edit the guide of dog")).to_be_focused()
    expect(cat).to_contain_text("Cats meow.")  # the guide of the other class, at once
    assert guides.guide_of(label("dog")).description == "It **barks**.\n\n- and wags"


def test_unsaved_text_survives_escape_and_control_enter_saves_it(bench: Bench) -> None:
    page = bench.open().page
    edit, description = page.get_by_role("button", name="Edit the guide of dog"), page.get_by_label("Description")
    difference, restored = page.get_by_label("Difference"), page.get_by_text("Your unsaved text is back.")
    bench.press("g")
    edit.click()
    description.fill("It barks.")
    page.get_by_role("button", name="Add another").click()
    expect(difference).to_have_count(2)
    page.locator(".guide-row select").nth(1).select_option("cat")
    difference.nth(1).fill("Cats meow.")
    page.keyboard.press("Escape")
    expect(page.locator("#dialog")).to_be_hidden()
    bench.press("g")
    edit.click()
    expect(description).to_have_value("It barks.")
    expect(difference.nth(1)).to_have_value("Cats meow.")
    expect(restored).to_be_visible()
    require_accessible(page)
    page.keyboard.press("Control+Enter")
    expect(page.locator(f"#class-guide-{label('dog').pk} .prose")).to_have_text("It barks.")
    assert [each.difference for each in guides.guide_of(label("dog")).confusions] == ["Cats meow."]
    edit.click()
    expect(difference).to_have_count(2)
    expect(restored).to_have_count(0)
    description.fill("Nonsense")
    page.get_by_role("button", name="Cancel").click()
    edit.click()
    expect(description).to_have_value("It barks.")
    description.fill("It wags.")
    page.keyboard.press("Escape")
    guides.save(label("dog"), "Someone else's.", {})
    bench.press("g")
    edit.click()
    expect(description).to_have_value("It wags.")
    page.keyboard.press("Control+Enter")  # refused: someone changed the guide after the draft was begun
    expect(page.get_by_role("alert").filter(has_text="changed")).to_be_visible()
    expect(description).to_have_value("It wags.")
    page.keyboard.press("Control+Enter")
    expect(page.locator(f"#class-guide-{label('dog').pk} .prose")).to_have_text("It wags.")


def test_selected_images_become_examples(bench: Bench) -> None:
    assign(bench.dataset, [0, 1, 2], label("cat"))
    page = bench.open("queue=all&state=any").page
    bench.press("Home")
    page.keyboard.press("Shift+ArrowRight")
    bench.press("Enter")
    page.get_by_role("button", name="Use as example").click()
    expect(bench.toasts).to_contain_text("Added 2 examples.")
    expect(page.get_by_role("button", name="No longer an example")).to_be_visible()
    expect(page.locator("#item-guide .guide-picture")).to_have_count(2)
    bench.press("g")
    remove = page.get_by_role("button", name=re.compile("Remove the example .*0000"))
    remove.click()
    expect(remove).to_have_count(0)
    assert list(ClassExample.objects.values_list("item__row", flat=True)) == [1]


def test_an_image_without_label_cannot_be_an_example(bench: Bench) -> None:
    page = bench.open().page
    bench.press("Enter")
    expect(page.locator("#side-body .detail-title")).to_be_visible()
    expect(page.get_by_role("button", name="Use as example")).to_have_count(0)
    bench.press("1")
    bench.settle()
    bench.press("ArrowLeft")
    page.get_by_role("button", name="Use as example").click()
    expect(page.locator("#item-guide")).to_contain_text("This image is an example of cat.")


def test_the_page_of_classes_and_of_an_item_lead_to_the_guide(site: Site, page: Page) -> None:
    dataset = site.dataset(3)
    guides.save(label("dog"), "It barks.", {})
    page.goto(f"{site.address}/d/{dataset.slug}/classes/")
    page.get_by_role("button", name="Guide of dog").click()
    expect(page.locator(".class-guide-slot .class-guide")).to_contain_text("It barks.")
    page.get_by_role("button", name="Edit the guide of dog").click()
    page.get_by_label("Description").fill("It wags.")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".class-guide-slot .class-guide")).to_contain_text("It wags.")
    page.goto(f"{site.address}/d/{dataset.slug}/items/1/")
    page.keyboard.press("g")
    expect(page.locator(".class-guides")).to_contain_text("It wags.")
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    expect(page.locator("#item-guide")).to_contain_text("It wags.")
    page.keyboard.press("g")
    expect(page.locator(title("dog"))).to_be_focused()


@pytest.mark.parametrize("is_edited", [False, True])
def test_the_guide_is_accessible_and_fits(bench: Bench, is_edited: bool) -> None:
    text = "# Signs\n\nSee [here](https://example.org).\n\n| a | b |\n|---|---|\n| 1 | " + "long " * 60 + "|"
    guides.save(label("dog"), text, {label("cat").pk: "Cats meow."})
    assign(bench.dataset, [0, 1], label("dog"))
    guides.add_examples(bench.dataset, list(Item.objects.filter(row__in=(0, 1)).values_list("pk", flat=True)))
    page = bench.page
    page.goto(f"{bench.url}guide/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Class guide of pictures")
    if is_edited:
        page.get_by_role("button", name="Edit the guide of dog").click()
        expect(page.get_by_label("Description")).to_be_focused()
    require_accessible(page)
    require_no_wider_than_the_window(page)
    bench.open("queue=all&state=any")
    bench.press("Enter", "g")
    expect(page.locator(".class-guides")).to_be_visible()
    require_accessible(page)
    require_no_wider_than_the_window(page)

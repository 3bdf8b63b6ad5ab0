"""Rules of accessibility that axe does not check: sizes of targets, announcements, zoom, motion, color."""

import re

from playwright.sync_api import Browser, Page, expect

from labeling.models import Dataset, Item
from tests.browser.axe import require_large_targets, require_targets_for_fingers
from tests.browser.bench import Bench, open_whole, tell_job_finished
from tests.browser.conftest import Site
from tests.browser.factories import add_falling_model
from tests.browser.pages import PAGES
from tests.factories import decide


# -- Touch -------------------------------------------------------------------------------------------
def test_targets_are_large_enough_on_a_phone(browser: Browser, site: Site, furnished: Dataset) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    for name, path in PAGES.items():
        open_whole(page, site.address + path)
        require_large_targets(page)
        if not name.startswith("admin"):  # its forms are Django's
            require_targets_for_fingers(page)
    page.goto(site.address + PAGES["model"])
    page.get_by_role("button", name="Pages").tap()
    page.locator(".nav summary").first.tap()
    require_targets_for_fingers(page)
    context.close()


# -- Screen readers -----------------------------------------------------------------------------------
def test_suggestions_are_in_the_names_but_not_in_blind_mode(bench: Bench, page: Page) -> None:
    add_falling_model(bench.dataset)
    bench.open("queue=all&state=unlabelled")
    expect(page.get_by_role("option", name=re.compile("^image0000.png, unlabeled, suggested cat"))).to_have_count(1)
    page.keyboard.press("b")
    expect(page.get_by_role("status").filter(has_text="Blind mode on")).to_be_visible()
    expect(page.get_by_role("option", name="suggested")).to_have_count(0)


def test_a_conflict_is_shown_and_announced(bench: Bench, page: Page) -> None:
    """Another browser labels the first image while this page shows it."""
    bench.open()
    item = Item.objects.get(pk=bench.ids()[0])
    decide(bench.dataset, "assign", [item.row], "dog", holder="another browser")
    page.keyboard.press("1")
    expect(page.get_by_role("status").filter(has_text="in the meantime (dog)")).to_be_visible()
    expect(page.get_by_role("option", name="labeled this in the meantime").first).to_be_visible()


def test_a_new_model_is_announced(bench: Bench, page: Page) -> None:
    bench.open()
    tell_job_finished(page, "retrain")
    expect(page.locator("#announcements[aria-live=polite]")).to_have_text("A new model is ready.")


def test_the_workbench_to_a_screen_reader(bench: Bench, page: Page) -> None:
    bench.open()
    expect(page.get_by_role("main")).to_match_aria_snapshot("""
        - main:
          - complementary "Classes and queues":
            - heading "Classes" [level=2]
            - list:
              - listitem:
                - button /cat/
              - listitem:
                - button /dog/
              - listitem:
                - button /bird/
            - list:
              - listitem:
                - button /unsure/
              - listitem:
                - button /skip/
          - listbox "Images":
            - option "image0000.png, unlabeled"
            - option "image0001.png, unlabeled"
    """)
    expect(page.get_by_role("banner")).to_be_visible()
    expect(page.get_by_role("navigation", name="Pages")).to_be_visible()


# -- Zoom, color -----------------------------------------------------------------------------
def test_the_workbench_works_at_200_percent(page: Page, site: Site, furnished: Dataset) -> None:
    """640x360 is a window of 1280x720 at 200 % zoom."""
    page.set_viewport_size({"width": 640, "height": 360})
    bench = Bench(page, site.address, furnished).open("queue=uncertain")
    for part in ("#top", "#grid .tile >> nth=0", "#class-pane .class >> nth=0", ".hints"):
        expect(page.locator(part)).to_be_in_viewport()
    bench.press("1", "2", "z")
    bench.settle()
    assert bench.states().count("1") == 1
    bench.press("?")
    expect(page.get_by_role("dialog").filter(has_text="Keys")).to_be_in_viewport()


def test_classes_are_told_apart_without_color(page: Page, site: Site, furnished: Dataset) -> None:
    """Every colored mark of a class has its name beside it, or as its accessible name (WCAG 1.4.1)."""
    for name in ("workbench", "labelled", "classes", "results", "model", "item", "export", "guide", "progress", "map"):
        open_whole(page, site.address + PAGES[name])
        nameless = page.evaluate("""() => [...document.querySelectorAll('.dot, [style*="--c:"]')].filter(mark => {
            if (!mark.checkVisibility({ visibilityProperty: true })) return false;
            const rows = 'li, tr, button, a, label, td, .chip, .suggestion, .runner-up, .tile, figure';
            const row = mark.closest(rows) ?? mark.parentElement;
            return !/\\p{L}/u.test(row.textContent + (row.getAttribute('aria-label') ?? '') + (row.title ?? ''));
        }).map(mark => mark.parentElement.outerHTML.slice(0, 120))""")
        assert nameless == [], name

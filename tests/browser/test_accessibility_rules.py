"""Rules of accessibility that axe does not check: sizes of targets, announcements, zoom, motion, color."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from labeling.models import Dataset, Item
from tests.browser.bench import Bench, open_whole, tell_job_finished
from tests.browser.conftest import Site
from tests.browser.factories import add_falling_model
from tests.browser.pages import PAGES
from tests.factories import decide

# -- Targets of at least 24 px (WCAG 2.5.8) ----------------------------------------------------------
# Exempt as in the standard: links in a sentence, and links with 24 px of their own around their center. The handle
# between the panes is exempt, because it is a line; the arrow keys and a double click do the same.
SMALL = """() => {
    const boxOf = target => {
        const label = target.type === 'checkbox' || target.type === 'radio' ? target.labels?.[0] : null;
        return (label ?? target).getBoundingClientRect();
    };
    const isSeen = target => {
        const box = target.getBoundingClientRect();
        const isVisible = target.checkVisibility({ visibilityProperty: true, opacityProperty: true });
        return isVisible && box.width > 1 && box.height > 1;
    };
    const isInline = target => getComputedStyle(target).display.startsWith('inline');
    const inSentence = target => isInline(target) && target.matches('a, button.link')
        && [...target.parentElement.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    const targets = [...document.querySelectorAll(
        'a[href], button, summary, select, textarea, input:not([type=hidden]), [role=option]')].filter(isSeen);
    const boxes = targets.map(boxOf);
    const isAlone = (target, index) => {
        const { left, top, width, height } = boxes[index];
        const [x, y] = [left + width / 2, top + height / 2];
        const distance = ({ left, right, top, bottom }) =>
            Math.hypot(Math.max(left - x, x - right, 0), Math.max(top - y, y - bottom, 0));
        const isApart = other => other !== target && !target.contains(other) && !other.contains(target);
        return !targets.some((other, at) => isApart(other) && distance(boxes[at]) < 12);
    };
    return targets.filter((target, index) => {
        if (Math.min(boxes[index].width, boxes[index].height) >= 24 || inSentence(target)) return false;
        return !(target.matches('a') && isAlone(target, index));
    }).map(target => {
        const { width, height } = boxOf(target);
        return `${target.outerHTML.slice(0, 90)} in ${target.parentElement.className}: ${width} x ${height}`;
    });
}"""


@pytest.mark.parametrize("is_touch", [False, True])
def test_targets_are_large_enough(browser: Browser, site: Site, furnished: Dataset, *, is_touch: bool) -> None:
    size = {"width": 390, "height": 844} if is_touch else {"width": 1280, "height": 720}
    context = browser.new_context(viewport=size, has_touch=is_touch, is_mobile=is_touch)  # type: ignore[arg-type]
    page = context.new_page()
    small = {}
    for name, path in PAGES.items():
        open_whole(page, site.address + path)
        if found := page.evaluate(SMALL):
            small[name] = sorted(set(found))
    context.close()
    assert not small, "\n".join(f"{name}: {line}" for name, lines in small.items() for line in lines)


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
    page.get_by_role("button", name="Pages").click()
    expect(page.get_by_role("navigation", name="Pages")).to_be_visible()


# -- Zoom, motion, color -----------------------------------------------------------------------------
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


def test_nothing_moves_with_reduced_motion(page: Page, site: Site, furnished: Dataset) -> None:
    script = """() => document.getAnimations().filter(one => one.effect.getComputedTiming().activeDuration > 1).length
        + [...document.querySelectorAll('*')].filter(one => {
            const style = getComputedStyle(one);
            return parseFloat(style.transitionDuration) > 0 || parseFloat(style.animationDuration) > 0.001;
        }).length"""
    for name, path in PAGES.items():
        open_whole(page, site.address + path)
        assert page.evaluate(script) == 0, name


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

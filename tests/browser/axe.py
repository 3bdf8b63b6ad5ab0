"""Check what holds on every page: accessible by axe, large targets, no wider than the window, no motion."""

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

# Targets have at least 24 px (WCAG 2.5.8). Exempt as in the standard: links in a sentence, and links with 24 px of
# their own around their center. The handle between the panes is exempt, because it is a line; the arrow keys and a
# double click do the same.
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
# Targets of fingers: what a person presses apart from links in text has at least 40 px. The button of a message
# takes the space around it.
SMALL_FOR_FINGERS = """() => [...document.querySelectorAll(
    'button, summary, select, textarea, .button, .icon-button, .menu-list a, .nav a, input:not([type=hidden])')]
    .filter(target => !target.closest('.toasts') && target.checkVisibility({ visibilityProperty: true }))
    .map(target => [target, ['checkbox', 'radio'].includes(target.type) ? target.labels?.[0] ?? target : target])
    .filter(([target, area]) => area.getBoundingClientRect().height < 39.5 && target.getBoundingClientRect().width > 1)
    .map(([target, area]) =>
        `${target.outerHTML.slice(0, 120)}: ${area.getBoundingClientRect().height} px high`)"""
MOVING = """() => document.getAnimations().filter(one => one.effect.getComputedTiming().activeDuration > 1).length
    + [...document.querySelectorAll('*')].filter(one => {
        const style = getComputedStyle(one);
        return parseFloat(style.transitionDuration) > 0 || parseFloat(style.animationDuration) > 0.001;
    }).length"""


def serious_violations(page: Page, **options: Any) -> list[str]:
    found: list[dict[str, Any]] = (
        Axe().run(page, options={"resultTypes": ["violations"], **options}).response["violations"]
    )
    return [
        f"{one['impact']} {one['id']}: {one['help']}: {[node['target'] for node in one['nodes']][:4]}"
        f" {one['nodes'][0]['failureSummary']}"
        for one in found
        if one["impact"] in {"serious", "critical"}
    ]


def require_accessible(page: Page) -> None:
    """Check the page in dark, and in light what depends on colors."""
    of_colors = {"runOnly": ["color-contrast", "link-in-text-block"]}
    for scheme, options in (("dark", {}), ("light", of_colors)):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        violations = serious_violations(page, **options)
        assert not violations, f"{scheme}: {violations}"


def require_large_targets(page: Page) -> None:
    found = sorted(set(page.evaluate(SMALL)))
    assert not found, "\n".join(found)


def require_targets_for_fingers(page: Page) -> None:
    found = sorted(set(page.evaluate(SMALL_FOR_FINGERS)))
    assert not found, f"{page.url}\n" + "\n".join(found)


def require_no_motion(page: Page) -> None:
    """Check that nothing moves for people who prefer reduced motion."""
    assert page.evaluate(MOVING) == 0


def require_no_wider_than_the_window(page: Page) -> None:
    """Check three sizes; 640x360 is a window of 1280x720 at 200 % zoom."""
    for width, height in ((640, 360), (1280, 720), (2560, 1440)):
        page.set_viewport_size({"width": width, "height": height})
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, (width, height)


def watch_layout_shifts(page: Page) -> None:
    """Add up in ``window.shift`` how much the following pages move."""
    page.add_init_script("""
        window.shift = 0;
        new PerformanceObserver(list => { for (const entry of list.getEntries()) window.shift += entry.value; })
            .observe({type: 'layout-shift', buffered: true});
    """)

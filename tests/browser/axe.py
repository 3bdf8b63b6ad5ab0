"""What holds on every page: accessibility by axe, no wider than the window, nothing that moves by itself."""

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page


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

"""The Markdown of class guides. What it refuses is in tests/security/test_markdown.py."""

from labeling.guide.markdown import html_of
from tests.factories import assert_contains


def test_markdown_is_rendered() -> None:
    html = html_of("# Spirals\n\n**Arms**, *bars*\n\n- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
    parts = "<h4>Spirals</h4>", "<strong>Arms</strong>", "<em>bars</em>", "<li>two</li>", "<td>2</td>"
    assert_contains(html, *parts)
    assert "<h6>deep</h6>" in html_of("##### deep")


def test_links_lead_to_the_web_in_a_new_tab() -> None:
    html = html_of("[NED](https://ned.ipac.caltech.edu/?a=1&b=2) and <http://example.org>")
    assert html.count('target="_blank" rel="noopener noreferrer nofollow"') == 2
    assert 'href="https://ned.ipac.caltech.edu/?a=1&amp;b=2"' in html

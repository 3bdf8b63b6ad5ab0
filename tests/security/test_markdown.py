"""The HTML of class guides: nothing that a person writes can run or load anything."""

import re

import pytest

from labeling.guide.markdown import html_of

ALLOWED = re.compile(r"</?(p|strong|em|code|pre|ul|ol|li|blockquote|h[4-6]|hr|br|a|table|thead|tbody|tr|th|td)\b[^>]*>")


@pytest.mark.attack("script in texts (Markdown)")
@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "before <img src=x onerror=alert(1)> after",
        "<svg/onload=alert(1)>",
        "<div>\n\n*a*\n\n</div>",
        "<!-- --><script>alert(1)</script>",
        "<![CDATA[<script>alert(1)</script>]]>",
        "<?php echo 1 ?>",
        "![x](https://evil.example/pixel.png)",
        "![x][r]\n\n[r]: https://evil.example/pixel.png",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](java\nscript:alert(1))",
        "[x](&#106;avascript:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "[x](vbscript:msgbox(1))",
        "[x](file:///etc/passwd)",
        "[x](//evil.example)",
        "[x](/admin/)",
        "<javascript:alert(1)>",
        "<mailto:a@b.example>",
        "[x][r]\n\n[r]: javascript:alert(1)",
        '[x](https://a.example "\\" onmouseover=\\"alert(1)")',
        '[x](https://a.example/"onmouseover="alert(1))',
        "[<img src=x onerror=alert(1)>](https://a.example)",
        "```<script>\nalert(1)\n```",
        '```" onload="alert(1)\nx\n```',
        "`<script>`",
        "| <script> |\n|---|\n| <img src=x onerror=alert(1)> |",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "\x00<script>\u202e",
    ],
)
def test_no_text_becomes_markup_of_its_own(text: str) -> None:
    html = html_of(text)
    tags = re.findall(r"<[^>]*>", html)
    assert all(ALLOWED.fullmatch(tag) for tag in tags), html
    for tag in tags:
        outside_values = re.sub(r'"[^"]*"', '""', tag)
        assert not re.search(r"\bon\w+=|style=|src=", outside_values), html
        for address in re.findall(r'href="([^"]*)"', tag):
            assert re.match(r"https?://", address), html


@pytest.mark.parametrize(
    "text", ["[" * 4000, "*" * 4000, "> " * 2000, "- " * 2000, "`" * 3999, "[a](" * 1000, "|" * 4000]
)
def test_nesting_without_end_is_rendered(text: str) -> None:
    assert len(html_of(text)) < 20 * len(text)

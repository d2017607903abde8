"""The site holds together: links lead somewhere, rules and public names have their places, nothing is asked outside."""

import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import Page

import qdiag
from docs.building.reference_pages import PAGES, canonical
from docs.building.rule_pages import rule_pages
from qdiag.linting.rule import RULES

REPOSITORY = Path(__file__).parents[2]
FETCHED = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")}
"""What a browser loads by itself; a link that a reader may click is none of these."""


class Places(HTMLParser):
    """What a page can be led to by, and where it leads."""

    def __init__(self, html: str):
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in ("id", "name") and value:
                self.ids.add(value)
            if (tag, name) in FETCHED and value:
                self.fetched.append(value)
            if (tag, name) == ("a", "href") and value:
                self.links.append(value)


@cache
def places(page: Path) -> Places:
    return Places(page.read_text(encoding="utf-8"))


def pages(site: Path) -> list[Path]:
    return [page for page in sorted(site.rglob("*.html")) if page.name != "404.html"]


def test_every_link_inside_leads_to_a_page_and_a_place_on_it(built_site: Path) -> None:
    broken = []
    for page in pages(built_site):
        for link in places(page).links:
            target = urlsplit(link)
            if target.scheme:
                continue
            file = (page.parent / unquote(target.path)).resolve() if target.path else page
            is_there = file.is_file() and (not target.fragment or unquote(target.fragment) in places(file).ids)
            if not is_there and target.fragment != "__skip":
                broken.append(f"{page.relative_to(built_site)}: {link}")
    assert broken == []


def test_every_rule_has_a_page(built_site: Path) -> None:
    for rule in RULES:
        text = (built_site / f"rules/{rule.code.lower()}_{rule.name.replace('-', '_')}.html").read_text()
        assert {"the-pattern", "without-it", "what-lint-says-of-it"} <= places_of(text)


def places_of(html: str) -> set[str]:
    return Places(html).ids


def test_every_public_name_has_its_place_in_the_reference(built_site: Path) -> None:
    there = {value.__name__: page.path for page in PAGES for value in page.values}
    assert set(qdiag.__all__) <= there.keys()
    for page in PAGES:
        ids = places(built_site / f"reference/{page.path}.html").ids
        assert {canonical(value) for value in page.values} <= ids


def test_no_page_has_anything_loaded_from_elsewhere(built_site: Path) -> None:
    for page in pages(built_site):
        assert [url for url in places(page).fetched if urlsplit(url).scheme not in ("", "data")] == []
    for sheet in built_site.rglob("*.css"):
        assert re.findall(r"""(?:url\(|@import)\s*["']?https?:[^)]*""", sheet.read_text(encoding="utf-8")) == []


def test_examples_and_tables_come_out_as_such(built_site: Path) -> None:
    html = (built_site / "reference/calibration.html").read_text(encoding="utf-8")
    assert "<blockquote>" not in html  # what Markdown makes of >>>
    assert '<span class="gp">&gt;&gt;&gt; </span>' in html  # a prompt, in code
    assert "per_channel" in html


def test_opened_from_the_disk_it_searches_and_asks_for_nothing(built_site: Path, page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if not request.url.startswith("file:") else None)
    page.goto((built_site / "index.html").as_uri())
    page.locator("[data-md-component=search-query]").first.fill("uneven channels")
    page.locator(".md-search-result__link", has_text="QD305").first.click()
    page.wait_for_url("**/qd305_uneven_channels.html*")
    assert [url for url in asked if not url.startswith(("blob:", "data:"))] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_links_at_the_root_lead_to_files(name: str) -> None:
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    targets = [urlsplit(link) for link in re.findall(r"\]\(\s*([^)\s]+)", text)]
    inside = [link for link in targets if not link.scheme]
    assert [link.path for link in inside if link.path and not (REPOSITORY / link.path).exists()] == []
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    headings = {re.sub(r"[^a-z -]", "", title.lower()).replace(" ", "-") for title in titles}
    assert {link.fragment for link in inside if not link.path} <= headings


def test_pages_of_rules_are_made_from_the_rules() -> None:
    text = rule_pages()["rules/qd101_missing_batchnorm.md"]
    rule = RULES["QD101"]
    for part in (rule.title, "**Why it hurts.**", "self.stem_bn = nn.BatchNorm2d(8)", "x = self.stem(x)  # <-"):
        assert part in text
    assert "**warning** at `stem`" in text

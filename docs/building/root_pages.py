"""Pages of the site that stand at the repository's root, where code hosts look for them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}


def root_pages() -> dict[str, str]:
    """Text by path, with links as they are seen from the site."""
    return {page: _seen_from_docs((ROOT / source).read_text(encoding="utf-8")) for page, source in PAGES.items()}


def _seen_from_docs(text: str) -> str:
    names = {source: page for page, source in PAGES.items()}
    text = re.sub(r"\]\(\s*docs/", "](", text)
    return re.sub(r"\]\(([A-Z]+\.md)", lambda found: f"]({names.get(found[1], found[1])}", text)

"""What MkDocs calls: pages made from rules and code, and links from names to the reference."""

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))  # the package beside these pages, and not another installed one

from docs.building.links import linked  # noqa: E402
from docs.building.reference_pages import reference_pages  # noqa: E402
from docs.building.root_pages import root_pages  # noqa: E402
from docs.building.rule_pages import rule_pages  # noqa: E402

ABBREVIATIONS = re.compile(r"^### ([A-Z][A-Z0-9]+)\n\n(.+?)(?:\n\n|\Z)", re.MULTILINE | re.DOTALL)
"""Of the glossary: what a reader sees who rests the mouse on one of them."""


def on_config(config: MkDocsConfig) -> None:
    """The parts of the navigation that are made from rules and code."""
    made: dict[str, list[Any]] = {"Lint rules": list(rule_pages()), "Reference": list(reference_pages())}
    for entry in config.nav or ():
        for title in made.keys() & (entry if isinstance(entry, dict) else {}).keys():
            entry[title] = made[title]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """The pages that are made from rules, code, and the files at the repository's root."""
    for path, text in (rule_pages() | reference_pages() | root_pages()).items():
        files.append(File.generated(config, path, content=text))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Public names in backticks lead to the reference, and abbreviations say what they stand for."""
    glossary = (HERE.parent / "glossary.md").read_text(encoding="utf-8")
    short = {name: " ".join(text.split()) for name, text in ABBREVIATIONS.findall(glossary)}
    lines = [f"*[{name}]: {re.sub(r'[`*]', '', text)}" for name, text in short.items()]
    return "\n".join([linked(markdown), "", *lines])

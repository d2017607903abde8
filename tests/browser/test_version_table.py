"""The table of versions, drawn in a real browser: a click selects one, ticks choose several."""

import json
from typing import Any

import pytest

from qdiag.workbench.version_table import VersionTable
from tests.browser.bare import carried, carry, render

pytestmark = pytest.mark.browser

COLUMNS = [{"title": title, "help": "", "align": "left"} for title in ("version", "note")]
VERSIONS = [("", "", "float"), ("simple", "simple", "simple"), ("best", "mine", "★ mine")]


def show(page: Any, chosen: str = "[]") -> None:
    rows = [{"name": name, "called": called, "cells": [shown, "<b>"]} for name, called, shown in VERSIONS]
    table = json.dumps({"columns": COLUMNS, "versions": rows})
    render(page, str(VersionTable._esm), str(VersionTable._css), table=table, selection="simple", chosen=chosen)


def test_ticks_choose_several_by_name_and_a_click_selects_by_title(page: Any) -> None:
    show(page)
    assert page.locator("tbody tr").count() == 3
    assert page.locator("tbody tr[aria-selected=true]").inner_text().startswith("simple")
    page.get_by_label("compare mine").check()
    page.get_by_label("compare simple").check()
    assert json.loads(carried(page, "chosen")) == ["best", "simple"]
    page.get_by_label("compare mine").uncheck()
    assert json.loads(carried(page, "chosen")) == ["simple"]
    assert carried(page, "selection") == "simple"
    page.locator("tbody tr").nth(2).click()
    assert carried(page, "selection") == "mine"
    page.locator("tbody tr").nth(0).click()  # float is none
    assert carried(page, "selection") == "mine"
    carry(page, "chosen", "[]")  # as where the version is gone
    assert not page.get_by_label("compare simple").is_checked()
    assert page.locator("td").first.inner_text() == "<b>"

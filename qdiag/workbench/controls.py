"""Small parts that every panel is made of. All of them work by keyboard in JupyterLab."""

import html
from collections.abc import Callable, Iterable, Sequence

import ipywidgets as widgets

from qdiag.report.inline import spans


def button(text: str, css: str, on_click: Callable[..., None], style: str = "", tooltip: str = "") -> widgets.Button:
    """As wide as its text. css: the class that it is found by."""
    made = widgets.Button(description=text, button_style=style, tooltip=tooltip, layout={"width": "auto"})
    made.on_click(on_click)
    return made.add_class(css)


def toggles(options: Iterable[str], css: str, tooltips: Sequence[str] = ()) -> widgets.ToggleButtons:
    """One of a few, as buttons of their own width: JupyterLab keeps the arrow keys of a drop-down list for itself."""
    made = widgets.ToggleButtons(options=list(options), tooltips=tooltips, style={"button_width": "auto"})
    return made.add_class(css)


def row(*children: widgets.Widget) -> widgets.Box:
    """Side by side, and below each other where the window is narrow."""
    return widgets.Box(children, layout={"flex_flow": "row wrap", "align_items": "center", "overflow": "visible"})


def complaint(css: str) -> widgets.HTML:
    """A line beside a control for what went wrong with it; nothing as long as nothing did."""
    return widgets.HTML(layout={"display": "none"}).add_class("qd-complaint").add_class(css)


def heading(text: str) -> widgets.HTML:
    """What begins a panel."""
    return widgets.HTML(f'<div style="font-weight:600;margin-top:0.8em;border-top:1px solid #8884">{text}</div>')


def marked(text: str) -> str:
    """The `Text` of a report, of one paragraph, as HTML."""
    tags = {"plain": "{}", "bold": "<b>{}</b>", "code": "<code>{}</code>"}
    return "".join(tags[span.style].format(escaped(span.text)) for span in spans(text))


def escaped(text: object) -> str:
    """Text to stand in HTML."""
    return html.escape(str(text))

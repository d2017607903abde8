"""What one case comes to, and the names that its layers go by."""

from typing import Any

from qdiag.tracing.site import Site

Row = dict[str, Any]


def key(site: Site) -> str:
    """A site by the name that the truth has for it."""
    if site.op in ("add", "cat", "mul"):
        return f"{site.path}:{site.op}"
    if "pool" in site.op or site.op == "mean":
        return f"{site.path}:pool"
    return str(site) if site.op == "input" else site.path

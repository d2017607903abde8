"""Layers by what a user calls them: an address, a module's path, or a pattern."""

import fnmatch

from qdiag.tracing.site import Site


def matches(site: Site, pattern: str) -> bool:
    """True where a pattern means an operation: its address, a module around it, or a shell pattern of its address.

    Args:
        site: The operation's address.
        pattern: As the user wrote it.

    >>> conv = Site("block1.conv", "conv2d")
    >>> [matches(conv, pattern) for pattern in ("block1.conv", "block1", "block*", "block")]
    [True, True, True, False]
    """
    return fnmatch.fnmatchcase(str(site), pattern) or site.path == pattern or site.path.startswith(pattern + ".")

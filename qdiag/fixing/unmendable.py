"""Why a module's forward cannot be rewritten; it is left as it was, and the reason is told."""


class Unmendable(Exception):
    """Never leaves `fix_model`."""

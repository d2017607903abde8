"""Where `qdiag.tracing.borrowing` lay: for the rooms that still name it so."""

from qdiag.tracing.borrowing import borrow, borrow_stepwise, is_exported

__all__ = ["borrow", "borrow_stepwise", "is_exported"]

"""The command line: `qdiag demo | lint | compare | diagnose | report | lab | explain`.

May import: pipeline and everything under it, and the workbench's `lab`. Only words and files come in and go out here.
"""

from qdiag.cli.app import main

__all__ = ["main"]

"""The command line: `qdiag demo | lint | compare | diagnose | calibrate | train | export | verify | report | …`.

`options` are what the user types, `subject` makes a model and its data from them and `quantized` the same in fixed
point, `commands` holds one file for each command, and `output` is what comes back. May import: workbench and below.
"""

from qdiag.cli.app import main

__all__ = ["main"]

"""The workbench's panels, one file each: controls bound to a session's commands, and its results shown.

May import: the workbench's own controls and figures, reports, and results as types; never torch.
"""

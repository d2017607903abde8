"""The workbench: the page that an engineer keeps open in a notebook.

Here live `Session`, its headless core; `Workbench`, the page, which binds controls to the session's commands and shows
its results; and `launch_lab()`. The only user of ipywidgets. May import: everything under it, torch only in `Session`.
"""

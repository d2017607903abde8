"""The workbench: the page that an engineer keeps open in a notebook.

Here live `Session`, its headless core, with a history of `Version`s; `Workbench`, the page of `panels/`, which bind
controls to the session's commands and show its results; and `launch_lab()`. The only user of ipywidgets. May import:
pipeline and below.
"""

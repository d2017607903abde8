"""Report: how anything is shown, in a terminal, in a notebook, as JSON, as pandas, as one HTML file.

Here live the plain data of a report (`Report`, `Section`, `Table`, `Chart` …, in elements.py, table.py, cells.py and
chart.py), colours by what they mean (colours.py), the mixin `Displayable` that every result inherits, and one renderer
for each face (`to_text`, `to_json`, `to_pandas`, `to_html`, `to_plotly`, `to_matplotlib`). None imports torch.

May import: demo and below.
"""

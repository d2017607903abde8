"""The demo: two small depthwise networks for handwritten digits, with weights and data, ready for every command.

One is built and trained in a way that quantizes, the other as such networks are found in the wild. May import:
weights and below.
"""

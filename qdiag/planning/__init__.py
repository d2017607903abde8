"""Planning: which tensor gets which number format, decided from the trace alone.

Here live `Layer` (operations the target computes in one go), `QuantPlan` (layers and what stays in float, with the
reason) and `plan_quantization()`; `targets/` holds what differs between inference engines, one file each. May import:
tracing and below.
"""

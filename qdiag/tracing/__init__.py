"""Tracing: one eager forward, and every tensor of it gets an address.

Here live `Site` (the address), `Call`, `Value` and `Trace` (what happened in one forward), `trace()`, the `Interceptor`
on which every later run over the same addresses is built, and `borrow()`, which hands the user's model back as it was.
May import: numerics, report and below.
"""

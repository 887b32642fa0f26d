from __future__ import annotations

from hypothesis import settings

# No deadline: a test machine may be busy. Derandomized: a failure on one machine is a failure on every one.
settings.register_profile("wals", deadline=None, derandomize=True)
settings.load_profile("wals")

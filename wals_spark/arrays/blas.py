"""How many threads NumPy's BLAS takes in this process."""

from __future__ import annotations

import numpy as np


def blas_threads() -> int:
    """The most threads that a BLAS loaded here runs; 0 where nothing can be found out (no threadpoolctl)."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return 0
    np.ones((1, 1)) @ np.ones((1, 1))  # some load it when it is first used
    return max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=0)

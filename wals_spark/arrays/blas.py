"""The number of threads that NumPy's BLAS uses in this process."""

from __future__ import annotations

import numpy as np


def blas_threads() -> int:
    """The largest thread count of the BLAS libraries loaded here; 0 if it is unknown, without threadpoolctl."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return 0
    np.ones((1, 1)) @ np.ones((1, 1))  # some BLAS libraries are loaded at the first use
    return max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=0)

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("numba")


def test_kernels_compile_where_no_cache_can_be_written():
    """As for an executor's user without a home, on code that belongs to somebody else."""
    code = "from wals_spark.solvers.kernels import numba_kernels; print(numba_kernels().normal_equations)"
    nowhere = {**os.environ, "NUMBA_CACHE_LOCATOR_CLASSES": "IPythonCacheLocator"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=nowhere, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "normal_equations" in done.stdout

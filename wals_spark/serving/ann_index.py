"""An index for approximate search (HNSW) in Faiss's own file format; the extra `index` brings Faiss.

Faiss ranks by the inner product itself, so items go in as they are: as cosines (`export.py`) they are found less often
(docs/serving.md has the figures).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wals_spark.arrays.types import Float32Array
from wals_spark.errors import ConfigError
from wals_spark.serving.vectors import Precision

_ROWS_AT_A_TIME = 65_536
_TRAINED_ON = 65_536  # rows that say what range each coordinate has


def require_faiss() -> Any:
    """The library.

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise ConfigError(
            "export.index = hnsw needs Faiss: pip install 'wals_spark[index]', or set it to none"
        ) from error
    return faiss


def build_index(
    items: Float32Array, *, precision: Precision, neighbours: int, build_effort: int, search_effort: int
) -> Any:
    """An HNSW graph (Malkov and Yashunin 2018) of items, shape (n, width), that are found by their row number.

    Parameters
    ----------
    precision : str
        Of the vectors inside the index; int8 is Faiss's own, with a range for each coordinate.
    neighbours, build_effort, search_effort : int
        HNSW's M, efConstruction and efSearch; the last is kept in the file and may be changed after reading.
    """
    faiss = require_faiss()
    width = items.shape[1]
    if precision == "float32":
        index = faiss.IndexHNSWFlat(width, neighbours, faiss.METRIC_INNER_PRODUCT)
    else:
        kind = faiss.ScalarQuantizer.QT_fp16 if precision == "float16" else faiss.ScalarQuantizer.QT_8bit
        index = faiss.IndexHNSWSQ(width, kind, neighbours, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = build_effort, search_effort
    if not index.is_trained:
        index.train(np.ascontiguousarray(items[:: max(1, len(items) // _TRAINED_ON)]))
    for begin in range(0, len(items), _ROWS_AT_A_TIME):
        index.add(np.ascontiguousarray(items[begin : begin + _ROWS_AT_A_TIME]))
    return index

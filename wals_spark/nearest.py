"""An index for approximate search (HNSW) in Faiss's own file format; the extra `index` brings Faiss."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from wals_spark.errors import ConfigError
from wals_spark.export import Precision

Floats = npt.NDArray[np.float32]


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
        raise ConfigError("export.index = hnsw needs Faiss: pip install 'wals_spark[index]', or set it to none") from error
    return faiss


def build_index(
    tiles: Iterable[Floats], *, width: int, precision: Precision, neighbours: int, build_effort: int, search_effort: int
) -> Any:
    """An HNSW graph (Malkov and Yashunin 2018) of all rows, found by inner product; row k of the tiles has the id k.

    Parameters
    ----------
    precision : str
        Of the vectors inside the index; int8 is Faiss's own, with a range for each coordinate.
    neighbours, build_effort, search_effort : int
        HNSW's M, efConstruction and efSearch; the last is kept in the file and may be changed after reading.
    """
    faiss = require_faiss()
    if precision == "float32":
        index = faiss.IndexHNSWFlat(width, neighbours, faiss.METRIC_INNER_PRODUCT)
    else:
        kind = faiss.ScalarQuantizer.QT_fp16 if precision == "float16" else faiss.ScalarQuantizer.QT_8bit
        index = faiss.IndexHNSWSQ(width, kind, neighbours, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = build_effort, search_effort
    for tile in tiles:
        rows = np.ascontiguousarray(tile)
        if not index.is_trained:
            index.train(rows)
        index.add(rows)
    return index

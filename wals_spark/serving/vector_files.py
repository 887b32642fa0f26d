"""The files of an export, made on one machine from items in memory-mapped files, and their measured recall."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wals_spark.arrays.types import Float32Array
from wals_spark.errors import InputError
from wals_spark.ranking.top_k import top_k
from wals_spark.serving.ann_index import build_index, require_faiss
from wals_spark.serving.vectors import Stored, augmented_items, augmented_queries, longest, recall
from wals_spark.settings.export import ExportOptions

_ROWS_AT_A_TIME = 65_536


def write_export(
    folder: Path, ids: pa.Array, items: Float32Array, users: Float32Array, options: ExportOptions
) -> dict[str, Any]:
    """Write `ids.parquet`, `items.npy` and what else the options ask for; give what `export.json` says of them.

    Parameters
    ----------
    folder : Path
        A local one, which is there.
    ids, items : shape (n_items,) and (n_items, width)
        Row k of every file is item ``ids[k]``. ``items`` may be a memory-mapped file.
    users : float32, shape (n_users, width)
        Those that recall is measured on.

    Raises
    ------
    InputError
        If there are fewer than k items, or all are zero, or one is beyond the range of the precision.
    """
    if len(items) < options.k:
        raise InputError(f"export.k = {options.k}: the model has only {len(items)} items")
    largest = longest(items)
    if not largest:
        raise InputError("all items' vectors are zero: there is nothing to search for")
    pq.write_table(pa.table({"id": ids}), folder / "ids.parquet")
    stored, queries = _write_vectors(folder, items, largest, options), users
    if options.similarity == "cosine":
        queries = augmented_queries(users)
    exact = top_k(users, items, options.k).positions
    rounded = cast("Float32Array", stored)  # it is sliced, and gives float32
    found = {"vectors": recall(top_k(queries, rounded, options.k).positions, exact)}
    document: dict[str, Any] = {
        "format": "wals_spark export",
        "format_version": 1,
        "items": len(items),
        "width": queries.shape[1],
        "similarity": options.similarity,
        "longest_item": largest,
        "precision": options.precision,
    }
    if options.index != "none":
        found["index"] = recall(_write_index(folder, items, options).search(users, options.k)[1], exact)
        document["index"] = {"library": "faiss", "version": require_faiss().__version__, "similarity": "dot"}
    return {**document, "recall": {"k": options.k, "users": len(users), "found_by": found}}


def _write_vectors(folder: Path, items: Float32Array, largest: float, options: ExportOptions) -> Stored:
    """Write rows as asked for, a part at a time, and give them as a file mapped into memory."""
    cosine = options.similarity == "cosine"
    shape = len(items), items.shape[1] + cosine
    values = np.lib.format.open_memmap(folder / "items.npy", mode="w+", dtype=np.dtype(options.precision), shape=shape)
    scales = np.empty(len(items) if options.precision == "int8" else 0, dtype=np.float32)
    for begin in range(0, len(items), _ROWS_AT_A_TIME):
        rows = items[begin : begin + _ROWS_AT_A_TIME]
        try:
            part = Stored.of(augmented_items(rows, largest) if cosine else rows, options.precision)
        except OverflowError as error:
            raise InputError(f"export.precision = float16: {error}; take float32, or similarity = cosine") from error
        values[begin : begin + len(rows)] = part.values
        if part.scales is not None:
            scales[begin : begin + len(rows)] = part.scales
    values.flush()
    if len(scales):
        np.save(folder / "scales.npy", scales)
    return Stored(values, scales if len(scales) else None)


def _write_index(folder: Path, items: Float32Array, options: ExportOptions) -> Any:
    index = build_index(
        items,
        precision=options.precision,
        neighbours=options.neighbours,
        build_effort=options.build_effort,
        search_effort=options.search_effort,
    )
    require_faiss().write_index(index, str(folder / "index.faiss"))
    return index

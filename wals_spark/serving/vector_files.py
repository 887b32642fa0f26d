"""The files of an export, written on one machine from memory-mapped items, and the recall measured on them."""

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
from wals_spark.serving.vectors import StoredVectors, augmented_items, augmented_queries, max_length, recall
from wals_spark.settings.export import ExportOptions

_BATCH_ROWS = 65_536


def write_export(
    folder: Path, ids: pa.Array, items: Float32Array, users: Float32Array, options: ExportOptions
) -> dict[str, Any]:
    """Write `ids.parquet`, `items.npy` and what else the options ask for; return the content of `export.json`.

    Parameters
    ----------
    folder : Path
        An existing local folder.
    ids, items : shape (n_items,) and (n_items, width)
        Row k of every file is item ``ids[k]``. ``items`` may be a memory-mapped file.
    users : float32, shape (n_users, width)
        The sample of users that recall is measured on.

    Raises
    ------
    InputError
        If there are fewer than k items, all are zero, or one is outside the range of the precision.
    """
    if len(items) < options.k:
        raise InputError(f"export.k = {options.k}: the model has only {len(items)} items")
    longest = max_length(items)
    if not longest:
        raise InputError("all items' vectors are zero: there is nothing to search for")
    pq.write_table(pa.table({"id": ids}), folder / "ids.parquet")
    stored = _write_vectors(folder, items, longest, options)
    index = None if options.index == "none" else _write_index(folder, items, options)
    document: dict[str, Any] = {
        "format": "wals_spark export",
        "format_version": 1,
        "items": len(items),
        "width": stored.values.shape[1],
        "similarity": options.similarity,
        "longest_item": longest,
        "precision": options.precision,
    }
    if index is not None:
        document["index"] = {"library": "faiss", "version": require_faiss().__version__, "similarity": "dot"}
    recalls = _measure_recall(items, users, stored, index, options)
    return {**document, "recall": {"k": options.k, "users": len(users), "found_by": recalls}}


def _measure_recall(
    items: Float32Array, users: Float32Array, stored: StoredVectors, index: Any, options: ExportOptions
) -> dict[str, float]:
    """The recall of exact search over the stored vectors, and of the index if there is one."""
    exact = top_k(users, items, options.k).positions
    queries = augmented_queries(users) if options.similarity == "cosine" else users
    rounded = cast("Float32Array", stored)  # top_k only takes slices of it, which are float32
    recalls = {"vectors": recall(top_k(queries, rounded, options.k).positions, exact)}
    if index is not None:
        recalls["index"] = recall(index.search(users, options.k)[1], exact)
    return recalls


def _write_vectors(folder: Path, items: Float32Array, longest: float, options: ExportOptions) -> StoredVectors:
    """Write the vectors in batches of rows; return them as a memory-mapped file."""
    cosine = options.similarity == "cosine"
    shape = len(items), items.shape[1] + cosine
    values = np.lib.format.open_memmap(folder / "items.npy", mode="w+", dtype=np.dtype(options.precision), shape=shape)
    scales = np.empty(len(items) if options.precision == "int8" else 0, dtype=np.float32)
    for begin in range(0, len(items), _BATCH_ROWS):
        rows = items[begin : begin + _BATCH_ROWS]
        try:
            batch = StoredVectors.of(augmented_items(rows, longest) if cosine else rows, options.precision)
        except OverflowError as error:
            raise InputError(
                f"export.precision = float16: {error}; choose float32, or export.similarity = cosine"
            ) from error
        values[begin : begin + len(rows)] = batch.values
        if batch.scales is not None:
            scales[begin : begin + len(rows)] = batch.scales
    values.flush()
    if len(scales):
        np.save(folder / "scales.npy", scales)
    return StoredVectors(values, scales if len(scales) else None)


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

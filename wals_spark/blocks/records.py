"""Arrays cut into pieces small enough to travel, and put together again.

Everything that crosses the network or a file between two tasks is a `Record`. A piece holds at most
`RECORD_BYTES` of payload (never less than one row), which bounds two things that are easy to get wrong:

* PySpark's `partitionBy` collects the first 100 records of a task by destination before it writes them,
  each destination as one record: 100 pieces of 2 MiB stay below the 256 MiB a record may have.
* Spark's Parquet writer looks at the size of a row group only after 100 rows: 200 MiB, not gigabytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from wals_spark.arrays.types import AnyArray

RECORD_BYTES = 2 * 1024 * 1024


class Record(NamedTuple):
    """A run of rows of a named array.

    ``peer`` is the block at the other end (the source of received rows, the destination of sent ones; 0 where
    there is none), ``start`` the first row's index in the whole array, ``payload`` the rows' bytes.
    """

    name: str
    peer: int
    start: int
    payload: bytes


def cut(name: str, array: AnyArray, *, peer: int = 0, record_bytes: int = RECORD_BYTES) -> Iterator[Record]:
    """Cut ``array`` along its first axis; an empty array gives no piece."""
    row_bytes = max(1, array.itemsize * int(np.prod(array.shape[1:], dtype=np.int64)))
    step = max(1, record_bytes // row_bytes)
    for start in range(0, len(array), step):
        yield Record(name, peer, start, np.ascontiguousarray(array[start : start + step]).tobytes())


def join(records: Iterable[Record], dtype: npt.DTypeLike) -> AnyArray:
    """Put pieces of one flat array together, in the order of ``start`` whatever order they came in."""
    parts = sorted(records, key=lambda record: record.start)
    if not parts:
        return np.empty(0, dtype=dtype)
    return np.concatenate([np.frombuffer(part.payload, dtype=dtype) for part in parts])


def cut_typed(name: str, array: AnyArray, *, peer: int = 0) -> Iterator[Record]:
    """Cut a flat array whose type is not known where it arrives: the name of a piece ends in it."""
    return cut(f"{name}.{array.dtype.name}", array, peer=peer)


def cut_ids(name: str, ids: pa.Array, *, peer: int = 0, record_bytes: int = RECORD_BYTES) -> Iterator[Record]:
    """Cut an Arrow array of ids; each payload is an Arrow IPC stream, so that the type travels too."""
    step = max(1, record_bytes * len(ids) // max(1, ids.nbytes)) if len(ids) else 1
    for start in range(0, len(ids), step):
        batch = pa.record_batch([ids.slice(start, step)], names=["id"])
        yield Record(name, peer, start, as_stream(batch))


def join_ids(records: Iterable[Record]) -> pa.Array:
    """Put pieces of one array of ids together; without any piece, an empty array of type null."""
    parts = sorted(records, key=lambda record: record.start)
    if not parts:
        return pa.nulls(0)
    tables = [pa.ipc.open_stream(part.payload).read_all() for part in parts]
    return pa.concat_tables(tables).column("id").combine_chunks()


def as_stream(batch: pa.RecordBatch) -> bytes:
    """A record batch as an Arrow IPC stream of its own."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


GroupedRecords = dict[str, dict[int, list[Record]]]
"""A task's pieces as ``{name: {peer: pieces}}``."""


def records_of(found: GroupedRecords, name: str, peer: int = 0) -> list[Record]:
    """The pieces of one array, none if the block has none of it."""
    return found.get(name, {}).get(peer, [])


def join_typed(found: GroupedRecords, names: Iterable[str], peer: int = 0) -> dict[str, AnyArray]:
    """The arrays that `cut_typed` cut, by their names; one of which there is no piece is empty."""
    joined: dict[str, AnyArray] = dict.fromkeys(names, np.empty(0, dtype=np.int64))
    for typed, by_peer in found.items():
        name, _, dtype = typed.partition(".")
        if dtype and name in joined and peer in by_peer:
            joined[name] = join(by_peer[peer], dtype)
    return joined


def group_records(records: Iterable[Record]) -> GroupedRecords:
    """Sort a task's pieces by the array they belong to."""
    sorted_pieces: GroupedRecords = {}
    for record in records:
        sorted_pieces.setdefault(record.name, {}).setdefault(record.peer, []).append(record)
    return sorted_pieces

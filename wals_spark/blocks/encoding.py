"""The one encoding of blocks: named arrays, as records on the network and in Parquet, as files on an executor's disk.

A block is a set of flat arrays, each with a name, ``kind.field`` (``in.positions``), and a peer: the block at the other
end, 0 where there is none. `ArrayBlock.arrays` yields them, and `ArrayBlock.read` builds the block from any source of
arrays:

* `RecordArrays`: arrays cut into records of at most `RECORD_BYTES` (never less than one row), which travel between
  tasks and lie in Parquet files. The limit bounds two things that are easy to get wrong: PySpark's `partitionBy`
  collects the first 100 records of a task by destination before it writes them, each destination as one record, so 100
  records of 2 MiB stay below the 256 MiB that a record may have; and Spark's Parquet writer looks at the size of a row
  group only after 100 rows, 200 MiB and not gigabytes.
* `MappedArrays`: one ``.npy`` file per array, in the executor-local cache, mapped into memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from wals_spark.arrays.types import AnyArray

RECORD_BYTES = 2 * 1024 * 1024
INDEX = "index.json"


class Record(NamedTuple):
    """A run of rows of a named array.

    ``peer`` is the block at the other end (the source of received rows, the destination of sent ones; 0 where
    there is none), ``start`` the index of the first row in the whole array, ``payload`` the bytes of the rows.
    """

    name: str
    peer: int
    start: int
    payload: bytes


GroupedRecords = dict[str, dict[int, list[Record]]]
"""The records of a task as ``{name: {peer: records}}``."""


class NamedArray(NamedTuple):
    """An array of a block: ``name`` is ``kind.field``."""

    name: str
    peer: int
    values: AnyArray


class ArraySource(Protocol):
    """Where a block's arrays are read from, whatever carries them."""

    def array(self, name: str, peer: int = 0) -> AnyArray:
        """The flat array of this name; without entries where the source has none."""

    def peers(self, kind: str) -> list[int]:
        """The peers that arrays of this kind have, ascending."""


Block = TypeVar("Block", bound="ArrayBlock")


class ArrayBlock:
    """A dataclass whose fields are flat arrays, encoded under the name of its ``kind``."""

    kind: ClassVar[str]

    def arrays(self, kind: str = "", *, peer: int = 0) -> Iterator[NamedArray]:
        """The block as named arrays; ``kind`` replaces the class's own where a task has several such blocks."""
        for field in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            yield NamedArray(f"{kind or self.kind}.{field.name}", peer, getattr(self, field.name))

    @classmethod
    def read(cls: type[Block], source: ArraySource, kind: str = "", *, peer: int = 0) -> Block:
        """Build the block from a source of arrays; a source without it gives a block without rows."""
        names = [field.name for field in fields(cls)]  # type: ignore[arg-type]  # as above
        return cls(**{name: source.array(f"{kind or cls.kind}.{name}", peer) for name in names})


def to_records(arrays: Iterable[NamedArray]) -> Iterator[Record]:
    """Cut arrays into records; the name of a record ends in the type of its array, `RecordArrays` reads it."""
    for name, peer, values in arrays:
        yield from cut(f"{name}.{values.dtype.name}", values, peer=peer)


class RecordArrays:
    """The arrays that `to_records` cut, from the records that a task received."""

    def __init__(self, records: GroupedRecords) -> None:
        self._arrays: dict[str, dict[int, tuple[str, list[Record]]]] = {}
        for typed_name, by_peer in records.items():
            name, _, dtype = typed_name.rpartition(".")
            if name:  # others, such as received rows, are not of `to_records`
                for peer, parts in by_peer.items():
                    self._arrays.setdefault(name, {})[peer] = dtype, parts

    def array(self, name: str, peer: int = 0) -> AnyArray:
        """The array, joined in the order of ``start``."""
        dtype, parts = self._arrays.get(name, {}).get(peer, ("int64", []))
        return join(parts, dtype)

    def peers(self, kind: str) -> list[int]:
        """The peers that arrays of this kind have, ascending."""
        of_kind = (by_peer for name, by_peer in self._arrays.items() if name.partition(".")[0] == kind)
        return sorted({peer for by_peer in of_kind for peer in by_peer})


@dataclass(frozen=True)
class MappedArrays:
    """Arrays as ``.npy`` files in a folder, mapped into memory when they are read; an index has the sizes of all.

    Files that are not as they were written raise OSError or ValueError.
    """

    folder: Path

    def save(self, arrays: Iterable[NamedArray]) -> None:
        """Write one file per array, and last the index."""
        sizes = {}
        for name, peer, values in arrays:
            file = self._file(name, peer)
            np.save(file, values)
            sizes[file.name] = file.stat().st_size
        (self.folder / INDEX).write_text(json.dumps(sizes), encoding="utf-8")

    @cached_property
    def sizes(self) -> dict[str, int]:
        """The size in bytes of each file, as the index has it."""
        sizes = json.loads((self.folder / INDEX).read_text(encoding="utf-8"))
        if not isinstance(sizes, dict):
            raise ValueError(f"{self.folder / INDEX} is no index")
        return sizes

    def is_whole(self) -> bool:
        """Whether the index and all files that it names are there, in their sizes."""
        try:
            return all((self.folder / name).stat().st_size == size for name, size in self.sizes.items())
        except (OSError, ValueError):
            return False

    def array(self, name: str, peer: int = 0) -> AnyArray:
        """The array, mapped."""
        file = self._file(name, peer)
        return map_array(file, self.sizes.get(file.name, -1))

    def peers(self, kind: str) -> list[int]:
        """The peers that arrays of this kind have, ascending."""
        return sorted({int(name.split(".")[2]) for name in self.sizes if name.partition(".")[0] == kind})

    def _file(self, name: str, peer: int) -> Path:
        return self.folder / f"{name}.{peer}.npy"


def map_array(file: Path, size: int) -> AnyArray:
    """Map an ``.npy`` file of so many bytes copy on write: compiled kernels take a read-only array for another type.

    Raises
    ------
    OSError, ValueError
        If there is no such file, or it is not of that size.
    """
    if file.stat().st_size != size:
        raise ValueError(f"{file} has {file.stat().st_size} bytes and not {size}")
    mapped: AnyArray = np.load(file, mmap_mode="c").view(np.ndarray)
    return mapped


def group_records(records: Iterable[Record]) -> GroupedRecords:
    """Group the records of a task by the array and the peer that they belong to."""
    grouped: GroupedRecords = {}
    for record in records:
        grouped.setdefault(record.name, {}).setdefault(record.peer, []).append(record)
    return grouped


def records_of(records: GroupedRecords, name: str, peer: int = 0) -> list[Record]:
    """The records of one array; none if the task has none of it."""
    return records.get(name, {}).get(peer, [])


def cut(name: str, array: AnyArray, *, peer: int = 0, record_bytes: int = RECORD_BYTES) -> Iterator[Record]:
    """Cut an array along its first axis into records under exactly this name; an empty array gives none."""
    row_bytes = max(1, array.itemsize * int(np.prod(array.shape[1:], dtype=np.int64)))
    step = max(1, record_bytes // row_bytes)
    for start in range(0, len(array), step):
        yield Record(name, peer, start, np.ascontiguousarray(array[start : start + step]).tobytes())


def join(records: Iterable[Record], dtype: npt.DTypeLike) -> AnyArray:
    """Join records of one flat array in the order of ``start``, whatever order they arrived in."""
    parts = sorted(records, key=lambda record: record.start)
    if not parts:
        return np.empty(0, dtype=dtype)
    return np.concatenate([np.frombuffer(part.payload, dtype=dtype) for part in parts])


def cut_ids(name: str, ids: pa.Array, *, peer: int = 0, record_bytes: int = RECORD_BYTES) -> Iterator[Record]:
    """Cut an Arrow array of ids; each payload is an Arrow IPC stream, so that the type travels too."""
    step = max(1, record_bytes * len(ids) // max(1, ids.nbytes)) if len(ids) else 1
    for start in range(0, len(ids), step):
        batch = pa.record_batch([ids.slice(start, step)], names=["id"])
        yield Record(name, peer, start, as_stream(batch))


def join_ids(records: Iterable[Record]) -> pa.Array:
    """Join records of one array of ids; without any record, an empty array of type null."""
    parts = sorted(records, key=lambda record: record.start)
    if not parts:
        return pa.nulls(0)
    tables = [pa.ipc.open_stream(part.payload).read_all() for part in parts]
    return pa.concat_tables(tables).column("id").combine_chunks()


def ids_of(records: GroupedRecords, name: str = "ids", peer: int = 0) -> pa.Array:
    """The ids that a task received under this name."""
    return join_ids(records_of(records, name, peer))


def as_stream(batch: pa.RecordBatch) -> bytes:
    """A record batch as an Arrow IPC stream of its own."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def keyed(block: int, records: Iterable[Record]) -> Iterator[tuple[int, Record]]:
    """Address records to a block."""
    return ((block, record) for record in records)

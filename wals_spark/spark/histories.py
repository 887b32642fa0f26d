"""Interactions gathered by user, and brought beside the users' own rows: what recommending and judging start from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from wals_spark.arrays.arrow import as_arrow, as_numpy
from wals_spark.arrays.sorting import stable_argsort
from wals_spark.arrays.types import Indices
from wals_spark.errors import InputError

_TASK_SECONDS = 20  # long beside the start of a task, short beside a run
_SCORES_A_SECOND = 2e8  # of one core at rank 64, roughly
_QUERIES_A_TASK = 200_000  # with histories of a hundred items, 200 MB
_IDS_A_BATCH = 10_000


def histories(interactions: DataFrame, *, by: str = "user", n_partitions: int) -> DataFrame:
    """One row for each ``by``: `id`, and each other column as an array under its own name, their entries side by side.

    Shuffles once, to ``n_partitions`` by id; a partition is gathered in a task's memory. Interactions have no nulls;
    repeated ones are repeated in the arrays.
    """
    columns = interactions.select(F.col(by).alias("id"), *(name for name in interactions.columns if name != by))
    lists = [T.StructField(f.name, T.ArrayType(f.dataType, False), False) for f in columns.schema.fields[1:]]
    schema = T.StructType([T.StructField("id", columns.schema["id"].dataType, False), *lists])
    return columns.repartition(n_partitions, "id").mapInArrow(gathered, schema)


def gathered(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """On an executor: rows (id, ...) in, one row for each id out, its others' entries as lists."""
    table = _table(batches)
    if table is None:
        return
    ids = table["id"].combine_chunks().dictionary_encode()
    yield from _with_lists(pa.table({"id": ids.dictionary}), as_numpy(ids.indices), table.drop_columns(["id"]))


def beside(queries: DataFrame, interactions: DataFrame, *, by: str, n_partitions: int) -> DataFrame:
    """Rows of ``queries`` (id, features) and, of the same partition, their interactions: for `gathered_beside`.

    One shuffle, and nothing between it and the task that uses both: lists that Spark is given in between cost more
    than the ranking they are for.
    """
    others = (name for name in interactions.columns if name != by)
    rows = queries.unionByName(interactions.select(F.col(by).alias("id"), *others), allowMissingColumns=True)
    return rows.repartition(n_partitions, "id")


def gathered_beside(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """On an executor: a partition of `beside` in; its queries out, with their interactions' columns as lists.

    A query without interactions has empty lists; interactions without a query are left out.
    """
    table = _table(batches)
    if table is None:
        return
    is_query = table["features"].is_valid()
    queries = table.filter(is_query).select(["id", "features"]).combine_chunks()
    entries = table.filter(pc.invert(is_query)).drop_columns(["features"])
    codes = pc.index_in(entries["id"], value_set=queries["id"].combine_chunks())
    known = codes.is_valid()
    codes = as_numpy(codes.filter(known))
    yield from _with_lists(queries, codes, entries.drop_columns(["id"]).filter(known))


def _table(batches: Iterable[pa.RecordBatch]) -> pa.Table | None:
    parts = [batch for batch in batches if batch.num_rows]
    return pa.Table.from_batches(parts).combine_chunks() if parts else None


def _with_lists(rows: pa.Table, codes: Indices, entries: pa.Table) -> Iterator[pa.RecordBatch]:
    """``rows``, some at a time, with the ``entries`` whose code is the row's number as lists, in their order."""
    order = stable_argsort(codes)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=len(rows)))])
    for begin in range(0, len(rows), _IDS_A_BATCH):
        bounds = indptr[begin : begin + _IDS_A_BATCH + 1]
        taken = entries.take(as_arrow(order[bounds[0] : bounds[-1]]))
        offsets = as_arrow((bounds - bounds[0]).astype(np.int32))
        lists = [pa.ListArray.from_arrays(offsets, column.combine_chunks()) for column in taken.columns]
        some = rows.slice(begin, _IDS_A_BATCH).combine_chunks()
        plain = [column.chunk(0) for column in some.columns]
        yield pa.record_batch([*plain, *lists], names=[*some.column_names, *taken.column_names])


def in_type_of(table: DataFrame, column: str, factors: DataFrame, *, setting: str) -> DataFrame:
    """The table with its ids in the type of those of ``factors``; rows whose id does not fit into it are left out.

    Raises
    ------
    InputError
        If one has strings and the other numbers, so that no id can be found; ``setting`` is what names the column.
    """
    found, known = (t.schema[name].dataType for t, name in ((table, column), (factors, "id")))
    refuse_other_type(found, known, setting=setting)
    if found == known:
        return table
    return table.withColumn(column, F.expr(f"try_cast({column} as {known.simpleString()})")).dropna(subset=[column])


def refuse_other_type(found: T.DataType, known: T.DataType, *, setting: str) -> None:
    """Text finds no numbers.

    Raises
    ------
    InputError
        If ids are strings where those of the model are integers, or the other way round.
    """
    if isinstance(found, T.StringType) != isinstance(known, T.StringType):
        raise InputError(
            f"{setting}: ids are of type {found.simpleString()}, those of the model of type {known.simpleString()}; "
            "cast the column in the source"
        )


def with_histories(queries: DataFrame, gathered: DataFrame, *, n_partitions: int) -> DataFrame:
    """The rows of ``queries`` (id, ...), with the columns of ``gathered`` beside them; null for an id that has none."""
    left, right = (table.repartition(n_partitions, "id") for table in (queries, gathered))
    return left.join(right, "id", "left")


def partitions(queries: int, items: int, cores: int) -> int:
    """How many tasks score so many pairs: at least one a core, and none with too many queries for its memory."""
    return max(cores, round(queries * items / _SCORES_A_SECOND / _TASK_SECONDS), -(-queries // _QUERIES_A_TASK))

"""Interactions gathered by user, and joined to the rows of their users: what recommending and evaluating start from."""

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
_SCORES_PER_SECOND = 2e8  # of one core at rank 64, roughly
_QUERIES_PER_TASK = 200_000  # with histories of a hundred items, 200 MB
_IDS_PER_BATCH = 10_000


def histories(interactions: DataFrame, *, by: str = "user", n_partitions: int) -> DataFrame:
    """One row per ``by``: `id`, and each other column as an array under its own name, their entries in one order.

    Shuffles once, to ``n_partitions`` by id; a partition is gathered in a task's memory. Interactions have no nulls;
    repeated ones are repeated in the arrays.
    """
    columns = interactions.select(F.col(by).alias("id"), *(name for name in interactions.columns if name != by))
    lists = [T.StructField(f.name, T.ArrayType(f.dataType, False), False) for f in columns.schema.fields[1:]]
    schema = T.StructType([T.StructField("id", columns.schema["id"].dataType, False), *lists])
    return columns.repartition(n_partitions, "id").mapInArrow(gathered, schema)


def gathered(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """On an executor: rows (id, ...) in, one row per id out, with its other columns as lists."""
    table = _table(batches)
    if table is None:
        return
    ids = table["id"].combine_chunks().dictionary_encode()
    yield from _with_lists(pa.table({"id": ids.dictionary}), as_numpy(ids.indices), table.drop_columns(["id"]))


def beside(queries: DataFrame, interactions: DataFrame, *, by: str, n_partitions: int) -> DataFrame:
    """Rows of ``queries`` (id, features) and their interactions in the same partitions: for `gathered_beside`.

    One shuffle, and one task that uses both: passing lists through Spark in between costs more than the ranking.
    """
    others = (name for name in interactions.columns if name != by)
    rows = queries.unionByName(interactions.select(F.col(by).alias("id"), *others), allowMissingColumns=True)
    return rows.repartition(n_partitions, "id")


def gathered_beside(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """On an executor: a partition of `beside` in; its queries out, with the columns of their interactions as lists.

    A query without interactions has empty lists; interactions without a query are left out.
    """
    table = _table(batches)
    if table is None:
        return
    is_query = table["features"].is_valid()
    queries = table.filter(is_query).select(["id", "features"]).combine_chunks()
    entries = table.filter(pc.invert(is_query)).drop_columns(["features"])
    query_of_entry = pc.index_in(entries["id"], value_set=queries["id"].combine_chunks())
    known = query_of_entry.is_valid()
    row_of_entry = as_numpy(query_of_entry.filter(known))
    yield from _with_lists(queries, row_of_entry, entries.drop_columns(["id"]).filter(known))


def _table(batches: Iterable[pa.RecordBatch]) -> pa.Table | None:
    parts = [batch for batch in batches if batch.num_rows]
    return pa.Table.from_batches(parts).combine_chunks() if parts else None


def _with_lists(rows: pa.Table, row_of_entry: Indices, entries: pa.Table) -> Iterator[pa.RecordBatch]:
    """Batches of ``rows``, each row with its ``entries`` as lists in their order; ``row_of_entry`` numbers the rows."""
    order = stable_argsort(row_of_entry)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row_of_entry, minlength=len(rows)))])
    for begin in range(0, len(rows), _IDS_PER_BATCH):
        bounds = indptr[begin : begin + _IDS_PER_BATCH + 1]
        taken = entries.take(as_arrow(order[bounds[0] : bounds[-1]]))
        offsets = as_arrow((bounds - bounds[0]).astype(np.int32))
        lists = [pa.ListArray.from_arrays(offsets, column.combine_chunks()) for column in taken.columns]
        batch = rows.slice(begin, _IDS_PER_BATCH).combine_chunks()
        plain = [column.chunk(0) for column in batch.columns]
        yield pa.record_batch([*plain, *lists], names=[*batch.column_names, *taken.column_names])


def in_type_of(table: DataFrame, column: str, factors: DataFrame, *, setting: str) -> DataFrame:
    """The table with its ids in the type of those of ``factors``; rows whose id does not fit into it are left out.

    Raises
    ------
    InputError
        If one has strings and the other numbers, so that no id matches; ``setting`` names the column in messages.
    """
    id_type, model_type = (t.schema[name].dataType for t, name in ((table, column), (factors, "id")))
    refuse_other_type(id_type, model_type, setting=setting)
    if id_type == model_type:
        return table
    return table.withColumn(column, F.expr(f"try_cast({column} as {model_type.simpleString()})")).dropna(
        subset=[column]
    )


def refuse_other_type(id_type: T.DataType, model_type: T.DataType, *, setting: str) -> None:
    """Refuse strings where the model has integers, or the other way round.

    Raises
    ------
    InputError
        If ids are strings where those of the model are integers, or the other way round.
    """
    if isinstance(id_type, T.StringType) != isinstance(model_type, T.StringType):
        raise InputError(
            f"{setting}: ids are of type {id_type.simpleString()}, those of the model of type "
            f"{model_type.simpleString()}; cast the column in the source"
        )


def with_histories(queries: DataFrame, gathered: DataFrame, *, n_partitions: int) -> DataFrame:
    """The rows of ``queries`` (id, ...), with the columns of ``gathered`` beside them; null for an id that has none."""
    left, right = (table.repartition(n_partitions, "id") for table in (queries, gathered))
    return left.join(right, "id", "left")


def partitions(queries: int, items: int, cores: int) -> int:
    """How many tasks score so many pairs: at least one a core, and none with too many queries for its memory."""
    return max(cores, round(queries * items / _SCORES_PER_SECOND / _TASK_SECONDS), -(-queries // _QUERIES_PER_TASK))

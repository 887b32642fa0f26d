"""Reads the tables that settings name: interactions, and lists of ids."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from wals_spark.errors import InputError
from wals_spark.settings.tables import Ids, Input
from wals_spark.spark.histories import in_type_of

_INTEGERS = (T.ByteType, T.ShortType, T.IntegerType, T.LongType)
_BROKEN_FILE = (
    "FAILED_READ_FILE",
    "Encountered error while reading file",
    "CANNOT_READ_FILE_FOOTER",
    "is not a Parquet file",
    "MALFORMED",
)


def read(spark: SparkSession, settings: Input | Ids, *, section: str = "input") -> DataFrame:
    """The raw table that the settings name; ``section`` is what messages call them.

    Raises
    ------
    InputError
        If there is no such path, table or format, or it cannot be opened.
    """
    with unreadable_is_refused(settings, section):
        if settings.format == "table":
            return spark.table(settings.path)
        return spark.read.format(settings.format).options(**settings.options).load(settings.path)


def read_ids(spark: SparkSession, settings: Ids, factors: DataFrame, *, section: str) -> DataFrame:
    """A table of ids, each once, as ``id`` in the type of those of ``factors``; nulls are left out.

    Raises
    ------
    InputError
        If it cannot be read, or has no such column of ids, or they are of another type than the model's.
    """
    return ids_of(read(spark, settings, section=section), settings.column, factors, setting=f"{section}.column")


def ids_of(table: DataFrame, column: str, factors: DataFrame, *, setting: str) -> DataFrame:
    """The ids in a column, each once, as ``id`` in the type of those of ``factors``; nulls are left out.

    Raises
    ------
    InputError
        If there is no such column of ids, or they are of another type than the model's.
    """
    ids = table.select(id_column(table, setting, column).alias("id")).dropna()
    return in_type_of(ids, "id", factors, setting=f"{setting} = {column}").distinct()


def id_column(table: DataFrame, setting: str, name: str) -> Column:
    """A column of ids; ``setting`` is what messages call it.

    Raises
    ------
    InputError
        If there is no such column, or it is neither of strings nor of integers.
    """
    id_type = type_of_column(table, setting, name)
    if not isinstance(id_type, (T.StringType, *_INTEGERS)):
        raise InputError(
            f"{setting} = {name} is of type {id_type.simpleString()}: ids are strings or integers up to 64 bits; "
            "cast the column in the source"
        )
    return column_named(name)


def type_of_column(table: DataFrame, setting: str, name: str) -> T.DataType:
    """The type of a column.

    Raises
    ------
    InputError
        If there is no such column.
    """
    if name not in table.columns:
        raise InputError(
            f"{setting} = {name}: there is no such column; the input has {', '.join(table.columns) or 'none'}"
        )
    return table.schema[name].dataType


def column_named(name: str) -> Column:
    """The column of exactly this name, whatever characters it has."""
    return F.col("`" + name.replace("`", "``") + "`")


@contextmanager
def unreadable_is_refused(settings: Input | Ids, section: str) -> Iterator[None]:
    """Raise InputError for what is wrong with the input; the loss of an executor meanwhile stays what it is."""
    try:
        yield
    except (AnalysisException, Py4JJavaError) as error:
        first_line = str(error).strip().splitlines()[0]
        if isinstance(error, Py4JJavaError):
            first_line = str(error.java_exception).splitlines()[0]
            broken_file = any(name in str(error) for name in _BROKEN_FILE)
            if "SparkException" in first_line and not broken_file:
                raise
        where = f"{section}.path = {settings.path} (format {settings.format})" if settings.path else f"the {section}"
        raise InputError(f"{where} cannot be read: {first_line}") from error

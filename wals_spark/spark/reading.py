"""Reads the tables that settings name, with options of Spark's readers under which nothing is silently changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from wals_spark.errors import InputError
from wals_spark.messages import quoted
from wals_spark.settings.reader_options import resolved_options
from wals_spark.settings.tables import Ids, Table
from wals_spark.spark.causes import JAVA_ERRORS, NO_COLON, Causes
from wals_spark.spark.columns import find_column, id_column
from wals_spark.spark.histories import in_type_of
from wals_spark.spark.lending import runtime_conf
from wals_spark.spark.table_formats import FILE_FORMATS, refuse_table_formats

MALFORMED = "_wals_malformed_line"
"""A hidden column: the text of a line that has not the columns of the others, else null."""

_DEFAULTS = {
    # Lines whose files have the columns in another order would be read by position.
    "csv": {"enforceSchema": "false", "escape": '"', "encoding": "UTF-8"},
    "parquet": {"parquet.page.verify-checksum.enabled": "true"},
}
_OF_FILES = {"ignoreCorruptFiles": "false", "ignoreMissingFiles": "false"}
# A folder user=007 is the user 007, and not 7.
_NO_INFERENCE = {"spark.sql.sources.partitionColumnTypeInference.enabled": "false"}


def read(spark: SparkSession, settings: Table, *, section: str = "input") -> DataFrame:
    """The raw table that the settings name; ``section`` is what messages call them.

    Files of text may have a column more, `MALFORMED`.

    Raises
    ------
    ConfigError
        If the value of an option is to come from where nothing is.
    InputError
        If there is no such path, table or format, or it cannot be opened, or it is a table of another format.
    """
    options = resolved_options(settings.options, f"{section}.options")
    with unreadable_is_refused(settings, section), runtime_conf(spark, _NO_INFERENCE):
        if settings.format == "table":
            return spark.table(settings.paths[0])
        if settings.format.lower() in FILE_FORMATS:
            refuse_table_formats(spark, settings, section)
            options = {**_OF_FILES, **_DEFAULTS.get(settings.format.lower(), {}), **options}
        table = _load(spark, settings, options)
        if settings.format.lower() == "csv":
            return _csv_with_malformed_lines(spark, settings, options, table)
        if settings.format.lower() == "json":
            return _json_with_malformed_lines(table, options, settings, section)
        return table


def read_ids(spark: SparkSession, settings: Ids, factors: DataFrame, *, section: str) -> DataFrame:
    """A table of ids, each once, as ``id`` in the type of those of ``factors``; nulls are left out.

    Raises
    ------
    InputError
        If it cannot be read, or has no such column of ids, or they are of another type than the model's.
    """
    table = read(spark, settings, section=section)
    found = find_column(table, settings.column)
    infers = {name.lower(): value for name, value in settings.options.items()}.get("inferschema", "").lower() == "true"
    if infers and found is not None and found.type == T.StringType() != factors.schema["id"].dataType:
        # Asked to infer, and with a model whose ids are numbers: 7 is one, 007 is not that one.
        number = found.try_cast("bigint")
        table = table.withColumn(settings.column, F.when(number.cast("string") == found.column, number))
    return ids_of(table, settings.column, factors, setting=f"{section}.column")


def ids_of(table: DataFrame, column: str, factors: DataFrame, *, setting: str) -> DataFrame:
    """The ids in a column, each once, as ``id`` in the type of those of ``factors``; nulls are left out.

    Raises
    ------
    InputError
        If there is no such column of ids, or they are of another type than the model's.
    """
    ids = table.select(id_column(table, setting, column).alias("id")).dropna()
    return in_type_of(ids, "id", factors, setting=f"{setting} = {quoted(column)}").distinct()


def column_of_ids(table: DataFrame, in_training: str, name: str) -> str:
    """The column of a table of ids: its only one, or the one called ``id``, or as in training.

    Raises
    ------
    InputError
        If that does not tell which of its columns it is; the message calls the table ``name``.
    """
    columns = [column for column in ("id", in_training) if column in table.columns] or table.columns
    if len(columns) > 1 and "id" not in columns:
        raise InputError(f"{name}: which of {', '.join(columns)} has the ids? Select it, or call it id")
    return columns[0]


@contextmanager
def unreadable_is_refused(settings: Table, section: str, *, writing: bool = False) -> Iterator[None]:
    """Raise InputError for what is wrong with the input; the loss of an executor meanwhile stays what it is.

    While ``writing``, only what Spark says of a file that it reads is the input's fault.
    """
    try:
        yield
    except JAVA_ERRORS as error:
        causes = Causes(error)
        if causes.is_transient or (writing and not causes.is_of_a_file):
            raise
        hint = _hint(settings, section, str(causes))
        source = f"{settings.named(section)} (format {settings.format})"
        raise InputError(f"{source} cannot be read: {causes}{hint}") from error


def _hint(settings: Table, section: str, message: str) -> str:
    """What to do next, where the message does not say it."""
    if "PATH_NOT_FOUND" in message and any("," in path for path in settings.paths):
        return f'; several paths are a list: {section}.path = ["a", "b"]'
    if "TABLE_OR_VIEW_NOT_FOUND" in message:
        return "; a table of Hive needs its metastore: --conf spark.sql.catalogImplementation=hive, and hive-site.xml"
    if NO_COLON not in message and any(":" in re.sub(r"^[A-Za-z0-9+.-]+:(//[^/]*)?", "", p) for p in settings.paths):
        return f" ({NO_COLON})"
    return ""


def _load(
    spark: SparkSession, settings: Table, options: dict[str, str], schema: T.StructType | None = None
) -> DataFrame:
    reader = spark.read.format(settings.format).options(**options)
    if schema is not None:
        reader = reader.schema(schema)
    return reader.load(settings.path if isinstance(settings.path, str) else list(settings.paths))


def _csv_with_malformed_lines(
    spark: SparkSession, settings: Table, options: dict[str, str], table: DataFrame
) -> DataFrame:
    """The table with ids as text, whatever was inferred, and with lines of another number of fields marked.

    Without the mark, Spark cuts a line that is too long: ``3,5`` would be 3.
    """
    ids = {column.name for name in settings.id_columns if (column := find_column(table, name)) is not None}
    if not table.columns:
        return table
    fields = [
        T.StructField(field.name, T.StringType() if field.name in ids else field.dataType) for field in table.schema
    ]
    schema = T.StructType([*fields, T.StructField(MALFORMED, T.StringType())])
    without_ours = {key: value for key, value in options.items() if key.lower() != "columnnameofcorruptrecord"}
    return _load(spark, settings, {**without_ours, "columnNameOfCorruptRecord": MALFORMED}, schema)


def _json_with_malformed_lines(table: DataFrame, options: dict[str, str], settings: Table, section: str) -> DataFrame:
    of_user = {key.lower(): value for key, value in options.items()}
    corrupt = of_user.get("columnnameofcorruptrecord", "_corrupt_record")
    if table.columns == [corrupt]:
        raise InputError(
            f"{settings.named(section)} holds no line that is JSON by itself: if it is one document over several "
            f"lines, set {section}.options.multiLine = true"
        )
    return table.withColumnRenamed(corrupt, MALFORMED)

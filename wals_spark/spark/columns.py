"""Columns of raw tables: found by name, in any case and in structs; ids of any numeric type as whole numbers."""

from __future__ import annotations

from typing import NamedTuple

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from wals_spark.blocks.assignment import N_BUCKETS
from wals_spark.errors import InputError
from wals_spark.messages import listed, quoted

_INTEGERS = (T.ByteType, T.ShortType, T.IntegerType, T.LongType)
# Whole numbers up to here are exact in these types; beyond, one number stands for several ids.
_EXACT: dict[type[T.DataType], int] = {T.DoubleType: 2**53, T.FloatType: 2**24}


class Found(NamedTuple):
    """A column, or a field of a struct: the name of its column, its type, and how SQL refers to it."""

    name: str
    type: T.DataType
    sql: str

    @property
    def column(self) -> Column:
        """The column itself."""
        return F.col(self.sql)

    def try_cast(self, to: str) -> Column:
        """The column as another type, null where it cannot be."""
        return F.expr(f"try_cast({self.sql} as {to})")


def find_column(table: DataFrame, name: str) -> Found | None:
    """The column of this name; else the one that differs by case alone; else the field, for ``actor.id``."""
    ignores_case = (table.sparkSession.conf.get("spark.sql.caseSensitive", "false") or "").lower() != "true"
    for path in ([name], name.split(".")):
        schema: T.DataType = table.schema
        names: list[str] = []
        for part in path:
            field = _field(schema, part, ignores_case=ignores_case) if isinstance(schema, T.StructType) else None
            if field is None:
                break
            names.append(field.name)
            schema = field.dataType
        else:
            return Found(names[0], schema, ".".join(_in_backticks(part) for part in names))
    return None


def column_of(table: DataFrame, setting: str, name: str) -> Found:
    """The column that a setting names.

    Raises
    ------
    InputError
        If there is no such column.
    """
    found = find_column(table, name)
    if found is None:
        columns = [column for column in table.columns if not column.startswith("_wals_")]
        near = next((column for column in columns if column.strip() == name.strip()), None)
        hint = ""
        if near is not None:
            hint = f"; {quoted(near)} has blanks around it: name it with them, or set the reader's option "
            hint += "ignoreLeadingWhiteSpace (or ignoreTrailingWhiteSpace) = true"
        raise InputError(
            f"{setting} = {quoted(name)}: there is no such column; the input has {listed(columns) or 'none'}{hint}"
        )
    return found


def id_column(table: DataFrame, setting: str, name: str) -> Column:
    """A column of ids: text, or integers; whole numbers of other types as bigint, null where it has no such number.

    Raises
    ------
    InputError
        If there is no such column, or it is neither of text nor of numbers.
    """
    found = column_of(table, setting, name)
    if isinstance(found.type, (T.StringType, *_INTEGERS)):
        return found.column
    if isinstance(found.type, T.DecimalType):
        whole = F.floor(found.column) == found.column if found.type.scale else F.lit(True)
        fits = F.abs(found.column) <= F.lit(2**63 - 1) if found.type.precision > 18 else F.lit(True)
        return F.when(whole & fits, found.column).cast("bigint")
    if type(found.type) in _EXACT:
        number = found.column
        exact = (F.rint(number) == number) & (F.abs(number) <= F.lit(_EXACT[type(found.type)]))
        return F.when(exact, number).cast("bigint")
    raise InputError(
        f"{setting} = {quoted(name)} is of type {found.type.simpleString()}: ids are text or whole numbers; cast the "
        "column in the source"
    )


def bucket_column(ids: Column, id_type: T.DataType) -> Column:
    """The bucket of each id, as `assignment.bucket_of` has it."""
    number = F.crc32(ids.cast("binary")) if isinstance(id_type, T.StringType) else ids.cast("long")
    return F.pmod(number, F.lit(N_BUCKETS))


def _field(schema: T.StructType, name: str, *, ignores_case: bool) -> T.StructField | None:
    """The field of exactly this name, or the only one that differs by case."""
    for field in schema.fields:
        if field.name == name:
            return field
    alike = [field for field in schema.fields if field.name.lower() == name.lower()]
    return alike[0] if ignores_case and len(alike) == 1 else None


def _in_backticks(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"

"""Sections of settings that several jobs have: tables of interactions, tables of ids, a stored model."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from wals_spark.errors import ConfigError
from wals_spark.messages import quoted
from wals_spark.settings.loader import Section, Settings

ReaderOptions = Annotated[
    dict[str, str],
    Meta(
        description=(
            "Options of Spark's reader, such as header and sep of csv: --set 'input.options.sep= ' for a file with a "
            "blank between columns, or options = { header = true, sep = '\\t' } in TOML. env:NAME and file:PATH are "
            "read when they are needed, for what must not be written down."
        )
    ),
]
# \A and \Z: "$" would take a name that ends in a line break, which no one could open.
VERSION_NAME = r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,199}\Z"
EMPTY_OR_VERSION = rf"{VERSION_NAME}|\A\Z"
NewVersion = Annotated[
    str,
    Meta(description="Name of the new version; empty: the time in UTC.", pattern=EMPTY_OR_VERSION),
]
Publish = Annotated[bool, Meta(description="Make the new version the served one (CURRENT) when it is complete.")]


class Table(Section, frozen=True, kw_only=True):
    """A table that Spark reads."""

    path: Annotated[
        str | tuple[str, ...],
        Meta(
            description=(
                'File, folder or URL, or a list of them: ["a", "b"]; a table\'s name with format = table; empty: none.'
            )
        ),
    ] = ""
    format: Annotated[
        str,
        Meta(
            description="Anything spark.read has: parquet, csv, json, orc, delta, ...; or table.",
            min_length=1,
        ),
    ] = "parquet"
    options: ReaderOptions = msgspec.field(default_factory=dict)

    @property
    def id_columns(self) -> tuple[str, ...]:
        """The names of the columns that hold ids."""
        return ()

    @property
    def paths(self) -> tuple[str, ...]:
        """All paths."""
        return (self.path,) if isinstance(self.path, str) else self.path

    def named(self, section: str) -> str:
        """What messages call the table: its section and path."""
        return f"{section}.path = {', '.join(map(quoted, self.paths))}" if self.path else f"the {section}"


class Aliases(Table, frozen=True, kw_only=True):
    """Ids that stand for another, which they are replaced by before anything else."""

    of: Annotated[Literal["item", "user"], Meta(description="Whose ids.")] = "item"
    alias: Annotated[str, Meta(description="Column of the ids that are replaced.", min_length=1)] = "alias"
    id: Annotated[str, Meta(description="Column of the ids that replace them.", min_length=1)] = "id"

    @property
    def id_columns(self) -> tuple[str, ...]:
        """The names of the columns that hold ids."""
        return (self.alias, self.id)


class Input(Table, frozen=True, kw_only=True):
    """Where the interactions are and how to read them."""

    user: Annotated[
        str, Meta(description="Column of user ids: text or whole numbers; a field of a struct as a.b.", min_length=1)
    ] = "user"
    item: Annotated[str, Meta(description="Column of item ids: as user.", min_length=1)] = "item"
    rating: Annotated[
        str, Meta(description="Column of ratings (counts, hours, stars, ...); empty: 1 for every row.")
    ] = "rating"
    weight: Annotated[
        str,
        Meta(
            description=(
                "Column of weights >= 0, each of which multiplies its row's confidence above the base. Empty: none."
            )
        ),
    ] = ""
    timestamp: Annotated[
        str,
        Meta(
            description=(
                "Column of times: timestamps, dates, or numbers since 1970 in time_unit; for duplicates = last and for "
                "decay. Empty: none."
            )
        ),
    ] = ""
    time_unit: Annotated[
        Literal["seconds", "milliseconds", "microseconds", "nanoseconds"],
        Meta(description="Unit of times that are numbers."),
    ] = "seconds"
    earliest_time: Annotated[
        str, Meta(description="A row of a time before this is a bad row: a wrong unit, or no time.", min_length=1)
    ] = "1990-01-01"
    latest_time: Annotated[str, Meta(description="A row of a time after this is a bad row; empty: a day from now.")] = (
        ""
    )
    duplicates: Annotated[
        Literal["sum", "mean", "last", "max", "keep", "refuse"],
        Meta(
            description=(
                "What the ratings of several rows of one (user, item) pair become: their sum, their mean, the last by "
                "timestamp, or their max; keep: each row is an observation of its own, as in MLlib; refuse: an error. "
                "The weight of the pair: the mean (sum), the sum (mean: three rows weigh 3), or that of the row that "
                "is kept (last, max). With train.implicit = false the default is mean."
            )
        ),
    ] = "sum"
    suspect_ids: Annotated[
        Literal["auto", "bad", "warn"],
        Meta(
            description=(
                "Ids that spell null (\\N, NULL, None, NaN) or have U+FFFD, the sign of a wrong encoding: bad rows, or "
                "a warning with their number; auto: bad in csv, json, text and xml, warn elsewhere."
            )
        ),
    ] = "auto"
    bad_rows: Annotated[
        Literal["refuse", "drop"],
        Meta(
            description="Rows with a null or empty id or an unusable rating: refuse the input, or drop and count them."
        ),
    ] = "refuse"
    nonpositive: Annotated[
        Literal["bad", "unobserved", "dislike", "impression", "mllib"],
        Meta(
            description=(
                "What a rating <= 0 is: a bad row (bad); no observation (unobserved); a stated dislike, with target 0 "
                "and the confidence of its magnitude (dislike); an item that was shown and not taken, with target 0 "
                "and confidence.impression_weight (impression); or a dislike as in MLlib, where a rating of 0 weighs "
                "what an unobserved pair weighs (mllib)."
            )
        ),
    ] = "bad"
    aliases: Aliases = Aliases()

    @property
    def id_columns(self) -> tuple[str, ...]:
        """The names of the columns that hold ids."""
        return (self.user, self.item)

    @property
    def time_range(self) -> tuple[float, float]:
        """The earliest and the latest plausible time, in seconds since 1970."""
        earliest = moment_in_seconds(self.earliest_time, "earliest_time")
        latest = moment_in_seconds(self.latest_time, "latest_time") if self.latest_time else time.time() + 86400.0
        return earliest, latest


class Ids(Table, frozen=True, kw_only=True):
    """A table of ids."""

    column: Annotated[str, Meta(description="Column of the ids.", min_length=1)] = "id"

    @property
    def id_columns(self) -> tuple[str, ...]:
        """The names of the columns that hold ids."""
        return (self.column,)


class StoredModel(Section, frozen=True, kw_only=True):
    """The model to use."""

    path: Annotated[str, Meta(description="Folder or URL of all versions: what output.path named in training.")] = ""
    version: Annotated[
        str,
        Meta(
            description="Name of the version; empty: the served one (CURRENT).",
            pattern=EMPTY_OR_VERSION,
        ),
    ] = ""

    def require_path(self) -> None:
        """Refuse a model without a path."""
        require_path(self.path, "model.path", "folder that output.path named in training")


def names_catalog_tables(settings: Settings | Section) -> bool:
    """Whether a table of these settings is one of the session's catalog."""
    if isinstance(settings, Table) and settings.format == "table":
        return True
    values = (getattr(settings, field) for field in settings.__struct_fields__)
    return any(names_catalog_tables(value) for value in values if isinstance(value, Section))


def require_path(path: str | tuple[str, ...], setting: str, purpose: str) -> None:
    """Refuse an empty path; ``purpose`` is what it should name."""
    if not path:
        raise ConfigError(f"{setting} is not set: name the {purpose}")


def check_columns(table: Input, section: str = "input") -> None:
    """Refuse a table of interactions whose columns contradict each other."""
    if table.duplicates == "last" and not table.timestamp:
        raise ConfigError(f"{section}.duplicates = last needs {section}.timestamp: name the column of times")
    roles = ("user", "item", "rating", "weight", "timestamp")
    columns = [column for role in roles if (column := getattr(table, role))]
    earliest, latest = table.time_range
    if earliest >= latest:
        raise ConfigError(f"{section}.earliest_time = {table.earliest_time} is not before {section}.latest_time")
    if len(set(columns)) < len(columns):
        raise ConfigError(f"{section}: one column is named twice among {', '.join(roles)}: {columns}")


def moment_in_seconds(moment: str, setting: str) -> float:
    """ISO 8601 as seconds since 1970; without a zone, UTC."""
    try:
        parsed = datetime.fromisoformat(moment.replace("Z", "+00:00"))  # Python 3.10 does not know Z
    except ValueError as error:
        raise ConfigError(f"{setting} = {quoted(moment)}: a time like 2026-01-31T00:00:00Z is needed") from error
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)).timestamp()

"""Inputs that are not what they claim to be: a job ends with exit code 0, 2 or 3 and one line, and shows no secret."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.orc
import pyarrow.parquet
import pytest

from wals_spark.settings.loader import load_settings
from wals_spark.settings.train import Config
from wals_spark.spark.job import exit_code_of
from wals_spark.spark.storage import MANIFEST
from wals_spark.spark.train import run_train

pytestmark = pytest.mark.slow  # 170 trainings, most of which are refused

SECRET = "hunter2-of-the-data-lake"
ROWS = 200
COLUMNS = ("user", "item", "rating")

Damage = Callable[[bytes, np.random.Generator], bytes]


def _table() -> pa.Table:
    random = np.random.default_rng(0)
    users, items = random.integers(1, 21, ROWS), random.integers(1, 11, ROWS)
    names = [f"u{user:03}" for user in users], [f"é{item}" for item in items]
    return pa.table({"user": names[0], "item": names[1], "rating": random.integers(1, 6, ROWS).astype(float)})


def _csv(table: pa.Table) -> str:
    lines = (f"{row['user']},{row['item']},{row['rating']}" for row in table.to_pylist())
    return "\n".join([",".join(COLUMNS), *lines]) + "\n"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """A folder with the same interactions in four formats."""
    folder, table = tmp_path_factory.mktemp("inputs"), _table()
    pa.parquet.write_table(table, folder / "plays.parquet", write_page_checksum=True)
    pa.orc.write_table(table, str(folder / "plays.orc"))
    (folder / "plays.csv").write_text(_csv(table), encoding="utf-8")
    lines = (str(row).replace("'", '"') + "\n" for row in table.to_pylist())
    (folder / "plays.json").write_text("".join(lines), encoding="utf-8")
    return folder


def _flip(content: bytes, random: np.random.Generator) -> bytes:
    place = int(random.integers(len(content)))
    return content[:place] + bytes([content[place] ^ (1 << int(random.integers(8)))]) + content[place + 1 :]


def _cut(content: bytes, random: np.random.Generator) -> bytes:
    return content[: int(random.integers(len(content)))]


def _repeat(content: bytes, random: np.random.Generator) -> bytes:
    start, end = sorted(int(place) for place in random.integers(len(content), size=2))
    return content[:end] + content[start:]


def _control_characters(content: bytes, random: np.random.Generator) -> bytes:
    place = int(random.integers(len(content)))
    return content[:place] + b"\x00\x1b[2J\r\x07\xff" + content[place:]


def _damaged() -> Iterator[tuple[str, str, int]]:
    for file_format in ("csv", "json", "parquet", "orc"):
        for damage in (_flip, _cut, _repeat, _control_characters):
            for seed in range(5):
                yield file_format, damage.__name__.strip("_"), seed


WRONG_OPTIONS = [
    ("csv", name, value)
    for name, value in {
        "sep": "", "delimiter": "\x00", "encoding": "utf-99", "charset": "?", "quote": "ab", "escape": "ab",
        "comment": "ab", "header": "yes", "inferSchema": "maybe", "preferDate": "x", "enforceSchema": "x",
        "ignoreLeadingWhiteSpace": "x", "ignoreTrailingWhiteSpace": "x", "dateFormat": "qqqqqq",
        "timestampFormat": "qqqqqq", "timestampNTZFormat": "qqqqqq", "enableDateTimeParsingFallback": "x",
        "maxColumns": "1", "maxCharsPerColumn": "x", "mode": "NOPE", "multiLine": "x",
        "charToEscapeQuoteEscaping": "ab", "samplingRatio": "x", "locale": "no such place", "lineSep": "",
        "unescapedQuoteHandling": "NOPE", "modifiedBefore": "yesterday", "modifiedAfter": "x", "pathGlobFilter": "[",
        "recursiveFileLookup": "x", "ignoreMissingFiles": "x", "ignoreCorruptFiles": "x", "basePath": "no/such/folder",
        "columnNameOfCorruptRecord": "user", "nullValue": "\x1b[2J", "nanValue": "", "positiveInf": "",
        "negativeInf": "", "emptyValue": "\n", "timeZone": "Nowhere/City", "compression": "none of them",
    }.items()
] + [
    ("json", name, value)
    for name, value in {
        "primitivesAsString": "x", "prefersDecimal": "x", "allowComments": "x", "allowSingleQuotes": "x",
        "dropFieldIfAllNull": "x", "multiLine": "x", "encoding": "utf-99", "samplingRatio": "-1", "lineSep": "",
        "mode": "NOPE", "allowNonNumericNumbers": "x", "timeZone": "Nowhere/City", "singleVariantColumn": "user",
    }.items()
] + [
    ("parquet", "mergeSchema", "x"), ("parquet", "datetimeRebaseMode", "x"), ("parquet", "int96RebaseMode", "x"),
    ("orc", "mergeSchema", "x"), ("jdbc", "url", "jdbc:nothing"), ("jdbc", "dbtable", ""), ("text", "wholetext", "x"),
    ("binaryFile", "pathGlobFilter", "["), ("xml", "rowTag", ""), ("no.such.format", "x", "y"),
    ("avro", "x", "y"), ("delta", "versionAsOf", "x"), ("table", "x", "y"), ("\x1b[2J", "x", "y"),
]  # fmt: skip


class Ended(NamedTuple):
    """How a training ended: its exit code, what it printed and logged, and the folder that it may have written to."""

    code: int
    printed: str
    folder: Path


@pytest.fixture
def train(spark, capsys, caplog, tmp_path, monkeypatch):
    """Train in the session of this file, as the job does in one of its own."""
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO, logger="wals_spark")

    def run(path: Path, file_format: str, *settings: str) -> Ended:
        header = ["input.options.header=true"] if file_format == "csv" else []
        given = (f"input.path={path}", f"input.format={file_format}", f"input.options.api_key={SECRET}")
        small = ("train.rank=2", "train.max_iter=1", "train.user_blocks=1", "train.item_blocks=1", "output.version=v")
        output = f"output.path={tmp_path / 'model'}"
        overrides = [*given, *header, *settings, *small, output]
        code = exit_code_of(lambda: run_train(spark, load_settings(Config, None, overrides)))
        out = capsys.readouterr()
        return Ended(code, out.out + out.err + caplog.text, tmp_path)

    return run


def _assert_ended_well(ended: Ended) -> None:
    """Exit code 0, 2 or 3; one line of ours, without control characters; no secret; nothing left of what failed."""
    code, printed, folder = ended
    assert code in (0, 2, 3), printed[-3000:]
    errors = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert len(errors) == (code != 0), printed[-3000:]
    assert "Traceback" not in printed
    assert not re.search(r"[^\n\t -~\u00a0-\U0010ffff]", printed), printed
    assert SECRET not in printed
    for path in folder.rglob("*"):
        assert SECRET not in path.name
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path
    if code:
        left = {path.relative_to(folder / "model").parts[0] for path in (folder / "model").rglob("*")}
        assert left <= {"leases"}
    else:
        assert (folder / "model/versions/v" / MANIFEST).exists()


@pytest.mark.parametrize(("file_format", "damage", "seed"), list(_damaged()))
def test_a_damaged_file_is_refused_or_read(train, inputs, tmp_path, file_format, damage, seed):
    content = (inputs / f"plays.{file_format}").read_bytes()
    damaged = globals()[f"_{damage}"](content, np.random.default_rng(seed))
    path = tmp_path / f"plays.{file_format}"
    path.write_bytes(damaged)
    _assert_ended_well(train(path, file_format))


@pytest.mark.parametrize(("file_format", "option", "value"), WRONG_OPTIONS)
def test_a_wrong_value_of_a_reader_option_is_refused(train, inputs, tmp_path, file_format, option, value):
    path = inputs / f"plays.{file_format}" if file_format in ("csv", "json", "parquet", "orc") else inputs / "plays.csv"
    _assert_ended_well(train(path, file_format, f"input.options.{option}={value}"))


@pytest.mark.parametrize(
    ("file_format", "made"),
    [(file_format, made) for file_format in ("csv", "json", "parquet", "orc") for made in ("empty", "folder", "other")],
)
def test_a_file_of_another_format_is_refused(train, inputs, tmp_path, file_format, made):
    path = tmp_path / "plays"
    if made == "empty":
        path.write_bytes(b"")
    elif made == "folder":
        path.mkdir()
    else:
        shutil.copy(inputs / ("plays.orc" if file_format == "parquet" else "plays.parquet"), path)
    ended = train(path, file_format)
    _assert_ended_well(ended)
    assert ended.code == 3


@pytest.mark.parametrize("name", ["plays\nof today", "plays\x1b[2J", "a:b", "[1", "{a,b", "*", "pl%20ays", "it's `so`"])
def test_a_strange_name_of_a_column_or_path(train, inputs, tmp_path, name):
    _assert_ended_well(train(tmp_path / name, "csv"))
    _assert_ended_well(train(inputs / "plays.csv", "csv", f"input.user={name}"))

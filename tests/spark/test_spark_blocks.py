from __future__ import annotations

import os

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import functions as F
from spark_blocks import blocks_of

from wals_spark.blocks.encoding import RECORD_BYTES, RecordArrays, group_records, join_ids
from wals_spark.blocks.in_out import InBlock, OutBlock
from wals_spark.errors import InputError
from wals_spark.settings.tables import Input
from wals_spark.settings.train import Config
from wals_spark.spark.checking import check
from wals_spark.spark.prepared import build
from wals_spark.spark.reading import read
from wals_spark.spark.training.build import build_blocks

RNG = np.random.default_rng(0)
PAIRS = sorted(
    {(f"user {u}", int(i)) for u, i in zip(RNG.integers(12, size=150), RNG.zipf(1.5, size=150), strict=True)}
)


def ratings_of(spark, pairs, ratings=None, schema="user string, item long, rating double"):
    ratings = ratings or [float(n + 1) for n in range(len(pairs))]
    return spark.createDataFrame([(*pair, r) for pair, r in zip(pairs, ratings, strict=True)], schema)


def built(tmp_path, table, *, rows=1, **settings):
    return blocks_of(table, tmp_path / "work", {f"train.{name}": n for name, n in settings.items()}, rows=rows)


def merged(tmp_path, table, duplicates):
    settings = {"input.duplicates": duplicates, "input.timestamp": "timestamp"}
    return blocks_of(table, tmp_path / "work", settings)


def collected(side):
    """By block: ids, in-block, out-block."""
    records_of: dict = {block: [] for block in range(side.n_blocks)}
    for kind in ("ids", "in", "out"):
        for block, records in enumerate(side.records(kind).glom().collect()):
            assert {key for key, _ in records} <= {block}
            records_of[block] += [record for _, record in records]
    grouped = {block: group_records(records) for block, records in records_of.items()}
    return {
        block: (
            join_ids(records.get("ids", {}).get(0, ())).to_pylist(),
            InBlock.read(RecordArrays(records)),
            OutBlock.read(RecordArrays(records)),
        )
        for block, records in grouped.items()
    }


def matrix(solved, fixed):
    entries = {}
    for block, (ids, in_block, _) in solved.items():
        received = [other[r] for other, _, out in fixed.values() for r in out.get(block, ())]
        for row, row_id in enumerate(ids):
            for at in range(in_block.indptr[row], in_block.indptr[row + 1]):
                entries[row_id, received[in_block.positions[at]]] = float(in_block.ratings[at])
    return entries


@pytest.mark.parametrize(
    ("user_blocks", "item_blocks"),
    [(1, 1), pytest.param(3, 7, marks=pytest.mark.slow), (15, 4)],  # 15: more than users
)
def test_both_sides_hold_the_interactions_in_any_blocks(spark, tmp_path, user_blocks, item_blocks):
    table = ratings_of(spark, PAIRS)
    blocks = built(tmp_path, table, user_blocks=user_blocks, item_blocks=item_blocks)
    users, items = collected(blocks.users), collected(blocks.items)
    expected = {pair: float(n + 1) for n, pair in enumerate(PAIRS)}
    assert matrix(users, items) == expected
    assert {(u, i): r for (i, u), r in matrix(items, users).items()} == expected
    assert blocks.users.rows == len({u for u, _ in PAIRS})
    assert blocks.items.rows == len({i for _, i in PAIRS})
    assert (blocks.counts.observations, blocks.merged) == (len(PAIRS), 0)


def test_blocks_are_chosen_from_the_cores_and_the_rows(spark, tmp_path):
    table = ratings_of(spark, PAIRS)
    assert built(tmp_path, table, rows=100).users.n_blocks == 2  # local[2]
    assert built(tmp_path, table, rows=30_000_001).items.n_blocks == 7


def test_once_built_blocks_do_not_need_the_source(spark, tmp_path):
    source = tmp_path / "source"
    ratings_of(spark, PAIRS).write.parquet(str(source))
    blocks = built(tmp_path, spark.read.parquet(str(source)))
    for file in source.iterdir():
        file.unlink()
    assert len(matrix(collected(blocks.users), collected(blocks.items))) == len(PAIRS)


@pytest.mark.parametrize(("policy", "expected"), [("sum", 6.0), ("max", 4.0), ("last", 2.0), ("mean", 3.0)])
def test_repeated_pairs_are_merged_by_policy_and_counted(spark, tmp_path, policy, expected):
    rows = [("u", 1, 4.0, 10.0), ("u", 1, 2.0, 20.0), ("u", 2, 1.0, 0.0)]
    table = spark.createDataFrame(rows, "user string, item long, rating double, timestamp double")
    blocks = merged(tmp_path, table, policy)
    assert matrix(collected(blocks.users), collected(blocks.items)) == {("u", 1): expected, ("u", 2): 1.0}
    assert (blocks.counts.observations, blocks.merged) == (2, 1)


def test_an_input_that_changes_between_two_passes_is_refused(spark, tmp_path):
    def computed_anew(batches):
        for batch in batches:
            ratings = np.frombuffer(os.urandom(2 * batch.num_rows), dtype=np.uint16) + 1.0
            yield batch.append_column("rating", pa.array(ratings))

    rows = spark.range(100).selectExpr("id user", "id % 7 item")
    checked = check(rows.mapInArrow(computed_anew, "user long, item long, rating double"), Input())
    with pytest.raises(
        InputError, match="100 rows when it was checked, 100 when blocks were built, but not the same ones"
    ):
        build_blocks(checked, Config(), str(tmp_path))
    steady = check(rows.withColumn("rating", F.lit(1.0)), Input())
    assert build_blocks(steady, Config(), str(tmp_path)).counts.observations == 100


def test_a_file_that_is_gone_before_the_second_pass_is_refused(spark, tmp_path):
    plays = spark.range(9).selectExpr("id user", "id item", "1d rating")
    plays.write.parquet(str(tmp_path / "plays"))
    config = Config.of({"input.path": str(tmp_path / "plays")})
    checked = check(read(spark, config.input), config.input)
    for part in (tmp_path / "plays").glob("*.parquet"):
        part.unlink()
    with pytest.raises(InputError, match=r"plays' \(format parquet\) cannot be read: "):
        build(checked, config, str(tmp_path / "work"))


def test_repeated_pairs_are_refused_with_examples(spark, tmp_path):
    table = ratings_of(spark, [("u", 1)] * 3 + [("ü", 2**63 - 1)] * 2)
    with pytest.raises(
        InputError, match=r"3 rows repeat a \(user, item\) pair, such as .*\('ü', 9223372036854775807\)"
    ):
        merged(tmp_path, table, "refuse")


def test_a_row_can_be_named_from_its_block_and_number(spark, tmp_path):
    blocks = built(tmp_path, ratings_of(spark, PAIRS), user_blocks=3)
    for block, (ids, _, _) in collected(blocks.users).items():
        assert blocks.users.id_of(block, len(ids) - 1) == ids[-1]


def test_no_record_is_larger_than_the_limit(spark, tmp_path):
    # One user with 600,000 items, and each of those with one user: 2.4 MB of positions for the one row.
    table = spark.range(600_000).selectExpr("'u' user", "id item", "1d rating")
    blocks = built(tmp_path, table, user_blocks=1, item_blocks=1)
    sizes = [
        record
        for side, kinds in ((blocks.users, ("in", "out", "ids", "columns")), (blocks.items, ("in", "out", "ids")))
        for kind in kinds
        for record in side.records(kind).map(lambda keyed: (keyed[1].name, len(keyed[1].payload))).collect()
    ]
    assert max(size for _, size in sizes) <= RECORD_BYTES + 512  # ids come with a header of Arrow's
    positions_of_the_user = sorted(size for name, size in sizes if name == "in.positions.int32")[-2:]
    assert positions_of_the_user == [2_400_000 - RECORD_BYTES, RECORD_BYTES]

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from evaluations import make_measures, make_protocol

from wals_spark.errors import ConfigError, InputError
from wals_spark.spark.evaluate import evaluate
from wals_spark.spark.held_out import gathered

ITEMS = [f"item {n}" for n in range(30)]
PROTOCOL = make_protocol(make_measures(("recall", "percentile_rank", "coverage"), (3, 10)), replicates=20)


@pytest.fixture(scope="module")
def made():
    """Factors of 40 users and 30 items; a test with strangers, unknown items and repeated pairs; training; both."""
    rng = np.random.default_rng(0)
    users = {f"user {n}": row for n, row in enumerate(rng.normal(size=(40, 4)).astype(np.float32))}
    items = dict(zip(ITEMS, rng.normal(size=(30, 4)).astype(np.float32), strict=True))
    names = [*users, "a stranger"]
    test = [(u, str(i), float(rng.integers(1, 5))) for u in names for i in rng.choice([*ITEMS, "new"], 3)]
    training = [(u, str(i), 1.0) for u in names for i in rng.choice(ITEMS, 5)]
    return users, items, test, training


@pytest.fixture
def tables(spark, made):
    """Test, training, user factors and item factors as DataFrames."""

    def factors(rows):
        return spark.createDataFrame([(i, row.tolist()) for i, row in rows.items()], "id string, features array<float>")

    columns = "user string, item string, rating double"
    return [spark.createDataFrame(rows, columns) for rows in made[2:]] + [factors(rows) for rows in made[:2]]


def evaluated_slowly(made, k):
    """Recall at k, the percentile rank, coverage at k, and the pairs that are in training, too."""
    users, items, test, training = made
    ratings, seen = defaultdict(float), defaultdict(set)
    for user, item, rating in test:
        ratings[user, item] += rating
    for user, item, _ in training:
        seen[user].add(item)
    recalls, places, shown, shared = [], [], set(), 0
    for user in users:
        own = {item: r for (u, item), r in ratings.items() if u == user}
        shared += sum(item in seen[user] for item in own)
        own = {item: r for item, r in own.items() if item not in seen[user]}
        order = sorted((i for i in items if i not in seen[user]), key=lambda i: (-float(users[user] @ items[i]), i))
        if own:
            shown |= set(order[:k])
            recalls.append(sum(item in order[:k] for item in own) / len(own))
            places += [(r, order.index(i) / (len(order) - 1) if i in items else 1.0) for i, r in own.items()]
    weights, shares = zip(*places, strict=True)
    return np.mean(recalls), np.average(shares, weights=weights), len(shown) / len(items), shared


def test_metrics_equal_a_slow_evaluation_in_any_partitioning(made, tables):
    test, training, user_factors, item_factors = tables
    found = []
    for n_partitions in (1, 5):
        with gathered(test.repartition(n_partitions), training, n_partitions=n_partitions) as held_out:
            found.append(evaluate(held_out, user_factors, item_factors, width=4, protocol=PROTOCOL))
    metrics = {(entry["name"], entry["k"]): entry["model"] for entry in found[0].metrics}
    for k in (3, 10):
        recall, percentile_rank, coverage, shared = evaluated_slowly(made, k)
        assert metrics["recall", k] == pytest.approx(recall)
        assert metrics["coverage", k] == coverage
    assert metrics["percentile_rank", None] == pytest.approx(percentile_rank)
    assert found[0].counts["test_pairs_in_training"] == shared > 0
    assert [found[0].counts[name] for name in ("test_users", "test_users_unknown", "items")] == [41, 1, 30]
    assert found[0].counts == found[1].counts
    for one, other in zip(found[0].metrics, found[1].metrics, strict=True):
        assert one == pytest.approx(other)  # intervals included: a user's bootstrap does not know of partitions


def test_popularity_is_a_model_with_counts_as_factors(tables, spark):
    test, training, user_factors, _ = tables
    counts = training.distinct().groupBy("item").count()
    as_factors = counts.selectExpr("item as id", "array(cast(count as float)) as features")
    ones = user_factors.selectExpr("id", "array(cast(1 as float)) as features")
    with gathered(test, training, n_partitions=2) as held_out:
        for entry in evaluate(held_out, ones, as_factors, width=1, protocol=PROTOCOL).metrics:
            assert [entry["model"], entry["low"], entry["high"]] == pytest.approx(
                [entry[name] for name in ("popularity", "popularity_low", "popularity_high")]
            )


def test_long_lists_other_ids_and_no_users_are_refused(tables, spark):
    test, training, user_factors, item_factors = tables
    with gathered(test, n_partitions=1) as held_out:
        too_long = make_protocol(make_measures(("recall",), (31,)))
        with pytest.raises(ConfigError, match=r"evaluate\.k = 31: the model has no more than 30 items"):
            evaluate(held_out, user_factors, item_factors, width=4, protocol=too_long)
        numbered = item_factors.selectExpr("cast(length(id) as int) as id", "features")
        with pytest.raises(InputError, match=r"test\.item: ids are of type string, those of the model of type int;"):
            evaluate(held_out, user_factors, numbered, width=4, protocol=PROTOCOL)
        with pytest.raises(InputError, match=r"no user is left to be evaluated: 41 of 41 users in the test are not"):
            evaluate(held_out, user_factors.where("id = 'x'"), item_factors, width=4, protocol=PROTOCOL)
    nobody = pytest.raises(InputError, match=r"no user is left .*: 1 of 41 users .*, \d+ pairs of the others")
    with gathered(training, training, n_partitions=1) as held_out, nobody:
        evaluate(held_out, user_factors, item_factors, width=4, protocol=PROTOCOL)

from __future__ import annotations

import doctest
import json
import math
from datetime import datetime, timezone

import numpy as np
import pytest
from evaluations import make_measures

from wals_spark.evaluation import results
from wals_spark.evaluation.bootstrap import MetricSums
from wals_spark.evaluation.results import Evaluation, metric_entries


@pytest.fixture
def evaluation():
    """Coverage, recall at two k and the percentile rank, of the model and of popularity."""
    measures = make_measures(("coverage", "recall", "percentile_rank"), (5, 10))
    numerators = np.array([[2.0, 3.0, 1.0, 1.0, 2.0, 4.0]])  # of the model, and of popularity
    sums = MetricSums(np.repeat(numerators, 3, axis=0), np.full((3, 6), 4.0))
    return Evaluation(metric_entries(measures, sums, [{0: 2, 4: 1, 9: 3}, {1: 1}], n_items=12), {"users": 4})


def test_metrics_are_listed_by_name_and_k_beside_popularity(evaluation):
    metrics = evaluation.metrics
    assert [(entry["name"], entry["k"], entry["model"], entry["popularity"]) for entry in metrics] == [
        ("coverage", 5, 0.25, 1 / 12),
        ("coverage", 10, 0.5, 1 / 12),
        ("recall", 5, 0.5, 0.25),
        ("recall", 10, 0.75, 0.5),
        ("percentile_rank", None, 0.25, 1.0),
    ]
    assert [entry["better"] for entry in metrics] == ["higher"] * 4 + ["lower"]
    assert (metrics[0]["low"], metrics[2]["low"], metrics[2]["high"]) == (None, 0.5, 0.5)


def test_an_evaluation_prints_as_a_table(evaluation):
    assert str(evaluation).splitlines() == [
        "                  model     95 % interval  popularity     95 % interval",
        "-----------------------------------------------------------------------",
        "coverage@5       0.2500                        0.0833",
        "coverage@10      0.5000                        0.0833",
        "recall@5         0.5000  0.5000 to 0.5000      0.2500  0.2500 to 0.2500",
        "recall@10        0.7500  0.7500 to 0.7500      0.5000  0.5000 to 0.5000",
        "percentile_rank  0.2500  0.2500 to 0.2500      1.0000  1.0000 to 1.0000",
    ]


def test_a_metric_is_looked_up_as_name_at_k(evaluation):
    assert (evaluation.value("recall@10"), evaluation.value("percentile_rank")) == (0.75, 0.25)
    with pytest.raises(KeyError, match=r"recall@20 was not computed; there are coverage@5, .*, percentile_rank"):
        evaluation.value("recall@20")


def test_undefined_values_are_null_in_json_and_nan_in_python():
    sums = MetricSums(np.array([[1.0, 0.0]]), np.array([[2.0, 0.0]]))  # no replicates; the second has no users
    metrics = metric_entries(make_measures(("recall", "percentile_rank"), (5,)), sums, [{}, {}], n_items=12)
    assert [(entry["model"], entry["low"]) for entry in metrics] == [(0.5, None), (None, None)]
    assert "popularity" not in metrics[0]
    json.dumps(metrics, allow_nan=False)
    evaluation = Evaluation(metrics, {})
    assert math.isnan(evaluation.value("percentile_rank"))
    assert str(evaluation).splitlines()[0].split() == ["model", "95", "%", "interval"]


def test_the_document_has_metrics_counts_model_and_protocol(evaluation):
    created = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    document = evaluation.document(created=created, model={"version": "v1"}, protocol={"ties": "order"})
    assert list(document) == ["format", "format_version", "created", "model", "protocol", "counts", "metrics"]
    assert document["created"] == "2026-01-02T03:04:05+00:00"
    assert (document["counts"], document["metrics"]) == (evaluation.counts, evaluation.metrics)
    json.dumps(document, allow_nan=False)


def test_caveats_say_what_was_left_out_in_one_sentence_each():
    counts = {"users": 5, "test_users_unknown": 1200, "test_pairs_in_training": 0, "candidates_unknown": 3}
    assert Evaluation([], counts).caveats == [
        "1,200 of the users in test.path are not in the model: they are not evaluated",
        "3 candidates are items that the model does not have: they are left out",
    ]


def test_the_example_of_an_evaluation_runs():
    outcome = doctest.testmod(results)
    assert (outcome.failed, outcome.attempted) == (0, 4)

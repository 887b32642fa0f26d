from __future__ import annotations

import json

import numpy as np

from wals_spark.evaluation.bootstrap import Sums
from wals_spark.evaluation.metrics import Measures
from wals_spark.evaluation.results import as_table, caveats, metrics_of


def test_metrics_stand_by_name_and_k_with_popularity_beside_them():
    measures = Measures(("coverage", "recall", "percentile_rank"), (5, 10))
    values = np.array([[2.0, 3.0, 1.0, 1.0, 2.0, 4.0]])  # of the model, and of popularity
    sums = Sums(np.repeat(values, 3, axis=0), np.full((3, 6), 4.0))
    metrics = metrics_of(measures, sums, [{0: 2, 4: 1, 9: 3}, {1: 1}], n_items=12)
    assert [(entry["name"], entry["k"], entry["model"], entry["popularity"]) for entry in metrics] == [
        ("coverage", 5, 0.25, 1 / 12),
        ("coverage", 10, 0.5, 1 / 12),
        ("recall", 5, 0.5, 0.25),
        ("recall", 10, 0.75, 0.5),
        ("percentile_rank", None, 0.25, 1.0),
    ]
    assert [entry["better"] for entry in metrics] == ["higher"] * 4 + ["lower"]
    assert (metrics[0]["low"], metrics[2]["low"], metrics[2]["high"]) == (None, 0.5, 0.5)
    assert as_table(metrics).splitlines() == [
        "                  model     95 % interval  popularity     95 % interval",
        "-----------------------------------------------------------------------",
        "coverage@5       0.2500                        0.0833",
        "coverage@10      0.5000                        0.0833",
        "recall@5         0.5000  0.5000 to 0.5000      0.2500  0.2500 to 0.2500",
        "recall@10        0.7500  0.7500 to 0.7500      0.5000  0.5000 to 0.5000",
        "percentile_rank  0.2500  0.2500 to 0.2500      1.0000  1.0000 to 1.0000",
    ]


def test_what_does_not_exist_is_null_and_not_nan():
    sums = Sums(np.array([[1.0, 0.0]]), np.array([[2.0, 0.0]]))  # no replicates; nobody has a say in the second
    metrics = metrics_of(Measures(("recall", "percentile_rank"), (5,)), sums, [{}, {}], n_items=12)
    assert [(entry["model"], entry["low"]) for entry in metrics] == [(0.5, None), (None, None)]
    assert "popularity" not in metrics[0]
    json.dumps(metrics, allow_nan=False)
    assert as_table(metrics).splitlines()[0].split() == ["model", "95", "%", "interval"]


def test_what_was_left_out_is_said_in_a_sentence_each():
    said = caveats({"users": 5, "test_users_unknown": 1200, "test_pairs_in_training": 0, "candidates_unknown": 3})
    assert said == [
        "1,200 of the users in test.path are not in the model: they are not judged",
        "3 candidates are items that the model does not have: they are left out",
    ]

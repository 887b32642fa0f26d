"""Defaults on real data: nothing is set but where the data is."""

from __future__ import annotations

NCF_INPUT = ("input.format=csv", r"input.options.sep=\t", "input.user=_c0", "input.item=_c1", "input.rating=")
LAST_FM = ("input.format=csv", r"input.options.sep=\t", "input.user=_c0", "input.item=_c1", "input.rating=_c2")


def test_ncf_ml_1m_has_nearly_the_published_metrics(data, train, evaluate):
    source = (*NCF_INPUT, f"input.path={data}/ncf-ml-1m/ml-1m.train.rating")
    train(*source)
    candidates = (f"candidates.path={data}/ncf-ml-1m/ml-1m.test.negative", "candidates.format=ncf")
    test = f"test.path={data}/ncf-ml-1m/ml-1m.test.rating"
    metrics = evaluate(*source, test, *candidates, "evaluate.k=10", "evaluate.metrics=hit_rate,ndcg")
    print({name: round(entry["model"], 4) for name, entry in metrics.items()})
    assert metrics["hit_rate@10"]["model"] >= 0.715
    assert metrics["ndcg@10"]["model"] >= 0.435


def test_lastfm_split_has_nearly_the_recall_of_the_best_settings(data, train, evaluate):
    train(*LAST_FM, f"input.path={data}/lastfm-split/data1.txt")
    tables = (*LAST_FM, f"input.path={data}/lastfm-split/data1.txt", f"test.path={data}/lastfm-split/test1.txt")
    metrics = evaluate(*tables, "evaluate.k=20", "evaluate.metrics=recall,ndcg")
    print({name: round(entry["model"], 4) for name, entry in metrics.items()})
    assert metrics["recall@20"]["model"] >= 0.265

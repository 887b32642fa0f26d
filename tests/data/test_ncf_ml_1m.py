"""Leave-one-out on MovieLens 1M as published for neural collaborative filtering, with iALS in Rendle et al. 2022."""

from __future__ import annotations

import re

import numpy as np
import pytest

SETTINGS = (
    "input.format=csv", r"input.options.sep=\t", "input.user=_c0", "input.item=_c1", "input.rating=",
    "train.preset=rendle", "train.unobserved_weight=0.3", "train.reg_param=0.007",
)  # fmt: skip


def ranks_of_held_out(data, users, items):
    """The place of each held-out item among itself and its 99 negatives, from 0; ties count against it."""
    ranks = []
    for line in (data / "ncf-ml-1m/ml-1m.test.negative").read_text().splitlines():
        pair, *negatives = line.split("\t")
        user, item = re.findall(r"\d+", pair)
        x = users[user]
        score = x @ items[item] if item in items else 0.0
        others = np.array([x @ items[n] if n in items else 0.0 for n in negatives])
        ranks.append(int((others >= score).sum()))
    return np.array(ranks)


def metrics(ranks):
    hits = ranks < 10
    return hits.mean(), np.where(hits, np.log(2) / np.log(ranks + 2), 0.0).mean()


@pytest.mark.parametrize(
    ("rank", "max_iter", "expected_loss", "hit_rate", "ndcg"),
    [
        (64, 12, 545_745, 0.719, 0.441),
        # 14 iterations. After 12 the loss is 541,387 and the hit rate 0.7276, 0.7275, 0.7288
        # or 0.7288 with seeds 0 to 3: one user of the 6,040 is 0.00017.
        (192, 14, 541_400, 0.728, 0.447),
    ],
)
def test_the_published_loss_and_ranking_are_reached(data, train, rank, max_iter, expected_loss, hit_rate, ndcg):
    path = data / "ncf-ml-1m/ml-1m.train.rating"
    _, users, items = train(*SETTINGS, f"input.path={path}", f"train.rank={rank}", f"train.max_iter={max_iter}")
    pairs = np.array([line.split("\t")[:2] for line in path.read_text().splitlines()])
    user_rows, item_rows = ({i: n for n, i in enumerate(side)} for side in (users, items))
    rows, columns = [user_rows[u] for u in pairs[:, 0]], [item_rows[i] for i in pairs[:, 1]]
    x, y = np.stack(list(users.values())), np.stack(list(items.values()))
    n_u, n_i = np.bincount(rows), np.bincount(columns)
    loss = (
        ((np.einsum("pf,pf->p", x[rows], y[columns]) - 1) ** 2).sum()
        + 0.3 * np.vdot(x.T @ x, y.T @ y)
        + 0.007 * ((n_u + 0.3 * len(y)) @ (x**2).sum(axis=1) + (n_i + 0.3 * len(x)) @ (y**2).sum(axis=1))
    )
    found_hit_rate, found_ndcg = metrics(ranks_of_held_out(data, users, items))
    print(f"rank {rank}: loss {loss:,.1f} of {expected_loss:,}, HR@10 {found_hit_rate:.4f}, NDCG@10 {found_ndcg:.4f}")
    assert loss == pytest.approx(expected_loss, rel=1e-3)
    assert found_hit_rate >= hit_rate
    assert found_ndcg >= ndcg

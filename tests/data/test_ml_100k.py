"""Explicit ratings: plain ALS-WR on the official folds of MovieLens 100k."""

from __future__ import annotations

import numpy as np
import pytest

SETTINGS = (
    "input.format=csv", r"input.options.sep=\t", "input.user=_c0", "input.item=_c1", "input.rating=_c2",
    "train.preset=mllib-explicit", "train.rank=10", "train.max_iter=15", "train.reg_param=0.1",
)  # fmt: skip


@pytest.mark.slow
def test_the_mean_rmse_of_the_five_folds_is_the_known_one(data, train):
    errors = []
    for fold in range(1, 6):
        _, users, items = train(*SETTINGS, f"input.path={data}/ml-100k/u{fold}.base", f"output.version=u{fold}")
        test = [line.split("\t") for line in (data / f"ml-100k/u{fold}.test").read_text().splitlines()]
        squares = [(float(r) - users[u] @ items[i]) ** 2 for u, i, r, _ in test if u in users and i in items]
        errors.append(float(np.sqrt(np.mean(squares))))
    print(f"RMSE {np.mean(errors):.4f}, by fold {errors}")
    assert np.mean(errors) == pytest.approx(0.9224, abs=0.004)

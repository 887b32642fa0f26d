"""LensKit's own ImplicitMF, in its own environment: ratings in, factors out.

.venv-lenskit/bin/python tests/data/lenskit_als.py PAIRS.npz FACTORS.npz RANK ITERATIONS WEIGHT REG
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
from lenskit.algorithms.als import ImplicitMF


def main() -> None:
    pairs, factors, rank, iterations, weight, reg = sys.argv[1:]
    with np.load(pairs) as file:
        table = pd.DataFrame({"user": file["users"], "item": file["items"]})
    model = ImplicitMF(
        int(rank), iterations=int(iterations), weight=float(weight), reg=float(reg), method="lu", rng_spec=0
    )
    model.fit(table)
    np.savez(
        factors,
        users=model.user_index_.to_numpy(), items=model.item_index_.to_numpy(),
        user_factors=model.user_features_, item_factors=model.item_features_,
    )  # fmt: skip


if __name__ == "__main__":
    main()

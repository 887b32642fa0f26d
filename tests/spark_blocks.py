"""Blocks on Spark from a table that is in shape already, by the settings that a test names."""

from __future__ import annotations

import numpy as np

from wals_spark.blocks.assignment import N_BUCKETS
from wals_spark.settings.train import Config
from wals_spark.spark.checking import Interactions
from wals_spark.spark.training.build import build_blocks


def blocks_of(table, folder, settings=None, *, rows=1):
    """Build the blocks of a checked table below a folder; ``rows`` is what the check would have counted."""
    interactions = Interactions(table, rows, 0, np.zeros(N_BUCKETS, dtype=np.int64))
    return build_blocks(interactions, Config.of(settings), str(folder))

"""What an executor does to predict: pairs beside the factors of both ids in, pairs with their predictions out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wals_spark.arrays.arrow import as_arrow
from wals_spark.arrays.features import feature_rows

USER_FEATURES, ITEM_FEATURES = "_wals_user_features", "_wals_item_features"
PREDICTION = "prediction"


class Prediction(NamedTuple):
    """The column of predictions: its name, and whether it is a float, as MLlib's, or a double."""

    name: str
    is_float: bool = False


DOUBLE = Prediction(PREDICTION)


def predict_pairs(
    batches: Iterable[pa.RecordBatch], *, offset: float, prediction: Prediction
) -> Iterator[pa.RecordBatch]:
    """Each batch without its factors, with its predictions: ``offset + x·y`` in float64, NaN where one is missing."""
    for batch in batches:
        features = [batch.column(batch.schema.names.index(name)) for name in (USER_FEATURES, ITEM_FEATURES)]
        known = pc.and_(features[0].is_valid(), features[1].is_valid())
        predictions = np.full(batch.num_rows, np.nan)
        if pc.any(known).as_py():
            users, items = (feature_rows(column.filter(known)) for column in features)
            scores = np.einsum("nf,nf->n", users, items, dtype=np.float64)
            predictions[known.to_numpy(zero_copy_only=False)] = offset + scores
        column = as_arrow(predictions.astype(np.float32) if prediction.is_float else predictions)
        kept = batch.select([name for name in batch.schema.names if name not in (USER_FEATURES, ITEM_FEATURES)])
        yield pa.RecordBatch.from_arrays([*kept.columns, column], names=[*kept.schema.names, prediction.name])

from __future__ import annotations

from typing import get_args

import numpy as np
import oracle
import pytest
from objectives import make_confidence

from wals_spark.objective.objective import ConfidenceFunction

RATINGS = np.array([0.0, 0.1, 1.0, 5.0, 352_698.0])


@pytest.mark.parametrize("function", get_args(ConfidenceFunction))
def test_each_function_is_its_formula(function):
    np.testing.assert_allclose(
        make_confidence(function, 10.0, 0.5, base=0.3).of(RATINGS),
        0.3 + oracle.excess(RATINGS, function, 10.0, 0.5),
        rtol=1e-12,
    )


@pytest.mark.parametrize("function", get_args(ConfidenceFunction))
def test_more_of_it_never_means_less_confidence(function):
    assert (np.diff(make_confidence(function, 2.0, 1.0).of(RATINGS)) >= 0).all()


def test_an_unknown_function_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="constant, linear, log, sqrt"):
        make_confidence("exponential").of(RATINGS)

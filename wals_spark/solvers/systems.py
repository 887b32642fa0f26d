"""The systems that solvers take and return: of a block's rows, of their observations, and in rotated coordinates.

Those that Numba's kernels read are NamedTuples, whose attributes it knows by name.
"""

from __future__ import annotations

from typing import NamedTuple

from wals_spark.arrays.types import Float32Array, Float64Array, Indices, Int64Array
from wals_spark.blocks.weighted import WeightedBlock
from wals_spark.objective.objective import Objective


class LeastSquares(NamedTuple):
    """The weighted, regularized least squares problems of a block's rows: what a half-iteration solves.

    Attributes
    ----------
    received : float32, shape (n_received, width)
        The fixed side's rows that ``block.positions`` points into; width is the rank, or with biases two more.
    fixed_gramian : float64, shape (width, width)
        Of *all* rows of the fixed side, those not received included.
    """

    block: WeightedBlock
    received: Float32Array
    fixed_gramian: Float64Array
    objective: Objective


class Observations(NamedTuple):
    """The observations of some rows, each with its weight, its target and its row of the fixed side.

    Attributes
    ----------
    indptr : int64, shape (n_rows + 1,)
        The observations of row u are those from ``indptr[u]`` to before ``indptr[u + 1]``.
    positions : uint16 or int32, shape (n_observed,)
        Into ``received``.
    indices : uint16 or int32, shape (n_observed,)
        Into ``excess_weight`` and ``target``.
    excess_weight, target : float32, shape (n_distinct,)
        The distinct pairs of ``w`` and ``t`` (`objective.py`).
    unobserved_weight_in_confidence : float
        ``s = (w + unobserved_weight_in_confidence) t``.
    received : float32, shape (n_received, width)
    """

    indptr: Int64Array
    positions: Indices
    indices: Indices
    excess_weight: Float32Array
    target: Float32Array
    unobserved_weight_in_confidence: float
    received: Float32Array

    @classmethod
    def of(cls, block: WeightedBlock, received: Float32Array, unobserved_weight_in_confidence: float) -> Observations:
        """The observations of a block, and the rows that its positions point into."""
        return cls(
            indptr=block.indptr,
            positions=block.positions,
            indices=block.indices,
            excess_weight=block.excess_weight,
            target=block.target,
            unobserved_weight_in_confidence=unobserved_weight_in_confidence,
            received=received,
        )


class RotatedSystem(NamedTuple):
    """The normal equations of rows in the eigenbasis of the Gramian (`rotation.py`), of their f free coordinates.

    Attributes
    ----------
    observations : Observations
        With ``received`` rotated, shape (n_received, f).
    shift : float32, shape (n_received,), or (0,) without biases
        What the coordinate that is held at 1 adds to the score of each received row.
    rhs_constant : float32, shape (f,)
        The part of the right-hand side that comes from no observation.
    diagonal : float32, shape (f,)
        ``α₀ g``.
    regularization : float64, shape (n_rows,)
        ``Λ``.
    """

    observations: Observations
    shift: Float32Array
    rhs_constant: Float32Array
    diagonal: Float32Array
    regularization: Float64Array


class Solution(NamedTuple):
    """Solved rows, and their part of the objective.

    Attributes
    ----------
    factors : float32, shape (n_rows, width)
    value : float
        The objective value ``Σ (xᵀ lhs x − 2 xᵀ rhs) + Σ k``, summed over the rows.
    decrease : float
        By how much ``value`` was larger with the current factors; 0 where that is not known.
    failed_row : int
        The first row that has no solution, or -1.
    """

    factors: Float32Array
    value: float
    decrease: float
    failed_row: int

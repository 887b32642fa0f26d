"""The factors that training starts from: a function of (seed, side, id) and of nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from wals_spark.arrays.types import Float32Array

_IDS_PER_BATCH = 8192


@dataclass(frozen=True)
class Start:
    """The distribution that start factors are drawn from.

    Attributes
    ----------
    scale : float
        The standard deviation of a coordinate is scale/√rank.
    positive : bool
        Take absolute values: for explicit ratings, which are mostly of one sign (docs/adr/0006).
    """

    rank: int
    seed: int
    scale: float
    positive: bool


def start_factors(ids: pa.Array, start: Start, *, side: str, held: int | None = None) -> Float32Array:
    """Draw the row of each id from N(0, scale/√rank), independent of blocks, of order and of the other ids.

    The random bits are SHAKE-128 of (seed, side, id), so a row is the same on every platform and with any number of
    blocks; the Box-Muller transform makes two normal numbers of two 32-bit uniform ones.

    Parameters
    ----------
    ids : pa.Array, shape (n,)
        Strings or integers; an integer yields the same row whatever its width.
    side : str
        ``"users"`` or ``"items"``: a user and an item with the same id have different rows.
    held : int
        With biases: which of the two coordinates after ``rank`` is 1 in every row; the other, the bias, starts at 0.

    Returns
    -------
    ndarray of float32, shape (n, rank), or (n, rank + 2) with biases
    """
    rank = start.rank
    prefix = f"{start.seed}/{side}/".encode()
    pairs = (rank + 1) // 2
    factors = np.zeros((len(ids), rank if held is None else rank + 2), dtype=np.float32)
    if held is not None:
        factors[:, held] = 1.0
    for begin in range(0, len(ids), _IDS_PER_BATCH):
        batch = ids.slice(begin, _IDS_PER_BATCH)
        bits = b"".join(hashlib.shake_128(prefix + key).digest(8 * pairs) for key in _id_bytes(batch))
        uniform = (np.frombuffer(bits, dtype="<u4").astype(np.float64) + 0.5) / 2.0**32
        uniform = uniform.reshape(len(batch), 2, pairs)  # in (0, 1): the logarithm below is finite
        radius = np.sqrt(-2.0 * np.log(uniform[:, 0]))  # (n, pairs)
        angle = 2.0 * np.pi * uniform[:, 1]  # (n, pairs)
        normal = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        drawn = np.abs(normal) if start.positive else normal
        factors[begin : begin + len(batch), :rank] = drawn[:, :rank] * (start.scale / np.sqrt(rank))
    return factors


def _id_bytes(ids: pa.Array) -> Iterator[bytes]:
    if pa.types.is_integer(ids.type):
        return (value.to_bytes(8, "little", signed=True) for value in ids.to_pylist())
    return (value.encode() for value in ids.to_pylist())

"""The factors training starts from: a function of (seed, side, id) and of nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from wals_spark.arrays.types import Float32Array

_ROWS_AT_A_TIME = 8192


def start_factors(
    ids: pa.Array, *, rank: int, seed: int, side: str, scale: float, positive: bool = False, held: int | None = None
) -> Float32Array:
    """Draw each id's row from N(0, scale/√rank), independent of blocks, order and of the other ids.

    The random bits are SHAKE-128 of (seed, side, id), so a row is the same on every platform and in every
    layout; Box and Muller's transform makes two normals of two 32-bit uniforms.

    Parameters
    ----------
    ids : pa.Array, shape (n,)
        Strings or integers; an integer gives the same row whatever its width.
    side : str
        ``"users"`` or ``"items"``: a user and an item with one id differ.
    positive : bool
        Take absolute values: for explicit ratings, which are mostly of one sign (docs/adr/0006).
    held : int
        With biases: which of the two coordinates after ``rank`` is 1 in every row; the other, the bias, starts at 0.

    Returns
    -------
    ndarray of float32, shape (n, rank), or (n, rank + 2) with biases
    """
    prefix = f"{seed}/{side}/".encode()
    pairs = (rank + 1) // 2
    factors = np.zeros((len(ids), rank if held is None else rank + 2), dtype=np.float32)
    if held is not None:
        factors[:, held] = 1.0
    for begin in range(0, len(ids), _ROWS_AT_A_TIME):
        some = ids.slice(begin, _ROWS_AT_A_TIME)
        bits = b"".join(hashlib.shake_128(prefix + key).digest(8 * pairs) for key in _id_bytes(some))
        uniform = (np.frombuffer(bits, dtype="<u4").astype(np.float64) + 0.5) / 2.0**32
        uniform = uniform.reshape(len(some), 2, pairs)  # in (0, 1): the logarithm below is finite
        radius = np.sqrt(-2.0 * np.log(uniform[:, 0]))  # (n, pairs)
        angle = 2.0 * np.pi * uniform[:, 1]  # (n, pairs)
        normal = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        drawn = np.abs(normal) if positive else normal
        factors[begin : begin + len(some), :rank] = drawn[:, :rank] * (scale / np.sqrt(rank))
    return factors


def _id_bytes(ids: pa.Array) -> Iterator[bytes]:
    if pa.types.is_integer(ids.type):
        return (value.to_bytes(8, "little", signed=True) for value in ids.to_pylist())
    return (value.encode() for value in ids.to_pylist())

"""Random numbers that are a function of a seed and a counter: Philox4x32-10, and rotations drawn with it.

J. Salmon, M. Moraes, R. Dror and D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. A kernel draws the
same numbers from the same seed and counter as the functions here, on any device and in any order.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ites_fast.reference.rotation import cross_matrix, vertical_rotation

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
WORD = 0xFFFFFFFF
UNIFORM_BITS = 24  # every multiple of 2^-24 in [0, 1) is exact in float32


def philox(counter: Sequence[Tensor | int], key: Sequence[Tensor | int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""Encrypt a counter of four 32-bit words with a key of two.

    One of the ten rounds is

    .. math:: (c_0, c_1, c_2, c_3) \to (hi(M_1 c_2) \oplus c_1 \oplus k_0, \; lo(M_1 c_2), \;
              hi(M_0 c_0) \oplus c_3 \oplus k_1, \; lo(M_0 c_0)),

    with hi and lo the two words of a product; after it, a constant is added to each word of the key.

    Args:
        counter: four words in [0, 2^32), int64 tensors that broadcast or integers; the first is a tensor.
        key: two words, likewise.

    Returns:
        Four int64 tensors of random words in [0, 2^32).
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        high_0, low_0 = _multiply(c0, MULTIPLIERS[0])
        high_1, low_1 = _multiply(c2, MULTIPLIERS[1])
        c0, c1, c2, c3 = high_1 ^ c1 ^ k0, low_1, high_0 ^ c3 ^ k1, low_0
        k0, k1 = (k0 + KEY_STEPS[0]) & WORD, (k1 + KEY_STEPS[1]) & WORD
    return c0, c1, c2, c3


def _multiply(word: Tensor | int, multiplier: int) -> tuple[Tensor | int, Tensor | int]:
    """High and low word of the product of two words, in halves, so that no signed 64-bit number overflows."""
    low, high = (word & 0xFFFF) * multiplier, (word >> 16) * multiplier
    return (high + (low >> 16)) >> 16, (((high & 0xFFFF) << 16) + low) & WORD


def philox_rotations(
    seed: int,
    offset: int | Tensor,
    shape: Sequence[int],
    axis: Literal["all", "vertical"],
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    r"""Rotations that are a function of ``seed``, ``offset`` and their number n in the batch.

    Philox is given the seed as its key and (n, offset) as its counter, 64 bits each, low word first. The high 24 bits
    of the first three words it answers are uniform numbers u, v, w in [0, 1):

    * ``axis="all"``: angle :math:`\varphi = \pi u`, and an axis uniform on the sphere from its height and its azimuth,
      :math:`a = (2 \sqrt{v (1 - v)} \cos 2 \pi w, \; 2 \sqrt{v (1 - v)} \sin 2 \pi w, \; 2 v - 1)`. This is the
      distribution of ``random_rotations``.
    * ``axis="vertical"``: angle :math:`\varphi = 2 \pi u` about y, z towards x.

    Args:
        seed: 64-bit key, any integer that int64 holds.
        offset: 64-bit counter of calls: draws with different offsets are independent. An integer, or an int64 tensor
            with one element on ``device``.
        shape: shape of the batch, for example (S, B).
        axis: which axes are drawn.
        device: device of the result.
        dtype: floating-point type of the result. The matrices are computed in float64 and rounded.

    Returns:
        Rotations acting on column vectors (*shape, 3, 3).

    Raises:
        ValueError: ``axis`` is neither "all" nor "vertical".
    """
    if axis not in ("all", "vertical"):
        raise ValueError(f'axis must be "all" or "vertical", got {axis!r}')
    number = torch.arange(math.prod(shape), device=device)
    if isinstance(offset, Tensor):
        offset = offset.reshape(())
    words = philox((*_words(number), *_words(offset)), _words(seed))
    u, v, w = ((word >> (32 - UNIFORM_BITS)).double() * 2.0**-UNIFORM_BITS for word in words[:3])
    if axis == "vertical":
        rotation = vertical_rotation(2 * math.pi * u)
    else:
        radius, azimuth = 2 * (v * (1 - v)).sqrt(), 2 * math.pi * w
        direction = torch.stack([radius * azimuth.cos(), radius * azimuth.sin(), 2 * v - 1], dim=-1)
        rotation = _about(direction, math.pi * u)
    return rotation.reshape(*shape, 3, 3).to(dtype)


def _words(number: Tensor | int) -> tuple[Tensor | int, Tensor | int]:
    """Low and high word of a 64-bit number."""
    return number & WORD, (number >> 32) & WORD


def _about(direction: Tensor, angle: Tensor) -> Tensor:
    """Rotations (N, 3, 3) by ``angle`` (N,) about unit vectors (N, 3): cos I + sin K + (1 - cos) a a^T."""
    sin, cos = angle.sin()[:, None, None], angle.cos()[:, None, None]
    outer = direction[:, :, None] * direction[:, None, :]
    identity = torch.eye(3, dtype=angle.dtype, device=angle.device)
    return cos * identity + sin * cross_matrix(direction) + (1 - cos) * outer

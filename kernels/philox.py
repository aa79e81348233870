"""Rotations that are a function of a seed and a counter, in registers. Definition: ``ites_fast.reference.philox``.

The generator is Triton's own Philox4x32-10. Angles are fractions of a turn, so their reduction to an eighth of a turn
is exact in integers, and Taylor polynomials do the rest: sines and cosines are right to float32 rounding, without the
stack that the general routine takes for large arguments.
"""

import math

import triton
import triton.language as tl

UNIFORM_SHIFT = tl.constexpr(8)  # of a word of 32 bits, to the 24 that float32 holds exactly
STEPS = tl.constexpr(1 << 24)
TWO_PI = tl.constexpr(2 * math.pi)


@triton.jit
def philox_rotation(seed, offset, number, VERTICAL: tl.constexpr):
    """The rotations ``number`` (N,) of a call: nine (N,) tensors, row by row."""
    zero = number.to(tl.uint32) * 0
    word = tl.full((1,), 0xFFFFFFFF, tl.int64)
    offset_low, offset_high = (offset & word).to(tl.uint32), ((offset >> 32) & word).to(tl.uint32)
    low, high = (number & word).to(tl.uint32), ((number >> 32) & word).to(tl.uint32)
    first, second, third, _ = tl.philox(seed, low, high, offset_low + zero, offset_high + zero)
    angle = (first >> UNIFORM_SHIFT).to(tl.int32)
    if VERTICAL:
        sin, cos = _sin_cos(angle, STEPS)
        nought, one = tl.zeros_like(sin), tl.zeros_like(sin) + 1.0
        return cos, nought, sin, nought, one, nought, -sin, nought, cos
    else:
        sin, cos = _sin_cos(angle, 2 * STEPS)
        sin_azimuth, cos_azimuth = _sin_cos((third >> UNIFORM_SHIFT).to(tl.int32), STEPS)
        height = (second >> UNIFORM_SHIFT).to(tl.float32) * (1.0 / STEPS)
        radius = 2.0 * tl.sqrt(height * (1.0 - height))
        x, y, z = radius * cos_azimuth, radius * sin_azimuth, 2.0 * height - 1.0
        rest = 1.0 - cos
        a, b, c = cos + rest * x * x, rest * x * y - sin * z, rest * x * z + sin * y
        d, e, f = rest * x * y + sin * z, cos + rest * y * y, rest * y * z - sin * x
        g, h, i = rest * x * z - sin * y, rest * y * z + sin * x, cos + rest * z * z
        return a, b, c, d, e, f, g, h, i


@triton.jit
def pick(rotations, index):
    """The rotations at ``index`` among those of ``philox_rotation``: a shuffle for each of the nine tensors."""
    a, b, c, d, e, f, g, h, i = rotations
    a, b, c = tl.gather(a, index, 0), tl.gather(b, index, 0), tl.gather(c, index, 0)
    d, e, f = tl.gather(d, index, 0), tl.gather(e, index, 0), tl.gather(f, index, 0)
    g, h, i = tl.gather(g, index, 0), tl.gather(h, index, 0), tl.gather(i, index, 0)
    return a, b, c, d, e, f, g, h, i


@triton.jit
def _sin_cos(steps, TURN: tl.constexpr):
    """Sine and cosine of ``steps`` (int32) of which ``TURN`` make a turn."""
    quarter: tl.constexpr = TURN // 4
    quadrant = (steps + quarter // 2) // quarter
    x = (steps - quadrant * quarter).to(tl.float32) * (TWO_PI / TURN)  # within an eighth of a turn of zero
    t = x * x
    odd = x * (1.0 - t / 6 * (1.0 - t / 20 * (1.0 - t / 42 * (1.0 - t / 72))))
    even = 1.0 - t / 2 * (1.0 - t / 12 * (1.0 - t / 30 * (1.0 - t / 56 * (1.0 - t / 90))))
    sin = tl.where((quadrant & 1) == 1, even, odd)
    cos = tl.where((quadrant & 1) == 1, odd, even)
    return tl.where((quadrant & 2) == 2, -sin, sin), tl.where(((quadrant + 1) & 2) == 2, -cos, cos)

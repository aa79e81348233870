"""Joints in a kernel: one joint a lane, its components in registers of their own.

Components are loaded one by one; what the first load brings into the L1 cache serves the others. Stores are not merged
there, so they go out as rows of joints.
"""

import triton
import triton.language as tl


@triton.jit
def load_joint(ptr, joint, mask, D: tl.constexpr):
    """x, y and z of the joints with these numbers in an array (..., D), D = 2 or 3, as float32; z is 0 in the plane."""
    x = tl.load(ptr + joint * D, mask=mask, other=0.0).to(tl.float32)
    y = tl.load(ptr + joint * D + 1, mask=mask, other=0.0).to(tl.float32)
    z = tl.zeros_like(x)
    if D == 3:
        z = tl.load(ptr + joint * D + 2, mask=mask, other=0.0).to(tl.float32)
    return x, y, z


@triton.jit
def store_joint(ptr, joint, mask, components, D: tl.constexpr):
    """Store the first D of three components of the joints with these numbers in an array (..., D), D = 2 or 3."""
    size: tl.constexpr = joint.numel
    joint, mask = tl.reshape(joint, [size])[:, None] * D, tl.reshape(mask, [size])[:, None]
    x, y = tl.reshape(components[0], [size]), tl.reshape(components[1], [size])
    if D == 2:
        tl.store(ptr + joint + tl.arange(0, 2)[None, :], tl.join(x, y), mask=mask)
    else:
        z = tl.reshape(components[2], [size])
        row = tl.reshape(tl.join(tl.join(x, z), tl.join(y, z)), [size, 4])  # x, y, z and one not stored
        d = tl.arange(0, 4)[None, :]
        tl.store(ptr + joint + d, row, mask=mask & (d < 3))


@triton.jit
def norm(vector):
    """Length of (x, y, z). Where the square of a length is denormal, below 1e-19, it is 0."""
    x, y, z = vector
    return tl.sqrt(x * x + y * y + z * z)


@triton.jit
def norm_gradient(vector, grad):
    """``grad`` times the unit vector along (x, y, z), and zero where that has no length."""
    length = norm(vector)
    factor = grad / tl.where(length == 0, 1.0, length)
    return vector[0] * factor, vector[1] * factor, vector[2] * factor

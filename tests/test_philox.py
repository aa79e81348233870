"""Philox4x32-10 against the known answers of Random123 and against Triton's, and rotations drawn with it."""

import math

import pytest
import torch

from ites_fast import ops, reference

# counter, key and answer, from the file kat_vectors of Random123
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text):
    return [torch.tensor([int(word, 16)]) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_known_answers(counter, key, answer):
    assert reference.philox(words(counter), words(key)) == tuple(words(answer))


@pytest.mark.parametrize("seed", [0, 12345, 2**40 + 3, -1])
def test_words_are_those_of_triton(seed, kernel_device):
    triton = pytest.importorskip("triton")
    tl = pytest.importorskip("triton.language")

    @triton.jit
    def draw(seed, first, words):
        number = tl.cast(first, tl.int64) + tl.arange(0, 16)
        a, b, c, d = tl.randint4x(tl.cast(seed, tl.int64), number)
        at = words + tl.arange(0, 16) * 4
        tl.store(at, a.to(tl.int64))
        tl.store(at + 1, b.to(tl.int64))
        tl.store(at + 2, c.to(tl.int64))
        tl.store(at + 3, d.to(tl.int64))

    found = torch.empty(16, 4, dtype=torch.int64, device=kernel_device)
    first = 2**32 - 7  # both words of the number count
    draw[(1,)](seed, first, found)
    number = torch.arange(first, first + 16)
    zero = torch.zeros_like(number)
    key = (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF)
    expected = reference.philox((number & 0xFFFFFFFF, number >> 32, zero, zero), key)
    torch.testing.assert_close(found.cpu() & 0xFFFFFFFF, torch.stack(expected, dim=1))


def draw_rotations(axis, shape=(4, 5000), seed=3, offset=5, **options):
    return ops.philox_rotations(seed, offset, shape, axis, **{"dtype": torch.float64} | options)


@pytest.mark.parametrize("axis", ["all", "vertical"])
def test_rotations_are_rotations(axis, device):
    rotation = draw_rotations(axis, device=device)
    identity = torch.eye(3, dtype=torch.float64, device=device)
    torch.testing.assert_close(rotation @ rotation.mT, identity.expand_as(rotation))
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(4, 5000, dtype=torch.float64, device=device))


def uniform_distance(value):
    """Kolmogorov's distance of values (N,) from the uniform distribution over [0, 1], times the root of N."""
    value = value.flatten().sort().values
    step = torch.linspace(0, 1, len(value) + 1, dtype=value.dtype)
    return max((step[1:] - value).max().item(), (value - step[:-1]).max().item()) * math.sqrt(len(value))


def test_distribution_about_all_axes():
    rotation = draw_rotations("all")
    cos = ((rotation.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2).clamp(-1, 1)
    angle = cos.acos()
    turned = torch.stack(
        [
            rotation[..., 2, 1] - rotation[..., 1, 2],
            rotation[..., 0, 2] - rotation[..., 2, 0],
            rotation[..., 1, 0] - rotation[..., 0, 1],
        ],
        dim=-1,
    )
    direction = torch.nn.functional.normalize(turned, dim=-1)
    assert uniform_distance(angle / math.pi) < 1.6  # exceeded by one sample in a hundred
    assert uniform_distance((direction[..., 2] + 1) / 2) < 1.6
    assert uniform_distance(torch.atan2(direction[..., 1], direction[..., 0]) / (2 * math.pi) + 0.5) < 1.6


def test_distribution_about_the_vertical():
    rotation = draw_rotations("vertical")
    angle = torch.atan2(rotation[..., 0, 2], rotation[..., 0, 0]) % (2 * math.pi)
    torch.testing.assert_close(rotation, ops.vertical_rotation(angle))
    assert uniform_distance(angle / (2 * math.pi)) < 1.6


@pytest.mark.parametrize("axis", ["all", "vertical"])
def test_every_argument_counts(axis):
    rotation = draw_rotations(axis, (2, 3))
    torch.testing.assert_close(draw_rotations(axis, (2, 3)), rotation, rtol=0, atol=0)
    torch.testing.assert_close(draw_rotations(axis, (6,)), rotation.flatten(0, 1), rtol=0, atol=0)
    torch.testing.assert_close(draw_rotations(axis, (2, 3), dtype=torch.float32), rotation.float(), rtol=0, atol=0)
    tensor = draw_rotations(axis, (2, 3), offset=torch.tensor(5))
    torch.testing.assert_close(tensor, rotation, rtol=0, atol=0)
    for others in ({"seed": 4}, {"seed": 3 + 2**32}, {"seed": -3}, {"offset": 6}, {"offset": 5 + 2**32}):
        other = draw_rotations(axis, (2, 3), **others)
        assert ((other - rotation).abs().amax(dim=(-2, -1)) > 1e-3).all(), others


def test_rejects_other_axes():
    with pytest.raises(ValueError, match=r"axis must be .* got 'horizontal'"):
        draw_rotations("horizontal")

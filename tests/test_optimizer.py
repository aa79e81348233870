"""The optimizers by name: what weight decay does in each, and that their state can be stored."""

import pytest
import torch
from torch import nn

from ites_fast.checkpoint import pack_optimizer, unpack_optimizer
from ites_fast.options import OptimizerOptions
from ites_fast.training import build_optimizer

RATE, DECAY = 0.01, 0.2


def network(value=2.0):
    layer = nn.Linear(3, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(value)
    return layer


def stepped(layer, optimizer, gradient, steps=1):
    for _ in range(steps):
        layer.weight.grad = torch.full_like(layer.weight, gradient)
        optimizer.step()
    return layer.weight.detach().clone()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sgd", 2 - RATE * (0.5 + DECAY * 2)),
        # the first step of Adam is the sign of the gradient, to which the penalty is added
        ("adam", 2 - RATE),
        ("adamw", 2 * (1 - RATE * DECAY) - RATE),
    ],
)
def test_weight_decay_is_a_penalty_or_decoupled(name, expected):
    layer = network()
    optimizer = build_optimizer(layer, OptimizerOptions(optimizer=name, learning_rate=RATE, weight_decay=DECAY))
    torch.testing.assert_close(stepped(layer, optimizer, 0.5), torch.full((1, 3), expected))


def test_without_weight_decay_adam_and_adamw_are_one():
    results = []
    for name in ("adam", "adamw"):
        layer = network()
        optimizer = build_optimizer(layer, OptimizerOptions(optimizer=name, learning_rate=RATE))
        results.append(stepped(layer, optimizer, 0.5, steps=3))
    assert torch.equal(*results)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_an_optimizer_continues_from_its_state_to_the_bit(name):
    options = OptimizerOptions(optimizer=name, learning_rate=RATE, weight_decay=DECAY)
    layer = network()
    optimizer = build_optimizer(layer, options)
    half = stepped(layer, optimizer, 0.5, steps=2)
    state = {key: value.clone() for key, value in pack_optimizer(optimizer).items()}
    whole = stepped(layer, optimizer, -0.3, steps=2)
    again = network()
    with torch.no_grad():
        again.weight.copy_(half)
    restored = build_optimizer(again, options)
    unpack_optimizer(restored, state)
    assert torch.equal(stepped(again, restored, -0.3, steps=2), whole)

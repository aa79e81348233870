"""The released ITES code as a rival: as it is, and with its copies between host and device taken out."""

import math
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def without_copies(official: Any, network: nn.Module, device: torch.device) -> nn.Module:
    """Change a released network, and the module it comes from, so that a step never waits for the host.

    The edges of the skeleton stay on the device, and random rotations are drawn there. What is computed is the same.

    Args:
        official: an ``Official`` of its own, because its modules are changed.
        network: its teacher or student.
        device: that it is on.
    """
    for module in (official.networks, official.teachers):
        module.rand_rot = rotations_on(device, official.geometry.so3_exponential_map)
    for layer in network.modules():
        if hasattr(layer, "adj") and hasattr(layer, "m"):
            layer.rows, layer.columns = (index.to(device) for index in layer.m.nonzero(as_tuple=True))
            layer.forward = types.MethodType(_edges_on_device, layer)
    return network


def rotations_on(device: torch.device, exponential: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """Its random rotations with every number drawn on the device."""

    def draw(count, dtype=None, max_rot_angle=math.pi, axes=(1, 1, 1)):
        axis = torch.randn(count, 3, device=device)
        for column, kept in enumerate(axes):
            if not kept:
                axis[:, column] = 0
        angle = max_rot_angle * torch.rand(count, 1, device=device)
        return exponential(nn.functional.normalize(axis, dim=1) * angle)

    return draw


def _edges_on_device(layer: nn.Module, features: Tensor) -> Tensor:
    joints = layer.adj.shape[0]
    logits = torch.full((joints, joints), -9e15, device=features.device)
    logits[layer.rows, layer.columns] = layer.e[0]
    mixing = logits.softmax(dim=1)
    own = torch.diag_embed(mixing.diagonal())
    output = own @ (features @ layer.W[0]) + (mixing - own) @ (features @ layer.W[1])
    return output if layer.bias is None else output + layer.bias

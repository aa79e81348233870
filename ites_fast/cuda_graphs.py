"""A network as CUDA graphs: for each batch one call of the driver, however many kernels and copies it takes."""

from bisect import bisect_left
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ites_fast.chunks import chunks

BATCH_SIZES = tuple(2**n for n in range(11))  # 1 to 1024
WARM_UP = 3  # runs before a capture: what is compiled or set up on the first run must not be captured


class CapturedNetwork:
    """Runs a network on poses in host memory by replaying CUDA graphs, one for each of a few batch sizes.

    A graph holds the copy of the poses to the device, the network, and the copy of the results back. Poses and results
    pass through pinned memory that never moves. A batch takes the graph of the next size up, a batch larger than
    all sizes takes several replays. Weights that change in place, as by ``load_state_dict``, count from the next call
    on; modules that are replaced, and settings such as the precision of products, stay as they were captured. One
    thread at a time.

    Args:
        network: in eval mode and on a CUDA device; takes a batch (B, ...) and returns a tensor (B, ...) or a named
            tuple of such tensors, and never waits for the device.
        shape: of one pose, as (J, 2).
        batch_sizes: poses of the graphs.

    Raises:
        ValueError: the network is not on a CUDA device or is in training mode, or a batch size is not positive.
    """

    def __init__(self, network: nn.Module, shape: Sequence[int], batch_sizes: Sequence[int] = BATCH_SIZES) -> None:
        self.batch_sizes = sorted(set(batch_sizes))
        if not self.batch_sizes or self.batch_sizes[0] < 1:
            raise ValueError(f"batch_sizes must be positive, got {tuple(batch_sizes)}")
        if network.training:
            raise ValueError("a network in training mode cannot be captured: call its eval() first")
        like = next(network.parameters())
        if like.device.type != "cuda":
            raise ValueError(f"CUDA graphs need a network on a CUDA device, got one on {like.device}")
        self.network, self.shape, self.device = network, tuple(shape), like.device
        largest = self.batch_sizes[-1]
        with torch.cuda.device(self.device), torch.no_grad():
            self._input = torch.zeros(largest, *self.shape, dtype=like.dtype, pin_memory=True)
            output = network(self._input.to(self.device))
            self._kind = type(output)
            self._outputs = [
                torch.empty(result.shape, dtype=result.dtype, pin_memory=True) for result in _fields(output)
            ]
            pool = torch.cuda.graph_pool_handle()
            # the largest first: its memory has room for all others
            self._graphs = {size: self._capture(size, pool) for size in reversed(self.batch_sizes)}

    @torch.no_grad()
    def __call__(self, pose_2d: Tensor) -> Tensor | tuple[Tensor, ...]:
        """What the network returns for poses (B, ...), in host memory and without a gradient.

        Args:
            pose_2d: of any floating dtype; it is converted to the network's.

        Raises:
            ValueError: the poses have another shape.
        """
        if pose_2d.shape[1:] != self.shape or not pose_2d.is_floating_point():
            expected = ", ".join(map(str, ("B", *self.shape)))
            raise ValueError(f"poses must be ({expected}), floating point, got {pose_2d.dtype} {tuple(pose_2d.shape)}")
        parts = [self._replay(pose_2d[part]) for part in chunks(len(pose_2d), self.batch_sizes[-1])]
        if not parts:
            parts = [[output[:0].clone() for output in self._outputs]]
        results = parts[0] if len(parts) == 1 else [torch.cat(fields) for fields in zip(*parts, strict=True)]
        return self._kind._make(results) if issubclass(self._kind, tuple) else results[0]

    def _capture(self, size: int, pool: tuple[int, int]) -> torch.cuda.CUDAGraph:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self._run(size)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            self._run(size)
        return graph

    def _run(self, size: int) -> None:
        results = _fields(self.network(self._input[:size].to(self.device, non_blocking=True)))
        for pinned, result in zip(self._outputs, results, strict=True):
            pinned[:size].copy_(result, non_blocking=True)

    def _replay(self, pose_2d: Tensor) -> list[Tensor]:
        """Results of at most as many poses as the largest graph takes. What was in the other rows is lifted again."""
        B = len(pose_2d)
        self._input[:B].copy_(pose_2d)
        with torch.cuda.device(self.device):
            self._graphs[self.batch_sizes[bisect_left(self.batch_sizes, B)]].replay()
            torch.cuda.current_stream().synchronize()
        return [output[:B].clone() for output in self._outputs]


def _fields(output: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return output if isinstance(output, tuple) else (output,)

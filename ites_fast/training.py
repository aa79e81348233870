"""The training loop of a stage, and the state that it stops with and continues from."""

import contextlib
import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ites_fast.checkpoint import load_weights, pack_optimizer, read_tensors, unpack_optimizer, write_tensors
from ites_fast.errors import DivergedError, InputError
from ites_fast.options import OptimizerOptions
from ites_fast.sampling import BalancedSampler, EpochSampler, Sampler
from ites_fast.stages import TrainingStage

SHOWN_INDICES = 8
Record = dict[str, Any]


@dataclass
class Session:
    """What the stages of a run share: where they save, how often, and how far they have come.

    Args:
        state_path: file of the state.
        seed: of batches and virtual views.
        checkpoint_every: steps between two saves.
        log_every: steps between two records.
        stop_after: steps of this invocation, or None for all.
        on_record: called with each record of the losses.
        history: all records so far, of all stages.
    """

    state_path: Path
    seed: int
    checkpoint_every: int
    log_every: int
    stop_after: int | None = None
    on_record: Callable[[Record], None] = lambda record: None
    history: list[Record] = field(default_factory=list)
    stop_requested: int | None = None  # a signal's number
    steps_done: int = 0  # in this invocation
    seconds: float = 0.0  # spent in training steps, all invocations

    @property
    def should_stop(self) -> bool:
        return self.stop_requested is not None or (self.stop_after is not None and self.steps_done >= self.stop_after)


@dataclass
class SavedState:
    """A state file that was read: which stage it is of, the step that comes next, and its tensors."""

    stage: str
    step: int
    history: list[Record]
    seconds: float
    position: int
    device: str
    tensors: dict[str, Tensor]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with ``prefix``, without it."""
        return {name.removeprefix(prefix): value for name, value in self.tensors.items() if name.startswith(prefix)}


def read_state(path: Path) -> SavedState:
    """Read a state file.

    Raises:
        InputError: the file is missing, damaged or not a state.
    """
    tensors, description = read_tensors(path, kind="state")
    history = json.loads(tensors.pop("history").numpy().tobytes())
    names = ("stage", "step", "seconds", "position", "device")
    return SavedState(**{name: description[name] for name in names}, history=history, tensors=tensors)


def train_stage(stage: TrainingStage, session: Session, saved: SavedState | None = None) -> bool:
    """Train a stage to its end, or until the session should stop.

    Every random number comes from two generators, one for the batches and one for the virtual views, and both are
    saved: a run that is stopped and continued takes the same steps, bit for bit on the CPU, as one that is not.

    Args:
        stage: what to train; its network is left in train mode.
        session: shared by the stages of the run.
        saved: a state of this stage to continue from.

    Returns:
        True when the stage is finished, False when it was stopped and its state saved.

    Raises:
        DivergedError: a loss or a weight became NaN or infinite.
        InputError: the state is of another architecture, or was saved on another kind of device.
        OSError: the state could not be written.
    """
    options, device = stage.options, stage.pose_2d.device
    sampler = build_sampler(stage, session.seed)
    generator = torch.Generator(device).manual_seed(session.seed)
    optimizer = build_optimizer(stage.network, options)
    total = total_steps(options, sampler.batches_per_epoch)
    step = 0 if saved is None else restore_state(saved, stage, session, optimizer, generator, sampler)
    stage.network.train()
    check_every = 1 if device.type == "cpu" else session.log_every  # reading a loss makes a GPU wait
    unchecked: list[tuple[int, Tensor, Tensor]] = []
    stopping = session.should_stop
    with progress_bar(stage.name, total, step, options.batch_size) as bar:
        while step < total and not stopping:
            started = time.perf_counter()
            batch = sampler.next_batch()
            rate = learning_rate(options, step, sampler.batches_per_epoch, total)
            for group in optimizer.param_groups:
                group["lr"] = rate
            losses = stage.losses(batch.to(device), step // sampler.batches_per_epoch, generator)
            loss = sum(stage.weights[name] * value for name, value in losses.items())
            optimizer.zero_grad()
            loss.backward()
            if options.gradient_clip is not None:
                nn.utils.clip_grad_norm_(stage.network.parameters(), options.gradient_clip)
            optimizer.step()
            step += 1
            session.steps_done += 1
            unchecked.append((step, batch, loss.detach()))
            stopping = session.should_stop  # asked once a step: a signal that comes later is for the next step
            saving = step % session.checkpoint_every == 0 or step == total or stopping
            if saving or step % check_every == 0:
                require_finite(stage.name, unchecked, session.state_path)
            if step % session.log_every == 0 or step == total:
                values = {name: value.item() for name, value in losses.items()}
                record = {"stage": stage.name, "step": step, "loss": loss.item(), **values, "learning_rate": rate}
                session.history.append(record)
                session.on_record(record)
                bar.set_postfix_str(f"loss {record['loss']:.4f}", refresh=False)
            session.seconds += time.perf_counter() - started
            bar.update(len(batch))
            if saving:
                require_finite_weights(stage, step, batch, session.state_path)
                save_state(stage, session, step, optimizer, generator, sampler)
    return step == total


def restore_state(
    saved: SavedState,
    stage: TrainingStage,
    session: Session,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    sampler: Sampler,
) -> int:
    """Bring a stage to where its state was saved, and return the number of steps that were done.

    Raises:
        InputError: the state is of another architecture, or was saved on another kind of device.
    """
    device = stage.pose_2d.device.type
    if saved.device != device:
        raise InputError(
            f"{session.state_path}: saved on {saved.device}, whose random state cannot continue on {device}; "
            f"continue with --device {saved.device}"
        )
    load_weights(stage.network, saved.part("network."), session.state_path)
    unpack_optimizer(optimizer, saved.part("optimizer."))
    generator.set_state(saved.tensors["random.views"])
    sampler.restore(saved.tensors["random.epoch"], saved.position)
    return saved.step


def save_state(
    stage: TrainingStage,
    session: Session,
    step: int,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    sampler: Sampler,
) -> None:
    """Write all that the stage needs to continue, atomically."""
    epoch_state, position = sampler.state()
    # not in the header, whose size is limited
    history = torch.frombuffer(bytearray(json.dumps(session.history).encode()), dtype=torch.uint8)
    tensors = {"random.views": generator.get_state(), "random.epoch": epoch_state, "history": history}
    tensors |= {f"network.{name}": value for name, value in stage.network.state_dict().items()}
    tensors |= {f"optimizer.{name}": value for name, value in pack_optimizer(optimizer).items()}
    description = {
        "kind": "state",
        "stage": stage.name,
        "step": step,
        "position": position,
        "seconds": session.seconds,
        "device": stage.pose_2d.device.type,
    }
    write_tensors(session.state_path, tensors, description)


def build_optimizer(network: nn.Module, options: OptimizerOptions) -> torch.optim.Optimizer:
    """The optimizer that the options name. Its weight decay is of every parameter, biases and norms among them."""
    if options.optimizer != "sgd":
        adam = torch.optim.AdamW if options.optimizer == "adamw" else torch.optim.Adam
        return adam(network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay, fused=True)
    return torch.optim.SGD(
        network.parameters(),
        lr=options.learning_rate,
        momentum=options.momentum,
        weight_decay=options.weight_decay,
        fused=True,
    )


def build_sampler(stage: TrainingStage, seed: int) -> Sampler:
    """Epochs over all views, or draws by the probabilities that the stage gives its views."""
    samples, batch_size = len(stage.pose_2d), stage.options.batch_size
    probability = getattr(stage, "probability", None)
    if probability is None:
        return EpochSampler(samples, batch_size, seed)
    return BalancedSampler(probability, batch_size, seed)


def total_steps(options: OptimizerOptions, batches_per_epoch: int) -> int:
    """Steps of a stage."""
    return options.epochs * batches_per_epoch if options.steps is None else options.steps


def learning_rate(options: OptimizerOptions, step: int, batches_per_epoch: int, total: int) -> float:
    """The learning rate of a step, a function of the step alone."""
    rate = options.learning_rate
    if step < options.warmup_steps:
        return rate * (step + 1) / options.warmup_steps
    if options.schedule == "cosine":
        return rate * 0.5 * (1 + math.cos(math.pi * step / total))
    return rate * 0.5 ** (step // batches_per_epoch // options.halve_epochs)


def require_finite(stage: str, unchecked: list[tuple[int, Tensor, Tensor]], state_path: Path) -> None:
    """Look at the losses that were not looked at yet, and forget them.

    Raises:
        DivergedError: one of them is NaN or infinite.
    """
    for step, batch, loss in unchecked:
        if not math.isfinite(loss.item()):
            raise diverged(stage, f"the loss became {loss.item()}", step, batch, state_path)
    unchecked.clear()


def require_finite_weights(stage: TrainingStage, step: int, batch: Tensor, state_path: Path) -> None:
    """Look at the weights after a step, before they replace the last good ones on the disk.

    Raises:
        DivergedError: one of them is NaN or infinite; the loss of the next step would be.
    """
    if not all(parameter.isfinite().all() for parameter in stage.network.parameters()):
        raise diverged(stage.name, "the weights became NaN or infinite", step, batch, state_path)


def diverged(stage: str, what: str, step: int, batch: Tensor, state_path: Path) -> DivergedError:
    """The error that names step, batch and the last good checkpoint."""
    shown = ", ".join(str(index) for index in batch[:SHOWN_INDICES].tolist())
    more = ", ..." if len(batch) > SHOWN_INDICES else ""
    last = f"the last good checkpoint is {state_path}" if state_path.exists() else "no checkpoint was saved yet"
    return DivergedError(
        f"{stage}: {what} at step {step}, on the batch of {len(batch)} views [{shown}{more}]; {last}. "
        f"Try a lower --{stage}.learning-rate."
    )


@contextlib.contextmanager
def stop_on_signals(session: Session) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM ask the session to save and stop; a second one acts at once."""

    def request(number: int, _frame: object) -> None:
        if session.stop_requested is not None:
            raise KeyboardInterrupt
        session.stop_requested = number

    previous = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def progress_bar(stage: str, total: int, step: int, batch_size: int) -> tqdm:
    """A bar over poses: rate in poses a second, and the time left."""
    return tqdm(
        desc=stage,
        total=total * batch_size,
        initial=step * batch_size,
        unit=" poses",
        unit_scale=True,
        dynamic_ncols=True,
        mininterval=0.5,
    )

"""One run of training by transport and likelihood: an iterator of epochs that can be stopped, saved and resumed bit for bit."""

import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rnnscope.core.driven import draw_symbols
from rnnscope.core.errors import TrainingError
from rnnscope.core.interfaces import Checkpoint, Record, SequenceModel, TrainingOutcome, TrainingRun
from rnnscope.core.random import Streams, numpy_state, set_numpy_state
from rnnscope.core.system import only_system, rollout
from rnnscope.markov.emulation import EmulationData, start_state
from rnnscope.numerics.transport import sinkhorn_divergence
from rnnscope.training.rates import learning_rate
from rnnscope.training.saving import (
    below,
    copied,
    numbered,
    optimizer_tensors,
    plain_values,
    restore_optimizer,
    restore_values,
)
from rnnscope.training.sequence_losses import one_hot, transport_loss, word_likelihood

if TYPE_CHECKING:
    from rnnscope.training.transport import Stage, TransportSettings

MOST_RESETS = 20
WANDERED = 50.0  # a carried state this many times the median norm starts afresh


class TransportRun(TrainingRun):
    """Training of one network.

    Args:
        settings: fields of `Transport`. model: trained in place; it holds one system, driven by noise. data: the sequences.
        streams: `order` for batches, `noise` for the network's noise and symbols, `validation` for those of the validations.
    """

    def __init__(self, settings: "TransportSettings", model: SequenceModel, data: EmulationData, streams: Streams) -> None:
        self.settings, self.model, self.data = settings, model, data
        self.device = next(model.parameters()).device
        self.system = only_system(model)
        self.order = streams.at("order").numpy()
        self.noise = streams.at("noise").torch(self.device)
        self.looking = streams.at("validation")
        self.total_epochs = sum(stage.epochs for stage in settings.stages)
        self.epoch, self.seconds, self.resets, self.best_epoch = 0, 0.0, 0, 0
        self.best_score, self.last_loss = math.inf, math.inf
        self.stopped = "completed"
        self.best: dict[str, Tensor] | None = None
        self.kept: dict[int, dict[str, Tensor]] = {}
        self.average = copied(self.model) if settings.averaging else None
        self.steps_averaged = 0
        self.carried: Tensor | None = None
        self.optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=settings.betas, weight_decay=settings.weight_decay)
        self.milestones = _milestones(self.total_epochs, settings.keep_epochs)
        self.floor, self.chance = self._floors(streams.at("floor"))

    # references

    def _floors(self, streams: Streams) -> tuple[float, float]:
        """Mean validation divergence of fresh HMM sequences, and of independent symbols with the right frequencies."""
        rng, count = streams.numpy(), self._validation_count()
        target = self._hot(self.data.validation.symbols[:count])
        shape = count, self.data.num_steps
        draws = [self.data.hmm.sample(*shape, rng=rng).observations for _ in range(3)]
        shares = self.data.exact().frequencies
        loose = rng.choice(len(shares), size=shape, p=shares)
        values = [self._divergence(self._hot(s), target) for s in (*draws, loose)]
        return float(np.mean(values[:3])), values[3]

    def _validation_count(self) -> int:
        return min(self.settings.validation_size, len(self.data.validation))

    def _divergence(self, x: Tensor, y: Tensor) -> float:
        return float(sinkhorn_divergence(x, y, blur=self.settings.validation_blur).value)

    def _hot(self, symbols: np.ndarray) -> Tensor:
        return one_hot(torch.as_tensor(symbols.astype(np.int64), device=self.device), self.data.hmm.num_symbols).flatten(1)

    # the loop

    def __iter__(self) -> Iterator[Record]:
        while self.epoch < self.total_epochs and self.stopped == "completed":
            started = time.perf_counter()
            number, stage, done = self._stage()
            self.model.train()
            torch.set_flush_denormal(True)  # a ReLU network's backward pass is full of them, and they take 3 times as long
            try:
                values = self._train_epoch(stage, done)
            finally:
                torch.set_flush_denormal(False)
            self.model.eval()
            self.epoch += 1
            if self.epoch % self.settings.validate_every == 0 or self.epoch == self.total_epochs:
                values |= self._validate()
            else:
                values |= {"validation_loss": math.nan, "validation_ratio": math.nan, "switch_rate": math.nan}
            if self.epoch in self.milestones:
                self.kept[self.epoch] = self._averaged()
            self.seconds += time.perf_counter() - started
            yield Record(self.epoch, {**values, "stage": float(number + 1), "seconds": self.seconds})

    def _stage(self) -> tuple[int, "Stage", int]:
        """The stage of the coming epoch, and how many of its epochs are done."""
        done = self.epoch
        for number, stage in enumerate(self.settings.stages):
            if done < stage.epochs:
                return number, stage, done
            done -= stage.epochs
        raise AssertionError("no epoch is left")

    def _train_epoch(self, stage: "Stage", done: int) -> dict[str, float]:
        symbols = self.data.train.symbols
        order = self.order.permutation(len(symbols))
        starts = range(0, len(order), stage.batch_size)
        total, norms, counted = 0.0, 0.0, 0
        for step, start in enumerate(starts):
            rows = np.sort(order[start : start + stage.batch_size])
            if len(rows) < max(2, min(stage.batch_size, len(symbols)) // 4):
                continue  # a small rest makes a noisy step
            progress = (done + step / len(starts)) / stage.epochs
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(stage.schedule, stage.learning_rate, stage.final_rate, stage.warmup, progress, 0)
            batch = torch.as_tensor(symbols[rows].astype(np.int64), device=self.device)
            loss, norm = self._update(self._loss(stage, batch))
            if math.isfinite(loss):
                total, norms, counted = total + loss * len(rows), norms + norm * len(rows), counted + len(rows)
        self.last_loss = total / counted if counted else math.nan
        return {
            "train_loss": self.last_loss,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "gradient_norm": norms / counted if counted else math.nan,
        }

    def _loss(self, stage: "Stage", batch: Tensor) -> Tensor:
        length = stage.num_steps or self.data.num_steps
        logits, final = self._roll_out(len(batch), length, stage.carry)
        if stage.objective == "likelihood":
            loss = word_likelihood(logits, batch, stage.word, stage.words, self.order)
        else:
            first = int(self.order.integers(self.data.num_steps - length + 1))
            target = one_hot(batch[:, first : first + length], self.data.hmm.num_symbols)
            loss = transport_loss(
                logits,
                target,
                self.noise,
                blur=stage.blur,
                temperature=stage.temperature,
                soft=stage.output == "soft",
                independent=stage.debias == "independent",
                accuracy=self.settings.accuracy,
            )
        if stage.state_penalty:
            loss = loss + stage.state_penalty * final.square().mean(1).log1p().mean()
        return loss

    def _roll_out(self, count: int, length: int, carry: float) -> tuple[Tensor, Tensor]:
        """Logits (B, T, K) and final states (B, S) of fresh paths; a share goes on where the last ones ended."""
        state = start_state(self.system, count, self.data.initial_state, self.noise)
        taken = int(count * carry)
        if taken and self.carried is not None:
            taken = min(taken, len(self.carried))
            state = torch.cat([self.carried[:taken], state[taken:]])
        noise = torch.randn((count, length, self.system.input_size), generator=self.noise, device=self.device)
        run = rollout(self.system, noise, state, keep_states=False)
        if taken:
            self.carried = self._carry_on(run.final_state.detach(), taken)
        return run.outputs, run.final_state

    def _carry_on(self, final: Tensor, count: int) -> Tensor:
        rows = torch.randperm(len(final), generator=self.noise, device=self.device)[:count]
        kept = final[rows]
        norm = kept.norm(dim=1, keepdim=True)
        astray = ~torch.isfinite(norm) | (norm > WANDERED * norm.nanmedian())
        return torch.where(astray, self.system.initial_state(count), kept)

    def _update(self, loss: Tensor) -> tuple[float, float]:
        """One optimiser step; a step that is not finite is undone by going back to the average or the best weights."""
        s = self.settings
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), s.clip_norm if s.clip_norm else math.inf)
        value, size = float(loss.detach()), float(norm)
        if not (math.isfinite(value) and math.isfinite(size)):
            self._reset(value, size)
            return math.nan, math.nan
        self.optimizer.step()
        if self.average is not None:
            self.steps_averaged += 1
            decay = min(s.averaging, self.steps_averaged / (self.steps_averaged + 10))
            for name, tensor in self.model.state_dict().items():
                self.average[name].mul_(decay).add_(tensor, alpha=1 - decay)
        return value, size

    def _reset(self, loss: float, norm: float) -> None:
        self.resets += 1
        back = self.average if self.average is not None else self.best
        if back is None or self.resets > MOST_RESETS:
            rate = self.optimizer.param_groups[0]["lr"]
            raise TrainingError(
                f"training left the finite numbers in epoch {self.epoch + 1}: loss {loss:.3g}, gradient norm {norm:.3g}"
                + (f"; it was set back {self.resets - 1} times before" if self.resets > 1 else ""),
                "finite states and gradients",
                f"lower the learning rate (trainer.stages.N.learning_rate, now {rate:.2g}), begin with shorter sequences "
                "(trainer.stages.N.num_steps), or set trainer.stages.N.state_penalty=0.01",
            )
        self.model.load_state_dict(back)
        self.optimizer.state.clear()
        self.carried = None

    # looking and choosing

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """The divergence of validation sequences and freshly drawn ones, with the same noise at every epoch."""
        count = self._validation_count()
        rng = self.looking.torch(self.device)
        held = copied(self.model) if self.average is not None else None
        if self.average is not None:
            self.model.load_state_dict(self.average)
        state = start_state(self.system, count, self.data.initial_state, rng)
        noise = torch.randn((count, self.data.num_steps, self.system.input_size), generator=rng, device=self.device)
        run = rollout(self.system, noise, state, keep_states=False)
        largest = float(run.final_state.norm(dim=1).max())
        if not torch.isfinite(run.outputs).all():
            found = {"validation_loss": math.nan, "validation_ratio": math.nan, "switch_rate": math.nan}
        else:
            symbols = draw_symbols(run.outputs, rng)
            hot = one_hot(symbols, self.data.hmm.num_symbols).flatten(1)
            loss = self._divergence(hot, self._hot(self.data.validation.symbols[:count]))
            rate = float((symbols[:, 1:] != symbols[:, :-1]).double().mean())
            found = {"validation_loss": loss, "validation_ratio": loss / self.floor, "switch_rate": rate}
            score = self.floor + abs(loss - self.floor)
            if score < self.best_score and self.epoch >= (1 - self.settings.select) * self.total_epochs:
                self.best_score, self.best_epoch, self.best = score, self.epoch, copied(self.model)
        if held is not None:
            self.model.load_state_dict(held)
        return {**found, "largest_state": largest}

    def _averaged(self) -> dict[str, Tensor]:
        source = self.average if self.average is not None else self.model.state_dict()
        return {name: tensor.detach().cpu().clone() for name, tensor in source.items()}

    def finish(self) -> TrainingOutcome:
        if self.best is None:
            raise TrainingError(
                "no epoch ended with finite states, so there is nothing to keep",
                "a network whose states stay finite over the task's length",
                "lower the learning rate, or set trainer.stages.N.state_penalty=0.01",
            )
        self.model.load_state_dict(self.best)
        self.model.eval()
        reason = self.stopped
        halfway = (self.chance + self.floor) / 2
        if self.best_score > halfway:
            reason = "training stayed on the plateau of independent symbols: right frequencies, no memory"
        elif self.resets:
            reason = f"training diverged and was set back {self.resets} times"
        return TrainingOutcome(reason, self.best_epoch, self.best_score, "validation loss", self.seconds, self.kept)

    # saving and resuming

    def checkpoint(self) -> Checkpoint:
        tensors = {f"model.{name}": t.cpu() for name, t in copied(self.model).items()}
        for prefix, weights in (("best", self.best), ("average", self.average)):
            if weights is not None:
                tensors |= {f"{prefix}.{name}": t.cpu().clone() for name, t in weights.items()}
        for epoch, weights in self.kept.items():
            tensors |= {f"kept.{epoch}.{name}": t for name, t in weights.items()}
        tensors |= optimizer_tensors(self.optimizer)
        tensors["noise"] = self.noise.get_state()
        if self.carried is not None:
            tensors["carried"] = self.carried.cpu().clone()
        return Checkpoint(tensors, {**plain_values(self, _CARRIED), "order": numpy_state(self.order)})

    def restore(self, checkpoint: Checkpoint) -> None:
        tensors, values = checkpoint.tensors, checkpoint.values
        self.model.load_state_dict(below(tensors, "model."))
        self.best = {k: v.to(self.device, copy=True) for k, v in below(tensors, "best.").items()} or None
        average = below(tensors, "average.")
        self.average = {k: v.to(self.device, copy=True) for k, v in average.items()} if average else None
        self.kept = numbered(tensors, "kept.")
        restore_optimizer(self.optimizer, tensors)
        self.noise.set_state(tensors["noise"])
        self.carried = tensors["carried"].to(self.device, copy=True) if "carried" in tensors else None
        restore_values(self, _CARRIED, values)
        set_numpy_state(self.order, values["order"])


_CARRIED = (
    "epoch",
    "seconds",
    "resets",
    "best_epoch",
    "best_score",
    "last_loss",
    "stopped",
    "steps_averaged",
)


def _milestones(total: int, count: int) -> set[int]:
    """Epochs at which weights are kept: denser at the start, where most happens, the first and the last among them."""
    if not count:
        return set()
    spread = 1 + (total - 1) * np.linspace(0, 1, count) ** 2
    return {round(e) for e in spread.tolist()}

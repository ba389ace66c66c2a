"""What learners make of a few examples of each test task, and what trivial and perfect answers make of them."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import ModelResult, Scores
from rnnscope.core.system import DynamicalSystem, SequenceModel, only_system
from rnnscope.core.task_family import AdaptsByGradient, Episodes, FamilyData
from rnnscope.numerics.batched_mlp import Layers, adaptation

CONSTANT, SHOT_MEAN, RANDOM, ORACLE = "constant", "shot_mean", "random_start", "oracle"
LABELS = {
    CONSTANT: "mean of the training targets",
    SHOT_MEAN: "mean of the examples",
    RANDOM: "random start, fine-tuned",
    ORACLE: "fit of the known form",
}
NORMAL = 1.96  # sd of a normal distribution on either side that hold 95 %
NUM_EXAMPLES, CURVE_POINTS = 4, 101

# examples (points, targets), (N, K, 1) each, queries (N, Q, 1), and after how many gradient steps, ascending
# -> answers (S, N, Q) after each, or (1, N, Q) of one that takes no gradient steps
Answerer = Callable[[Tensor, Tensor, Tensor, tuple[int, ...]], Float[np.ndarray, "S N Q"]]


def learner(model: SequenceModel) -> Answerer:
    """How a trained model answers: through gradient steps, or from the state that the examples left.

    Raises:
        ConfigError: it can do neither.
    """
    if isinstance(model, AdaptsByGradient):
        layers = [(weight.detach(), bias.detach()) for weight, bias in model.dense_layers()]
        return by_gradient(layers, model.inner_rates())
    if not model.systems():
        raise ConfigError(
            "the evaluation few_shot needs a model that can adapt, and this one has neither a state nor gradient steps of its own",
            "a model of kind mlp, elman, gru or lstm",
            "set models.NAME.kind",
        )
    system = only_system(model)
    if system.input_size != 2:
        raise ConfigError(f"a network that reads {system.input_size} inputs", "x and the previous y", "build it for this task")
    return in_context(system)


def by_gradient(layers: Layers, rates: list[float]) -> Answerer:
    """Gradient steps on the examples; without examples no step can be taken."""

    def answer(points: Tensor, targets: Tensor, queries: Tensor, steps: tuple[int, ...]) -> np.ndarray:
        wanted = steps if points.shape[1] else (0,)
        found = torch.stack(adaptation(layers, points, targets, rates, wanted, queries))[..., 0].numpy(force=True)
        return np.repeat(found.astype(np.float64), len(steps) // len(wanted), 0)

    return answer


def in_context(system: DynamicalSystem) -> Answerer:
    """The examples are read as (x_t, y_{t-1}); every query is then the next x, each from the same state."""

    @torch.no_grad()
    def answer(points: Tensor, targets: Tensor, queries: Tensor, steps: tuple[int, ...]) -> np.ndarray:
        state, before = system.initial_state(len(points)), torch.zeros_like(queries[:, 0])
        for number in range(points.shape[1]):
            state = system.step(state, torch.cat([points[:, number], before], -1))
            before = targets[:, number]
        count = queries.shape[1]
        asked = torch.cat([queries, before[:, None].expand(-1, count, -1)], -1).flatten(0, 1)
        reached = system.step(state.repeat_interleave(count, 0), asked)
        return system.readout(reached).reshape(1, len(points), count).numpy(force=True).astype(np.float64)

    return answer


def constant(data: FamilyData) -> Answerer:
    """The mean of all targets of the training part: the best constant without examples."""
    level = float(data.train.targets.mean())
    return lambda points, targets, queries, steps: np.full((1, *queries.shape[:2]), level)


def shot_mean(data: FamilyData) -> Answerer:
    """The mean of the task's examples; that of the training part where there are none."""
    level = float(data.train.targets.mean())

    def answer(points: Tensor, targets: Tensor, queries: Tensor, steps: tuple[int, ...]) -> np.ndarray:
        means = targets.numpy(force=True).astype(np.float64).mean(1) if points.shape[1] else np.full((len(points), 1), level)
        return np.repeat(means, queries.shape[1], 1)[None]

    return answer


def oracle(data: FamilyData) -> Answerer:
    """The family's form fitted to the examples; the mean of the training part where there are none."""
    level = float(data.train.targets.mean())

    def answer(points: Tensor, targets: Tensor, queries: Tensor, steps: tuple[int, ...]) -> np.ndarray:
        if not points.shape[1]:
            return np.full((1, *queries.shape[:2]), level)
        x, y, asked = (t[..., 0].numpy(force=True).astype(np.float64) for t in (points, targets, queries))
        return data.test_family.fitted(x, y, asked)[None]

    return answer


def random_start(
    data: FamilyData, hidden_sizes: tuple[int, ...], rates: tuple[float, ...], num_steps: int, rng: torch.Generator
) -> Answerer:
    """A perceptron that was trained on nothing, fine-tuned on the examples with the best of the rates on the validation tasks."""
    sizes = (1, *hidden_sizes, 1)
    layers: Layers = []
    for width, height in itertools.pairwise(sizes):
        bound = 1 / math.sqrt(width)
        weight, bias = torch.rand(height, width, generator=rng), torch.rand(height, generator=rng)
        layers.append(((2 * weight - 1) * bound, (2 * bias - 1) * bound))
    tried = [by_gradient(layers, [rate] * len(layers)) for rate in rates]
    return min(tried, key=lambda one: validation_error(one, data, num_steps))


def task_errors(answer: Answerer, part: Episodes, shots: int, most: int, steps: tuple[int, ...]) -> Float[np.ndarray, "S N"]:
    """Mean squared error of each task's queries from its first `shots` points, after each of `steps`; queries begin at point `most`."""
    queries, wanted = part.part(most)
    with np.errstate(over="ignore", invalid="ignore"):
        found = ((answer(*part.part(0, shots), queries, steps) - wanted[..., 0].numpy(force=True)) ** 2).mean(-1)
    return np.nan_to_num(found.astype(np.float64), nan=np.inf, posinf=np.inf)


def validation_error(answer: Answerer, data: FamilyData, num_steps: int) -> float:
    """The last step's mean error on the validation tasks, over the numbers of shots: what a learner is chosen by."""
    most = data.shots[-1]
    return float(np.mean([task_errors(answer, data.validation, k, most, (num_steps,))[-1].mean() for k in data.shots]))


def half_width(errors: Float[np.ndarray, " N"]) -> float:
    """Half of the 95 % interval of the mean over tasks."""
    if len(errors) < 2 or not np.isfinite(errors).all():
        return math.inf
    return NORMAL * float(errors.std(ddof=1)) / math.sqrt(len(errors))


def result_of(answer: Answerer, data: FamilyData, steps: tuple[int, ...]) -> ModelResult:
    """Scores by number of shots and steps, and the arrays behind the figures."""
    most = data.shots[-1]
    scores: dict[str, Scores] = {"validation": {"error": validation_error(answer, data, steps[-1])}}
    arrays: dict[str, np.ndarray] = {}
    last, spread = [], []
    for shots in range(most + 1):
        wanted = tuple(range(steps[-1] + 1)) if shots in data.shots else steps[-1:]
        errors = task_errors(answer, data.test, shots, most, wanted)
        last.append(errors[-1].mean())
        spread.append(half_width(errors[-1]))
        if shots in data.shots:
            arrays[f"K{shots}_errors"] = errors
            scores[f"K{shots}"] = _scores(errors, steps)
    arrays |= {"by_shots": np.array(last), "by_shots_half": np.array(spread)}
    arrays["curves"] = example_curves(answer, data, steps)
    return ModelResult(scores, arrays)


def _scores(errors: Float[np.ndarray, "S N"], steps: tuple[int, ...]) -> Scores:
    """Mean and half-width after each number of steps; share of tasks that ended worse than they began."""
    found: Scores = {}
    for step in steps:
        row = errors[min(step, len(errors) - 1)]
        found |= {f"step{step}": float(row.mean()), f"step{step}_half": half_width(row)}
    if len(errors) > 1:
        found["worse"] = float((errors[max(steps)] > errors[0]).mean())
    return found


def curve_points(data: FamilyData) -> Float[np.ndarray, " Q"]:
    """Where example answers are drawn: evenly over the points of the test tasks."""
    return np.linspace(float(data.test.points.min()), float(data.test.points.max()), CURVE_POINTS)


def example_curves(answer: Answerer, data: FamilyData, steps: tuple[int, ...]) -> Float[np.ndarray, "E S Q"]:
    """Answers along x for the first training task and the first test tasks, after each number of steps."""
    queries = torch.from_numpy(curve_points(data).astype(np.float32))[None, :, None]
    found = []
    for part, count in ((data.train, 1), (data.test, NUM_EXAMPLES)):
        points, targets = part.part(0, data.shots[-1])
        count = min(count, len(points))
        answers = answer(points[:count], targets[:count], queries.expand(count, -1, -1), steps)
        found.append(np.broadcast_to(answers, (len(steps), *answers.shape[1:])).swapaxes(0, 1))
    return np.concatenate(found)

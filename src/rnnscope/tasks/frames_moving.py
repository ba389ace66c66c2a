"""Moving shapes whose class is only in the order of the frames.

The class of a moving shape must need the motion: neither one frame nor all frames without their order may tell it. So every
sequence begins with a stock of frames that is drawn without looking at the class, and the class says in which order the stock
is shown. A shape is seen at n positions x_j = x_0 + j g, j = 0 … n - 1, of a torus on which n g = 0, and class k shows

    position j(t) = m_k t mod n,    t = 0 … T - 1,    with m_k and n coprime,

so each class shows the same frames, and x_0 is uniform on the torus, so each single frame has the same distribution too.
"""

from abc import abstractmethod
from dataclasses import dataclass
from math import atan2, degrees, gcd
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field

from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import TaskSpec
from rnnscope.core.labelled import LabelledData, LabelledSet
from rnnscope.core.random import Streams
from rnnscope.core.spec import NonNegativeFloat, Positive
from rnnscope.tasks.frames import frame_set, pixel_names

Shape = Literal["disc", "square", "cross"]
SHAPES: tuple[Shape, ...] = ("disc", "square", "cross")
RULE = "displacement of the brightness"


@dataclass(frozen=True)
class Plan:
    """How a shape moves in each class.

    Attributes:
        grounds: (L, 2), the possible g (right, up), as shares of the image; each sequence draws one.
        num_positions: n, with n g = 0 on the torus for every g.
        multipliers: (K, M), the possible m of each class; each sequence draws one of its class's.
        class_names, rule: in words.
    """

    grounds: Float[np.ndarray, "L 2"]
    num_positions: int
    multipliers: Int[np.ndarray, "K M"]
    class_names: tuple[str, ...]
    rule: str

    def moves(self) -> Float[np.ndarray, "K V 2"]:
        """Displacements per step that belong to each class, in [-1/2, 1/2) of the image."""
        found = self.multipliers[:, :, None, None] * self.grounds
        return ((found + 0.5) % 1.0 - 0.5).reshape(len(self.class_names), -1, 2)


class MovingShapes(TaskSpec):
    """Common fields of the tasks whose class is how a shape moves.

    Fields:
        image_size: height and width, >= 4. num_channels: >= 1; the shape has one brightness per channel, U(0.5, 1), on black.
        num_rounds: how often each position is seen, >= 1; T = num_rounds times the number of positions.
        shape: disc, square, cross or mixed (drawn for each sequence). radius: of the shape, as a share of the image, in (0, 0.5).
        noise_sd: of Gaussian noise on every pixel, which is then kept within 0 … 1.
        num_train, num_validation, num_test: sequences, independent draws, classes equally often.
    """

    image_size: Annotated[int, Field(ge=4)] = 16
    num_channels: Positive = 1
    num_rounds: Positive = 1
    shape: Literal["disc", "square", "cross", "mixed"] = "mixed"
    radius: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.18
    noise_sd: NonNegativeFloat = 0.1
    num_train: Positive = 1000
    num_validation: Positive = 200
    num_test: Positive = 600

    @abstractmethod
    def plan(self) -> Plan:
        """What the classes are."""

    def model_post_init(self, context: Any) -> None:
        if self.radius * self.image_size < 1:
            raise ConfigError(
                f"task.radius={self.radius:g} of an image of {self.image_size} pixels is less than a pixel",
                f"at least {1 / self.image_size:.2g}",
                "give task.radius such a value, or a larger task.image_size",
            )
        smallest = min(self.num_train, self.num_validation, self.num_test)
        if smallest < 2:
            raise ConfigError("a part of one sequence", "num_train, num_validation and num_test of 2 or more", "enlarge it")

    def prepare(self, streams: Streams) -> LabelledData:
        frame, plan = (self.num_channels, self.image_size, self.image_size), self.plan()
        at = streams.at("data")
        return LabelledData(
            train=self._part(plan, self.num_train, at.at("train")),
            validation=self._part(plan, self.num_validation, at.at("validation")),
            tests={"test": self._part(plan, self.num_test, at.at("test"))},
            class_names=plan.class_names,
            input_names=pixel_names(frame),
            frame=frame,
            exact=RULE,  # knows how shapes are drawn and move; right wherever noise does not blind it
            rule=plan.rule,
            notes=("every class shows the same frames: only their order tells the class",),
        )

    def _part(self, plan: Plan, count: int, streams: Streams) -> LabelledSet:
        stock = self.stock(plan, count, streams.at("stock").numpy())
        rng = streams.at("labels").numpy()
        labels = rng.permutation(np.arange(count) % len(plan.class_names))
        multipliers = plan.multipliers[labels, rng.integers(plan.multipliers.shape[1], size=count)]
        frames = in_order(stock, show_order(multipliers, plan.num_positions, self.num_rounds))
        return frame_set(frames, labels, rules={RULE: displacement_rule(frames, plan.moves())})

    def stock(self, plan: Plan, count: int, rng: np.random.Generator) -> Float[np.ndarray, "N T C H W"]:
        """The frames of each sequence, position after position, round after round; drawn without a class."""
        start = rng.random((count, 1, 2))
        ground = plan.grounds[rng.integers(len(plan.grounds), size=count)][:, None]
        places = start + np.arange(plan.num_positions)[:, None] * ground
        kinds = rng.integers(len(SHAPES), size=count) if self.shape == "mixed" else np.full(count, SHAPES.index(self.shape))
        drawn = np.empty((count, plan.num_positions, self.image_size, self.image_size), np.float32)
        for number, shape in enumerate(SHAPES):
            drawn[kinds == number] = draw_shape(places[kinds == number], self.image_size, shape, self.radius)
        brightness = rng.uniform(0.5, 1.0, (count, 1, self.num_channels, 1, 1)).astype(np.float32)
        frames = np.tile(drawn[:, :, None] * brightness, (1, self.num_rounds, 1, 1, 1))
        if self.noise_sd:
            frames += self.noise_sd * rng.standard_normal(frames.shape, np.float32)
        return frames.clip(0.0, 1.0)


class FramesMotion(MovingShapes):
    """A shape moves over a torus; the class is the direction.

    Four directions, each turned by 90 degrees, over the same positions: with `step` (a, b), coprime, n = a² + b², the
    displacements are g = (a, b)/n of the image and its three rotations, since with i = -b/a mod n

        i (a, b) = (-b, a) mod n,

    so all four are multiples of g by i^k, and k = 0 … 3 visits the same n positions in four orders. (A shape that moves along
    a row or a column would give its axis away by the places it visits.) Time reversal turns class k into class k + 2.

    Fields (besides those of `MovingShapes`):
        num_directions: 4, or 2 (there and back). step: (a, b), coprime whole numbers, a > b >= 1; T = num_rounds (a² + b²).
    """

    num_directions: Literal[2, 4] = 4
    step: tuple[Positive, Positive] = (3, 1)

    def model_post_init(self, context: Any) -> None:
        super().model_post_init(context)
        a, b = self.step
        if a <= b or gcd(a, b) != 1:
            raise ConfigError(
                f"task.step=({a}, {b})",
                "coprime whole numbers, the first the larger: (2, 1), (3, 1), (3, 2)",
                "set task.step=[3, 1]",
            )

    def plan(self) -> Plan:
        a, b = self.step
        count = a * a + b * b
        turn = -b * pow(a, -1, count) % count  # the i of the docstring, in the numbers modulo n
        quarters = range(4) if self.num_directions == 4 else (0, 2)
        angle = degrees(atan2(b, a))
        return Plan(
            grounds=np.array([[a, b]]) / count,
            num_positions=count,
            multipliers=np.array([[pow(turn, k, count)] for k in quarters]),
            class_names=tuple(("right", "up", "left", "down")[k] for k in quarters),
            rule=f"the direction in which the shape moves, {np.hypot(a, b) / count:.2g} of the image a frame; each direction is"
            f" turned by {angle:.0f} degrees, so that all of them visit the same places",
        )


class FramesSpeed(MovingShapes):
    """A shape moves along a row or a column of a torus; the class is how fast.

    Class k goes m_k of n positions a frame, either way. With m_k and n coprime every class sees every position of the ring
    once a round, so how far the places lie apart says nothing. Time reversal keeps the class.

    Fields (besides those of `MovingShapes`):
        num_positions: n >= 5; T = num_rounds n. speeds: m_k, two or more different ones, coprime with n and below n/2.
    """

    num_positions: Annotated[int, Field(ge=5)] = 11
    speeds: Annotated[tuple[Positive, ...], Field(min_length=2)] = (1, 2, 4)

    def model_post_init(self, context: Any) -> None:
        super().model_post_init(context)
        n, speeds = self.num_positions, self.speeds
        if len(set(speeds)) < len(speeds) or any(gcd(s, n) != 1 or 2 * s >= n for s in speeds):
            raise ConfigError(
                f"task.speeds={list(speeds)} on {n} positions",
                f"different numbers below {n / 2:g} that share no factor with {n}",
                "set task.num_positions=11 and task.speeds=[1, 2, 4]",
            )

    def plan(self) -> Plan:
        n = self.num_positions
        return Plan(
            grounds=np.eye(2) / n,
            num_positions=n,
            multipliers=np.array([[s, n - s] for s in self.speeds]),
            class_names=tuple(f"{s}/{n} a frame" for s in self.speeds),
            rule="how far the shape moves a frame, as a share of the image; along a row or a column, either way",
        )


def show_order(multipliers: Int[np.ndarray, " N"], num_positions: int, num_rounds: int) -> Int[np.ndarray, "N T"]:
    """Which frame of its stock a sequence shows at each step: in round r the positions m t mod n.

    Args:
        multipliers: m of each sequence, coprime with n. num_positions: n. num_rounds: T = n num_rounds.

    Example:
        >>> import numpy as np
        >>> show_order(np.array([1, 3]), 5, 1).tolist()
        [[0, 1, 2, 3, 4], [0, 3, 1, 4, 2]]
    """
    steps = np.arange(num_positions * num_rounds)
    return multipliers[:, None] * steps % num_positions + steps // num_positions * num_positions


def in_order(stock: Float[np.ndarray, "N T C H W"], order: Int[np.ndarray, "N T"]) -> Float[np.ndarray, "N T C H W"]:
    """The frames of each sequence in its order."""
    return stock[np.arange(len(stock))[:, None], order]


def draw_shape(
    places: Float[np.ndarray, "N P 2"], image_size: int, shape: Shape, radius: float
) -> Float[np.ndarray, "N P H W"]:
    """A shape centred at places (right, up) of the unit torus: how much of each pixel it covers, by its distance to the edge.

    Args:
        places: centres; whole numbers are added at will. image_size: H = W in pixels. shape: disc, square or cross.
        radius: half the width, as a share of the image.

    Returns:
        (N, P, H, W) float32 in 0 … 1. A shift of the centre by a pixel shifts the image by a pixel, round the edges.

    Example:
        >>> import numpy as np
        >>> draw_shape(np.array([[[0.5, 0.5]]]), 4, "square", 0.25)[0, 0].sum()
        np.float32(4.0)
    """
    centres = (np.arange(image_size) + 0.5) / image_size
    across = np.abs((centres - places[:, :, :1] + 0.5) % 1.0 - 0.5)[:, :, None, :]
    along = np.abs((1.0 - centres - places[:, :, 1:] + 0.5) % 1.0 - 0.5)[:, :, :, None]
    if shape == "disc":
        distance = np.hypot(across, along)
    elif shape == "square":
        distance = np.maximum(across, along)
    else:  # two bars, each a third as wide as it is long
        distance = np.minimum(np.maximum(across, 3 * along), np.maximum(3 * across, along))
    return ((radius - distance) * image_size + 0.5).clip(0.0, 1.0).astype(np.float32)


def displacement_rule(frames: Float[np.ndarray, "N T C H W"], moves: Float[np.ndarray, "K V 2"]) -> Int[np.ndarray, " N"]:
    """The class whose displacement fits best how the brightness moves from frame to frame: what one would compute by hand.

    The place of the brightness on the torus is the phase of its first Fourier coefficient along each axis,
    x = arg Σ p e^{2πi u} / 2π. A displacement d is scored by the mean over steps of Σ cos 2π(Δx - d), over both axes.

    Args:
        frames: sequences. moves: displacements (right, up) of each class, as shares of the image.
    """
    size = frames.shape[-1]
    wave = np.exp(2j * np.pi * (np.arange(size) + 0.5) / size)
    bright = frames.sum(2)
    right, down = np.angle(bright.sum(2) @ wave), np.angle(bright.sum(3) @ wave)
    steps = np.diff(np.stack([right, -down], -1), axis=1)
    fits = np.stack([np.cos(steps[:, :, None] - 2 * np.pi * own).sum(-1).mean(1).max(-1) for own in moves], -1)
    return np.asarray(fits.argmax(-1))

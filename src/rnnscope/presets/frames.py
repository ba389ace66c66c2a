"""Image sequences: random pixels, on which nothing can be learned, and shapes of which only the motion tells the class."""

from rnnscope.analysis.saliency import Saliency
from rnnscope.analysis.state_space import StateSpace
from rnnscope.core.interfaces import AnalysisSpec, ModelSpec, TaskSpec
from rnnscope.evaluation.classification import Classification
from rnnscope.experiment import Experiment
from rnnscope.models.cnn_rnn import CNNRNN
from rnnscope.tasks.frames import FramesRandom
from rnnscope.tasks.frames_given import Frames
from rnnscope.tasks.frames_moving import FramesMotion, FramesSpeed
from rnnscope.training.gradient import BPTT


def _frames(
    task: TaskSpec, models: dict[str, ModelSpec], trainer: BPTT, analyses: dict[str, AnalysisSpec] | None = None
) -> Experiment:
    return Experiment(
        task=task,
        models=models,
        trainer=trainer,
        # a linear view of the last frame alone; more frames side by side are more pixels than sequences
        evaluation=Classification(latest=(1,)),
        analyses={"saliency": Saliency(), **(analyses or {})},
        # convolutions of small frames gain little from a second thread, and lose much where another program runs beside them
        threads=1,
        # the frames can be drawn again from the seed, and weigh more than all the rest of the folder
        keep_data=False,
    )


def _random(task: FramesRandom, epochs: int) -> Experiment:
    trainer = BPTT(
        epochs=epochs,
        batch_size=16,
        # no weights are better than any others on new sequences: show those that know the training part by heart
        restore_best=False,
    )
    return _frames(task, {"cnn-lstm": CNNRNN()}, trainer)


def frames_random() -> Experiment:
    """Random pixels, random labels: what is learned by heart is no use elsewhere, and the p-value says so."""
    return _random(FramesRandom(), 16)


def frames_random_quick() -> Experiment:
    """`frames-random` with frames of 12 x 12 pixels."""
    return _random(FramesRandom(image_size=12, num_steps=6), 24)


def _with_controls(network: CNNRNN) -> dict[str, ModelSpec]:
    """A network, and the same without the order of the frames and with one of them: where these are as good, motion says nothing."""
    return {
        "cnn-lstm": network,
        "shuffled-frames": network.but(sees="shuffled"),
        "single-frame": network.but(sees="one"),
    }


def _moving(task: TaskSpec, epochs: int, hidden_size: int = 64) -> Experiment:
    network = CNNRNN(conv_channels=(8, 8), hidden_size=hidden_size)  # one shape in grey needs few filters
    trainer = BPTT(epochs=epochs, learning_rate=2e-3, schedule="hold")
    # the paths of the states from frame to frame
    return _frames(task, _with_controls(network), trainer, {"state_space": StateSpace()})


def frames() -> Experiment:
    """One's own file; the controls tell whether its classes need the order of the frames."""
    # nothing is known of the data: stop when the validation part says so
    trainer = BPTT(epochs=60, patience=12)
    return _frames(Frames(), _with_controls(CNNRNN(dropout=0.2)), trainer, {"state_space": StateSpace()})


def frames_motion() -> Experiment:
    """Four directions over the same places."""
    return _moving(FramesMotion(), 8)


def frames_motion_quick() -> Experiment:
    """`frames-motion` with frames of 8 x 8 pixels and 32 units."""
    return _moving(FramesMotion(image_size=8, radius=0.2), 8, 32)


def frames_speed() -> Experiment:
    """Three speeds over the same places."""
    return _moving(FramesSpeed(), 10)


def frames_speed_quick() -> Experiment:
    """`frames-speed` with frames of 8 x 8 pixels and 32 units."""
    return _moving(FramesSpeed(image_size=8, radius=0.2), 12, 32)

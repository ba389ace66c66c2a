"""Hidden Markov models to be emulated by noise-driven networks (scope H); families and protocol of Torre et al. (2025)."""

from typing import Any

from rnnscope.analysis.reverse_engineering import ReverseEngineering
from rnnscope.evaluation.emulation import Emulation
from rnnscope.experiment import Experiment
from rnnscope.models.recurrent import Elman
from rnnscope.tasks.hidden_markov import HiddenMarkov
from rnnscope.training.transport import Stage, Transport


def _study(task: HiddenMarkov, *, clip_norm: float = 0.9, epochs: int = 500, **fields: Any) -> Experiment:
    """The study's protocol: 150 bias-free ReLU units, 100 noise inputs, transport of batches of 4096."""
    return Experiment(
        task=task,
        models={"relu": Elman(nonlinearity="relu", hidden_size=150, num_layers=1, bias=False, readout_bias=False)},
        trainer=Transport(
            stages=(Stage(objective="transport", epochs=epochs, batch_size=4096, learning_rate=1e-3),),
            clip_norm=clip_norm,
        ),
        evaluation=Emulation(),
        analyses={"reverse_engineering": ReverseEngineering()},
        **fields,
    )


def _taught(full: Experiment, *, likelihood: int, transport: int, num_steps: int = 60, words: int = 2) -> Experiment:
    """The same experiment with training that needs minutes instead of hours.

    The likelihood of a few symbols at random times shows the network its memory from the first step on, where transport of whole
    sequences waits on the plateau of independent symbols. Transport, debiased by an independent batch, then corrects what the
    likelihood's Monte Carlo mean leaves: too many switches where states last long. docs/results/hmm.md says what was tried.

    Args:
        likelihood, transport: epochs of the two stages. num_steps: length of the first one's roll-outs. words: see `Stage`.
    """
    task = full.task
    assert isinstance(task, HiddenMarkov)
    first = Stage(
        objective="likelihood",
        epochs=likelihood,
        batch_size=512,
        num_steps=min(num_steps, task.num_steps),
        words=words,
        carry=0.5,
        learning_rate=3e-3,
        schedule="hold",
        final_rate=0.03,
        warmup=0.03,
        state_penalty=0.01,
    )
    second = Stage(
        objective="transport",
        debias="independent",
        epochs=transport,
        batch_size=1024,
        learning_rate=2e-3,
        schedule="hold",
        final_rate=0.05,
    )
    # a recurrence that neither fades nor grows at first, and noise that reaches every unit with sd 1
    start = {"recurrent_init": "orthogonal", "recurrent_scale": 0.95, "input_scale": (3 * 150 / task.noise_size) ** 0.5}
    return full.but(
        models={name: model.but(**start) for name, model in full.models.items()},
        trainer=Transport(stages=(first, second), averaging=0.99),
    )


def _quick(full: Experiment, *, likelihood: int = 20, transport: int = 15, num_steps: int = 40, words: int = 2) -> Experiment:
    """`_taught` with a network of 64 units and 10 noise inputs, in a minute or two."""
    taught = _taught(full, likelihood=likelihood, transport=transport, num_steps=num_steps, words=words)
    task, network = taught.task, next(iter(taught.models.values()))
    assert isinstance(task, HiddenMarkov)
    return taught.but(
        task=task.but(noise_size=10),
        models={"relu": network.but(hidden_size=64, input_scale=4.4)},
        trainers={},
        analyses={"reverse_engineering": ReverseEngineering(num_paths=600)},
    )


def hmm() -> Experiment:
    """A sticky chain of three states; give your own matrices with --set task.transition_matrix=… and task.emission_probs=…"""
    return _quick(_study(HiddenMarkov(num_steps=40)), likelihood=35, transport=20)


def chain_2() -> Experiment:
    """Two states that last 20 steps; the study's longest sequences."""
    return _study(HiddenMarkov(num_states=2, transition="end_to_end", emission="linear", num_steps=100))


def chain_3() -> Experiment:
    """Three states in a row."""
    return _study(HiddenMarkov(num_states=3, transition="end_to_end", emission="linear", num_steps=30))


def chain_4() -> Experiment:
    """Four states in a row."""
    return _study(HiddenMarkov(num_states=4, transition="end_to_end", emission="linear", num_steps=30))


def chain_5() -> Experiment:
    """Five states in a row: the longest chain that an end-to-end probability of .05 allows."""
    return _study(HiddenMarkov(num_states=5, transition="end_to_end", emission="linear", num_steps=40))


def fully_3() -> Experiment:
    """Three states, each with a symbol of its own; gradients clipped at .3 for 1000 epochs, as in the study."""
    task = HiddenMarkov(num_states=3, transition="fully_connected", emission="triangular", num_steps=30)
    return _study(task, clip_norm=0.3, epochs=1000)


def cyclic_4() -> Experiment:
    """Four states in a ring, whose symbols repeat: the state cannot be read off the symbol."""
    task = HiddenMarkov(num_states=4, transition="cyclic", emission="paired", num_steps=40)
    return _study(task, clip_norm=0.3)


def _sticky(num_states: int) -> Experiment:
    """The study gives no figures for these: they are trained in minutes, at its network's size."""
    task = HiddenMarkov(num_states=num_states, num_symbols=3, transition="stay", emission="gaussian", num_steps=100)
    return _taught(_study(task), likelihood=35, transport=20)


def small() -> Experiment:
    """Two sticky states with Gaussian emissions."""
    return _sticky(2)


def medium() -> Experiment:
    """Three sticky states with Gaussian emissions."""
    return _sticky(3)


def large() -> Experiment:
    """Four sticky states with Gaussian emissions."""
    return _sticky(4)


def very_large() -> Experiment:
    """Five sticky states with Gaussian emissions."""
    return _sticky(5)


def default() -> Experiment:
    """Three sticky states, random initial states, and three learning rates, each from a fresh network."""
    task = HiddenMarkov(num_states=3, num_symbols=3, num_steps=150, initial_state="normal")
    base = _taught(_study(task), likelihood=35, transport=20)
    rates = {"rate-5e-3": 5e-3, "rate-1e-3": 1e-3, "rate-1e-4": 1e-4}
    network, trainer = base.models["relu"], base.trainer
    assert isinstance(trainer, Transport)
    return base.but(
        models=dict.fromkeys(rates, network),
        trainers={
            n: trainer.but(stages=tuple(stage.but(learning_rate=rate) for stage in trainer.stages)) for n, rate in rates.items()
        },
    )


def chain_2_quick() -> Experiment:
    """`hmm-chain-2` in two minutes."""
    return _quick(chain_2(), likelihood=35, num_steps=60)


def chain_3_quick() -> Experiment:
    """`hmm-chain-3` in two minutes."""
    return _quick(chain_3())


def chain_4_quick() -> Experiment:
    """`hmm-chain-4` in two minutes."""
    return _quick(chain_4())


def chain_5_quick() -> Experiment:
    """`hmm-chain-5` in two minutes."""
    return _quick(chain_5())


def fully_3_quick() -> Experiment:
    """`hmm-fully-3` in two minutes."""
    return _quick(fully_3(), likelihood=60, transport=60, words=3)


def cyclic_4_quick() -> Experiment:
    """`hmm-cyclic-4` in two minutes."""
    return _quick(cyclic_4(), likelihood=35, transport=20)


def small_quick() -> Experiment:
    """`hmm-small` in two minutes."""
    return _quick(small(), likelihood=35, num_steps=60)


def medium_quick() -> Experiment:
    """`hmm-medium` in two minutes."""
    return _quick(medium(), likelihood=35, num_steps=60)


def large_quick() -> Experiment:
    """`hmm-large` in two minutes."""
    return _quick(large(), likelihood=35, num_steps=60)


def very_large_quick() -> Experiment:
    """`hmm-very-large` in two minutes."""
    return _quick(very_large(), likelihood=35, num_steps=60)


def default_quick() -> Experiment:
    """`hmm-default` with one learning rate, in two minutes."""
    return _quick(default(), likelihood=35, num_steps=60)

"""What emulating an HMM costs: sampling, one epoch of transport training, generation, comparison, reverse-engineering.

Sizes are those of the published study (Torre et al. 2025); its own code took, on one core of another machine with the same
dependencies: 15.9 s for 30000x100 HMM sequences, 18 (malloc tuned) to 38 s for an epoch of training and validation at T = 30, 6.4 s for
4000x100 network sequences, 77 s for matching 4000 sequences, 54 s for 3e6 reverse-engineered steps.
"""

import resource

import numpy as np
import torch
from measure import arguments, clock, environment

import rnnscope as rs
from rnnscope.evaluation.emulation_scores import Comparison, compare_sets
from rnnscope.markov.emulation import EmulationData


def network(data: EmulationData, hidden_size: int, streams: rs.Streams) -> rs.SequenceModel:
    """The study's network, fresh."""
    spec = rs.Elman(nonlinearity="relu", hidden_size=hidden_size, num_layers=1, bias=False, readout_bias=False)
    return spec.build(data.signature, streams.at("init").torch()).eval()


def main() -> None:
    given = arguments(__doc__)
    quick = given.quick
    streams = rs.Streams(0)
    print(environment("numba", "scipy"))
    rows: list[tuple[str, str, float, float]] = []

    def measure(name: str, size: str, action, warmup: bool = True) -> None:
        if warmup:
            action()
        wall, cpu = min((clock(action) for _ in range(given.rounds or 3)), key=lambda t: t[1])
        rows.append((name, size, wall, cpu))
        print(f"{name:38s} {size:32s} wall {wall:8.3f} s   CPU {cpu:8.3f} s", flush=True)

    task = rs.HiddenMarkov(
        num_states=3, transition="end_to_end", emission="linear", num_steps=30, num_sequences=3000 if quick else 30_000
    )
    hmm, data = task.hmm(), task.prepare(streams)
    count = 3000 if quick else 30_000
    measure("HMM sequences", f"{count} x 100", lambda: hmm.sample(count, 100, rng=0))

    batch = 512 if quick else 4096
    trainer = rs.Transport(stages=(rs.Stage(objective="transport", epochs=10_000, batch_size=batch),))
    run = iter(trainer.start(network(data, 150, streams), data, streams.at("training")))
    size = f"{len(data.train)} sequences, B = {batch}, T = 30"
    measure("epoch of training and validation", size, lambda: next(run))

    model = network(data, 150, streams)
    system = model.systems()["network"]
    count = 400 if quick else 4000
    draw = lambda: rs.generate(system, count, 100, torch.Generator().manual_seed(0))  # noqa: E731
    measure("network sequences", f"{count} x 100, H = 150, d = 100", draw)

    one, other = (hmm.sample(count, 30, rng=s).observations.astype(np.int16) for s in (0, 1))
    how = Comparison()
    measure(
        "comparison with exact matching",
        f"N = {count}, T = 30",
        lambda: compare_sets(one, other, data, how, np.random.default_rng(0)),
    )
    measure("exact matching alone", f"N = {count}, T = 30", lambda: rs.match_sequences(one, other))
    measure("sinkhorn matching alone", f"N = {count}, T = 30", lambda: rs.match_sequences(one, other, "sinkhorn"))

    spec = rs.ReverseEngineering(num_paths=60 if quick else 3000)
    measure(
        "reverse-engineering",
        f"{spec.num_paths * spec.num_steps:.0e} steps, H = 150, d = 100",
        lambda: spec.look(system, streams.at("analysis")),
        warmup=False,
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of this process {peak:.2f} GiB")


if __name__ == "__main__":
    main()

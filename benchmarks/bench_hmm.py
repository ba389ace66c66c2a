"""Hidden Markov models: likelihood, smoothing, Viterbi, ten EM iterations, sampling, beside hmmlearn, dynamax, pomegranate.

Sizes: N = 30000 sequences of T = 100 steps with 3, 5, 20 states and 3 symbols; one sequence of 10^6 steps; Gaussian emissions
in one dimension with 3 and 20 states. Every contestant gets its data in its own form beforehand, and one call to compile.
rnnscope runs in float64 and in float32; hmmlearn in float64 with its faster "scaling" passes, the others in float32.
A ratio is the fastest peer's time over ours, from CPU seconds of the same rounds.

    python benchmarks/bench_hmm.py [--quick] [--rounds N] [--threads N] [--states 3 5 20] [--jobs likelihood …] [--peers …]
"""

import argparse
import logging
import time
from collections.abc import Callable

import numpy as np
import torch
from measure import Times, environment, interleave, table

from rnnscope.numerics import hmm, hmm_gaussian
from rnnscope.numerics.baum_welch import CategoricalParameters, PseudoCounts, fit_categorical

Job = Callable[[], object]
JOBS = ("likelihood", "smoothing", "viterbi", "em", "sampling")
PEERS = ("hmmlearn", "dynamax", "pomegranate")
SYMBOLS, ITERATIONS = 3, 10


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes: does the script run?")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--states", type=int, nargs="+", default=[3, 5, 20])
    parser.add_argument("--jobs", nargs="+", choices=[*JOBS, "gaussian"], default=[*JOBS, "gaussian"])
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--lengths", nargs="+", choices=["many", "one"], default=["many", "one"])
    return parser.parse_args()


class Data:
    """A random model and what it emitted, in the form of each contestant."""

    def __init__(self, states: int, sequences: int, steps: int) -> None:
        rng = np.random.default_rng(states)
        self.states, self.sequences, self.steps = states, sequences, steps
        self.initial, self.matrix = rng.dirichlet(np.ones(states)), rng.dirichlet(np.ones(states), states)
        self.emission = rng.dirichlet(np.ones(SYMBOLS), states)
        self.symbols, _ = hmm.sample(self.initial, self.matrix, self.emission, sequences, steps, rng)
        self.lengths = np.full(sequences, steps)
        self.flat = self.symbols.reshape(-1, 1).astype(np.int64)
        self.means, self.variances = rng.normal(size=(states, 1)) * 2, rng.uniform(0.5, 2, (states, 1))
        self.x = rng.normal(size=(sequences, steps, 1)) * 2
        self.x32 = self.x.astype(np.float32)

    @property
    def model(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.initial, self.matrix, self.emission


def own(data: Data, precision: hmm.Precision) -> dict[str, Job]:
    args = data.symbols, data.lengths, *data.model
    start, none = CategoricalParameters(*data.model), PseudoCounts(0, 0, 0)
    gaussian = data.lengths, data.initial, data.matrix, data.means, data.variances
    x = data.x if precision == "float64" else data.x32
    return {
        "likelihood": lambda: hmm.log_likelihood(*args, precision=precision),
        "smoothing": lambda: hmm.smooth_states(*args, precision=precision),
        "viterbi": lambda: hmm.most_likely_states(*args, precision=precision),
        "em": lambda: fit_categorical(
            data.symbols, data.lengths, data.states, SYMBOLS, rng=np.random.default_rng(0), start=start,
            max_iterations=ITERATIONS, tolerance=-np.inf, pseudo_counts=none, precision=precision,
        ),
        "sampling": lambda: hmm.sample(*data.model, data.sequences, data.steps, np.random.default_rng(0)),
        "gaussian": lambda: hmm_gaussian.gaussian_log_likelihood(x, *gaussian, precision=precision),
    }  # fmt: skip


def with_hmmlearn(data: Data) -> dict[str, Job]:
    from hmmlearn.hmm import CategoricalHMM, GaussianHMM

    logging.getLogger("hmmlearn").setLevel(logging.CRITICAL)

    def categorical(**more: object) -> CategoricalHMM:
        model = CategoricalHMM(data.states, implementation="scaling", **more)
        model.startprob_, model.transmat_, model.emissionprob_ = data.model
        model.n_features = SYMBOLS
        return model

    gaussian = GaussianHMM(data.states, implementation="scaling")
    gaussian.startprob_, gaussian.transmat_ = data.initial, data.matrix
    gaussian.means_, gaussian.covars_ = data.means, data.variances
    model, flat = categorical(), data.flat

    def sampling() -> None:
        for n in range(data.sequences):
            model.sample(data.steps, random_state=n)

    return {
        "likelihood": lambda: model.score(flat, data.lengths),
        "smoothing": lambda: model.predict_proba(flat, data.lengths),
        "viterbi": lambda: model.decode(flat, data.lengths),
        "em": lambda: categorical(n_iter=ITERATIONS, tol=-np.inf, init_params="").fit(flat, data.lengths),
        "sampling": sampling,
        "gaussian": lambda: gaussian.score(data.x.reshape(-1, 1), data.lengths),
    }


def with_dynamax(data: Data) -> dict[str, Job]:
    import jax
    from dynamax.hidden_markov_model import CategoricalHMM, DiagonalGaussianHMM

    key = jax.random.PRNGKey(0)
    model = CategoricalHMM(data.states, 1, SYMBOLS)
    params, props = model.initialize(
        key, initial_probs=data.initial, transition_matrix=data.matrix, emission_probs=data.emission[:, None]
    )
    gaussian = DiagonalGaussianHMM(data.states, 1)
    known, _ = gaussian.initialize(
        key,
        initial_probs=data.initial,
        transition_matrix=data.matrix,
        emission_means=data.means,
        emission_scale_diags=np.sqrt(data.variances),
    )
    # as device arrays: a compiled function cannot index NumPy's by what it traces
    params, known = (jax.tree.map(jax.numpy.asarray, tree) for tree in (params, known))
    symbols = jax.numpy.asarray(data.symbols.astype(np.int32)[:, :, None])
    x = jax.numpy.asarray(data.x32)

    def compiled(function: Callable, *arrays: object) -> Job:
        fast = jax.jit(jax.vmap(function))
        return lambda: jax.block_until_ready(fast(*arrays))

    return {
        "likelihood": compiled(lambda e: model.marginal_log_prob(params, e), symbols),
        "smoothing": compiled(lambda e: model.smoother(params, e).smoothed_probs, symbols),
        "viterbi": compiled(lambda e: model.most_likely_states(params, e), symbols),
        "em": lambda: jax.block_until_ready(model.fit_em(params, props, symbols, num_iters=ITERATIONS, verbose=False)[1]),
        "sampling": compiled(lambda k: model.sample(params, k, data.steps), jax.random.split(key, data.sequences)),
        "gaussian": compiled(lambda e: gaussian.marginal_log_prob(known, e), x),
    }


def with_pomegranate(data: Data) -> dict[str, Job]:
    from pomegranate.distributions import Categorical, Normal
    from pomegranate.hmm import DenseHMM

    ends = np.full(data.states, 1e-6)

    def model(**more: object) -> DenseHMM:
        emissions = [Categorical(row[None].astype(np.float32)) for row in data.emission]
        edges, starts = data.matrix.astype(np.float32), data.initial.astype(np.float32)
        return DenseHMM(emissions, edges=edges, starts=starts, ends=ends.astype(np.float32), **more)

    plain, symbols = model(), torch.from_numpy(data.symbols.astype(np.int64))[:, :, None]
    normal = [
        Normal(m.astype(np.float32), v.astype(np.float32), covariance_type="diag")
        for m, v in zip(data.means, data.variances, strict=True)
    ]
    gaussian = DenseHMM(normal, edges=data.matrix.astype(np.float32), starts=data.initial.astype(np.float32))
    x = torch.from_numpy(data.x32)
    return {
        "likelihood": lambda: plain.log_probability(symbols),
        "smoothing": lambda: plain.predict_proba(symbols),
        "viterbi": lambda: plain.viterbi(symbols),
        "em": lambda: model(max_iter=ITERATIONS, tol=-1e30).fit(symbols),
        "gaussian": lambda: gaussian.log_probability(x),
    }


BUILD = {"hmmlearn": with_hmmlearn, "dynamax": with_dynamax, "pomegranate": with_pomegranate}


def compare(job: str, data: Data, peers: list[str], rounds: int) -> list[str] | None:
    """One row: CPU seconds of each, and ratios; None where no peer does the job."""
    contestants = {"float64": own(data, "float64")[job], "float32": own(data, "float32")[job]}
    for peer in peers:
        # minutes a call, and far from the fastest: not worth waiting for
        slow = peer == "pomegranate" and (data.sequences == 1 or job == "em")
        try:
            action = None if slow else BUILD[peer](data).get(job)
            if action is not None:
                begin = time.perf_counter()
                action()
                contestants[peer] = action
                rounds = 1 if time.perf_counter() - begin > 15 else rounds
        except Exception as error:
            print(f"{peer} skipped for {job}: {type(error).__name__}: {str(error)[:100]}")
    times = interleave(contestants, rounds)
    return None if len(times) < 3 else row(job, data, times)


def row(job: str, data: Data, times: dict[str, Times]) -> list[str]:
    def middle(name: str) -> float:
        return float(np.median(times[name].cpu))

    others = [name for name in times if name in PEERS]
    best = min(others, key=middle)
    cells = [f"{job}, S={data.states}, {data.sequences} x {data.steps}"]
    cells += [f"{middle(name):.4f}" if name in times else "-" for name in ("float64", "float32", *PEERS)]
    ratios = [float(np.median(times[best].cpu / times[name].cpu)) for name in ("float64", "float32")]
    return [*cells, best, *(f"{value:.1f}x" for value in ratios)]


def main() -> None:
    chosen = options()
    torch.set_num_threads(chosen.threads)
    print(environment(*PEERS, "jax", "jaxlib", "numba"), flush=True)
    peers = []
    for peer in chosen.peers:
        try:
            __import__(peer)
            peers.append(peer)
        except ImportError:
            print(f"{peer}: not installed, skipped")
    many, one = ((200, 20), (1, 5000)) if chosen.quick else ((30_000, 100), (1, 10**6))
    shapes = {"many": many, "one": one}
    rows = []
    for length in chosen.lengths:
        for states in chosen.states:
            data = Data(states, *shapes[length])
            for job in chosen.jobs:
                # one sequence: the passes only; Gaussians: many sequences
                if (length == "one" and job in ("em", "gaussian")) or (job == "gaussian" and states == 5):
                    continue
                found = compare(job, data, peers, 1 if chosen.quick else chosen.rounds)
                if found:
                    rows.append(found)
                    print("  ".join(found), flush=True)
    if rows:
        table(["CPU seconds", "float64", "float32", *PEERS, "best peer", "ratio f64", "ratio f32"], rows)


if __name__ == "__main__":
    main()

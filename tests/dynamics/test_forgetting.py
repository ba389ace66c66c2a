import math

import pytest
import torch

import rnnscope as rs
from known_systems import DOUBLE, linear_map, logistic, rotation
from rnnscope.analysis.figures_memory import forgetting_figure
from rnnscope.dynamics.forgetting import forgetting
from rnnscope.plotting import render


def reservoir(radius, seed, size=50, input_scale=0.5, bias=0.0):
    """h' = tanh(W h + V x + b) with a Gaussian W of a given spectral radius."""
    rng = torch.Generator().manual_seed(seed)
    matrix = torch.randn(size, size, generator=rng, dtype=DOUBLE)
    matrix *= radius / torch.linalg.eigvals(matrix).abs().max()
    drive = input_scale * torch.randn(size, 1, generator=rng, dtype=DOUBLE)
    shift = bias * torch.randn(size, generator=rng, dtype=DOUBLE)
    return rs.System(lambda h, x: torch.tanh(h @ matrix.T + x @ drive.T + shift), size, 1, dtype=DOUBLE), matrix, drive


def bistable():
    """h' = tanh(3 h + x / 10): two attractors that weak input cannot join, one under strong input."""
    return rs.System(lambda h, x: torch.tanh(3 * h + 0.1 * x), 1, 1, dtype=DOUBLE)


def test_a_contracting_linear_system_forgets_at_the_rate_of_its_largest_modulus():
    matrix = torch.tensor([[0.9, 0.5], [0.0, 0.4]], dtype=DOUBLE)
    found = forgetting(linear_map(matrix, torch.ones(2, 1, dtype=DOUBLE)), num_steps=400)
    assert found.echo_state is True
    assert found.outcome == "forgets"
    assert found.exponent == pytest.approx(math.log(0.9), abs=1e-6)
    assert bool(found.converged.all())


def test_times_of_forgetting_of_a_scalar_decay_are_counted_exactly():
    found = forgetting(linear_map(torch.tensor([[0.5]], dtype=DOUBLE)), num_steps=100)
    assert found.decay_time == 2  # 1/4 < 1/e < 1/2
    assert found.forgetting_time == math.ceil(6 * math.log(10) / math.log(2))
    expected = found.distances[:, :1] * 0.5 ** torch.arange(30, dtype=DOUBLE)
    torch.testing.assert_close(found.distances[:, :30], expected)


def test_median_and_worst_distance_are_over_pairs():
    starts = torch.tensor([[[1.0], [0.0]], [[3.0], [0.0]], [[9.0], [0.0]]], dtype=DOUBLE)
    found = forgetting(linear_map(torch.tensor([[0.5]], dtype=DOUBLE)), starts=starts, num_steps=40)
    assert found.median_distance[:2].tolist() == [3.0, 1.5]
    assert found.worst_distance[:2].tolist() == [9.0, 4.5]


def test_an_unstable_system_does_not_forget_though_it_leaves_every_bound():
    found = forgetting(linear_map(torch.tensor([[1.5]], dtype=DOUBLE)), num_steps=1000)
    assert found.echo_state is False
    assert found.num_steps < 1000
    assert "left every bound" in found.reason
    assert found.exponent == pytest.approx(math.log(1.5), abs=1e-6)


@pytest.mark.parametrize(
    "system",
    [rotation(0.3), linear_map(torch.eye(3, dtype=DOUBLE)), linear_map(torch.diag(torch.tensor([1.0, 0.5], dtype=DOUBLE)))],
)
def test_the_edge_is_undecided(system):
    found = forgetting(system, num_steps=200, max_steps=800)
    assert found.echo_state is None
    assert "at the edge" in found.reason
    assert found.num_steps == 800


def test_slow_contraction_is_undecided_rather_than_wrong_and_a_longer_run_decides():
    slow = linear_map(torch.tensor([[0.99]], dtype=DOUBLE))
    found = forgetting(slow, num_steps=500, max_steps=500)
    assert found.echo_state is None
    assert "raise num_steps" in found.reason
    longer = forgetting(slow, num_steps=500)
    assert longer.echo_state is True
    assert longer.num_steps == 2000
    assert forgetting(slow, inputs=torch.zeros(500, 0)).num_steps == 500


def test_several_attractors_are_told_from_forgetting_and_strong_noise_joins_them():
    weak = forgetting(bistable(), num_steps=400, input_sd=1.0)
    assert weak.outcome == "several attractors"
    assert weak.echo_state is False
    assert 0 < int(weak.converged.sum()) < len(weak.converged)
    assert weak.exponent < 0
    assert forgetting(bistable(), num_steps=400, input_sd=100.0).outcome == "forgets"


def test_a_chaotic_map_does_not_forget_and_the_exponent_is_ln_2():
    starts = torch.rand(16, 2, 1, generator=torch.Generator().manual_seed(1), dtype=DOUBLE)
    found = forgetting(logistic(), starts=starts, num_steps=4000)
    assert found.outcome == "does not forget"
    assert abs(found.exponent - math.log(2)) < max(4 * found.standard_error, 0.005)


def test_a_reservoir_forgets_below_the_edge_and_not_far_above_it():
    assert forgetting(reservoir(0.8, 0)[0], num_steps=500).echo_state is True
    assert forgetting(reservoir(4.0, 0, input_scale=0.1)[0], num_steps=500).echo_state is False


def test_a_state_that_is_overwritten_has_the_least_exponent_and_forgets_at_once():
    found = forgetting(rs.System(lambda h, x: torch.cat([x, x], 1), 2, 1), num_steps=50)
    assert found.echo_state is True
    assert found.forgetting_time == 1
    assert found.exponent == pytest.approx(math.log(1e-10))


def test_a_step_that_computes_in_float32_has_the_same_exponent():
    found = forgetting(rs.System(lambda h, x: torch.tanh(0.5 * h + x).float(), 1, 1), num_steps=1000)
    exact = forgetting(rs.System(lambda h, x: torch.tanh(0.5 * h + x), 1, 1), num_steps=1000)
    assert found.exponent == pytest.approx(exact.exponent, abs=0.01)
    assert found.echo_state is True


def test_one_shared_sequence_and_one_per_pair_are_both_read_as_given():
    system = linear_map(torch.tensor([[0.5]], dtype=DOUBLE), torch.ones(1, 1, dtype=DOUBLE))
    shared, own = torch.randn(60, 1), torch.randn(5, 60, 1)
    assert forgetting(system, inputs=shared, num_pairs=3).distances.shape == (3, 61)
    assert forgetting(system, inputs=own).distances.shape == (5, 61)
    assert "5 given" in forgetting(system, inputs=own).input_law


@pytest.mark.parametrize("spec", [rs.Elman(hidden_size=6), rs.GRU(hidden_size=6), rs.LSTM(hidden_size=6, skip=2)])
def test_networks_of_every_kind_are_read_and_left_alone(spec, rng):
    network = spec.build(rs.core.interfaces.Signature(2, 1), rng)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    found = forgetting(network, num_steps=300)
    assert found.echo_state is True
    assert "forgets" in found.summary
    assert all(torch.equal(before[k], v) and v.dtype == torch.float32 for k, v in network.state_dict().items())


def test_the_same_generator_gives_the_same_result():
    runs = [forgetting(bistable(), num_steps=60, rng=torch.Generator().manual_seed(s)).distances for s in (1, 1, 2)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 1.5])
def test_its_figure_is_drawn_for_every_verdict(factor):
    figure = forgetting_figure(forgetting(linear_map(torch.tensor([[factor]], dtype=DOUBLE)), num_steps=60))
    assert b"distance of the replicas" in render(figure.canvas, "svg")
    assert "replicas" in figure.caption.lower()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"num_pairs": 0}, rs.ConfigError, "0 pairs"),
        ({"num_steps": 10}, rs.ConfigError, "10 steps"),
        ({"max_steps": 100}, rs.ConfigError, "max_steps >= num_steps"),
        ({"num_steps": 0}, rs.ConfigError, "num_steps 0"),
        ({"input_sd": -1.0}, rs.ConfigError, "input_sd"),
        ({"inputs": torch.zeros(100, 3)}, rs.ShapeError, "time, 1"),
        ({"inputs": torch.zeros(100)}, rs.ShapeError, "sequence, time, feature"),
        ({"starts": torch.zeros(4, 2, 3)}, rs.ShapeError, "two start states"),
        ({"starts": torch.zeros(4, 2, 1)}, rs.DataError, "starts are equal"),
        ({"starts": torch.full((4, 2, 1), math.nan)}, rs.DataError, "not a number"),
    ],
)
def test_bad_input_is_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        forgetting(bistable(), **arguments)


def careful_exponents(matrices, drives, num_steps, burn_in=1000):
    """Largest conditional exponents of many tanh reservoirs at once, by the exact tangent map: (mean, standard error), (K,)."""
    rng = torch.Generator().manual_seed(99)
    count, size = matrices.shape[:2]
    state = torch.zeros(count, size, 1, dtype=DOUBLE)
    tangent = torch.randn(count, size, 1, generator=rng, dtype=DOUBLE)
    growth = []
    for step in range(burn_in + num_steps):
        noise = torch.randn(count, 1, 1, generator=rng, dtype=DOUBLE)
        both = matrices @ torch.cat([state, tangent], 2)
        state = torch.tanh(both[..., :1] + drives * noise)
        tangent = (1 - state**2) * both[..., 1:]
        norm = tangent.norm(dim=1, keepdim=True)
        tangent = tangent / norm
        if step >= burn_in:
            growth.append(norm.flatten().log())
    blocks = torch.stack(growth).reshape(50, -1, count).mean(1)
    return blocks.mean(0), blocks.std(0) / math.sqrt(50)


def draw_reservoirs(count):
    """Tanh reservoirs of 50 units with spectral radii .6 to 2.5 and input weights of sd .05 to .8."""
    rng = torch.Generator().manual_seed(5)
    radii = (0.6 + 1.9 * torch.rand(count, generator=rng)).tolist()
    scales = (0.05 + 0.75 * torch.rand(count, generator=rng)).tolist()
    return [reservoir(r, seed, input_scale=s) for seed, (r, s) in enumerate(zip(radii, scales, strict=True))]


@pytest.mark.slow
def test_the_verdict_agrees_with_the_sign_of_a_long_exponent_on_200_reservoirs():
    made = draw_reservoirs(200)
    exponents, errors = careful_exponents(*(torch.stack([m[i] for m in made]) for i in (1, 2)), 10_000)
    found = [forgetting(system, num_pairs=8) for system, _, _ in made]
    positive = (exponents > 0).tolist()
    assert 50 <= sum(positive) <= 150
    # Shrinking perturbations are necessary for the echo-state property, not sufficient: several attractors have them too.
    shrink = {"forgets": True, "several attractors": True, "does not forget": False, "undecided": None}
    agree = sum(shrink[f.outcome] is (not p) for f, p in zip(found, positive, strict=True))
    strict = sum(f.echo_state is (not p) for f, p in zip(found, positive, strict=True))
    counts = {o: sum(f.outcome == o for f in found) for o in shrink}
    print(f"{agree} of 200 agree ({strict} by echo_state alone), {sum(positive)} positive exponents, {counts}")
    for f, e, s in zip(found, exponents.tolist(), errors.tolist(), strict=True):
        if f.echo_state is not (e <= 0):
            print(f"  {e:.4f} ± {s:.4f}, {f.num_steps} steps: {f.summary}")
    assert agree >= 190
    gaps = torch.tensor([f.exponent for f in found], dtype=DOUBLE) - exponents
    spread = torch.tensor([f.standard_error for f in found], dtype=DOUBLE).square() + errors.square()
    assert float((gaps / spread.sqrt()).abs().median()) < 1.5


@pytest.mark.slow
def test_pairs_called_apart_for_good_are_still_apart_after_four_times_as_long():
    several = [s for s, _, _ in draw_reservoirs(100) if forgetting(s, num_pairs=8).outcome == "several attractors"]
    longer = [forgetting(s, num_pairs=8, num_steps=64_000, max_steps=64_000) for s in several]
    print([f.summary for f in longer])
    assert len(several) >= 3
    assert all(f.outcome != "forgets" for f in longer)

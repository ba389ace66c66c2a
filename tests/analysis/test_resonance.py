"""Resonance: flat where it cannot exist, found where it is built in."""

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

import rnnscope as rs
from known_systems import DOUBLE
from rnnscope.analysis.resonance import resonance
from rnnscope.core.errors import ConfigError

REST, START, BREAK = 6, 1.0, 4.0


def clock() -> rs.System:
    """A change of output needs |x| > 1 to start, then takes six steps; |x| > 4 at any time makes it at once.

    State (sign, count). With p = P(|x| > 1) and q = P(|x| > 4) small the dwell is a geometric waiting time plus six steps: random at low
    noise, six steps sharp when p is near 1, random again when q is not small."""

    def step(state: Tensor, input: Tensor) -> Tensor:
        sign, count = state.unbind(1)
        size = input[:, 0].abs()
        count = torch.where((count > 0) | (size > START), count + 1, count)
        over = (count >= REST) | (size > BREAK)
        return torch.stack([torch.where(over, -sign, sign), torch.where(over, torch.zeros_like(count), count)], 1)

    return rs.System(
        step,
        2,
        1,
        readout=lambda h: torch.stack([h[..., 0], -h[..., 0]], -1),
        output_size=2,
        initial=torch.tensor([1.0, 0.0]),
        dtype=DOUBLE,
    )


def test_dwells_of_a_clock_are_most_regular_at_intermediate_noise(rng: torch.Generator) -> None:
    found = resonance(clock(), rng, noise_scales=(0.5, 1.0, 1.6, 2.5, 6.0, 20.0), num_steps=800, num_paths=40)
    assert found.peak in (1.0, 1.6)
    assert not found.flat
    assert "most regular" in found.reason
    p = 2 * float(stats.norm.sf(START / 0.5))
    wanted = REST - 1 + 1 / p
    assert float(found.dwell_mean[0]) == pytest.approx(wanted, rel=0.05)
    assert float(found.dwell_cv[0]) == pytest.approx(math.sqrt(1 - p) / p / wanted, abs=5 * float(found.dwell_cv_error[0]))


def test_a_network_without_biases_is_flat_and_says_why(early, rng: torch.Generator) -> None:
    found = resonance(early("two_19.4"), rng, noise_scales=(0.25, 1.0, 4.0), num_steps=150, num_paths=40)
    assert found.flat
    assert found.peak is None
    assert len(set(found.switch_rate.tolist())) == 1
    assert len(set(found.dwell_cv.tolist())) == 1
    assert found.reason.startswith("flat")


def test_a_system_that_never_switches_has_no_dwells(rng: torch.Generator) -> None:
    still = rs.System(lambda h, x: h, 2, 1, initial=torch.tensor([1.0, 0.0]))
    found = resonance(still, rng, noise_scales=(0.5, 1.0, 2.0), num_steps=20, num_paths=3)
    assert found.num_dwells.tolist() == [0, 0, 0]
    assert bool(found.dwell_cv.isnan().all())
    assert found.peak is None


def test_noise_scales_must_increase(rng: torch.Generator) -> None:
    with pytest.raises(ConfigError, match="increasing"):
        resonance(clock(), rng, noise_scales=(1.0, 0.5, 2.0))

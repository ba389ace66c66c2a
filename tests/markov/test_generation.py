"""Sequences from a noise-driven network."""

import numpy as np
import pytest
import torch

import rnnscope as rs
from rnnscope.core.driven import draw_symbols
from rnnscope.core.interfaces import Signature
from rnnscope.core.system import DynamicalSystem
from rnnscope.markov import generation
from rnnscope.markov.generation import Generated


@pytest.fixture(scope="module")
def system() -> DynamicalSystem:
    spec = rs.Elman(nonlinearity="relu", hidden_size=6, num_layers=1, bias=False, readout_bias=False)
    model = spec.build(Signature(4, 3), torch.Generator().manual_seed(0)).eval()
    return next(iter(model.systems().values()))


def made(system: DynamicalSystem, seed: int = 1, count: int = 10, steps: int = 7, **options: object) -> Generated:
    return rs.generate(system, count, steps, torch.Generator().manual_seed(seed), **options)


def constant(*logits: float) -> rs.System:
    """A network whose logits never change."""
    return rs.System(
        lambda h, x: h, 1, 2, readout=lambda h: torch.tensor(logits).expand(*h.shape[:-1], len(logits)), output_size=len(logits)
    )


def test_equal_seeds_give_equal_sequences(system: DynamicalSystem) -> None:
    first, again, other = made(system), made(system), made(system, seed=2)
    np.testing.assert_array_equal(first.sampled, again.sampled)
    np.testing.assert_array_equal(first.argmax, again.argmax)
    assert first.largest_state == again.largest_state
    assert (first.sampled != other.sampled).any()


def test_shapes_and_symbols(system: DynamicalSystem) -> None:
    found = made(system, keep_logits=True)
    assert found.sampled.shape == found.argmax.shape == (10, 7)
    assert found.logits.shape == (10, 7, 3)
    assert set(np.unique(found.sampled)) <= {0, 1, 2}
    np.testing.assert_array_equal(found.argmax, found.logits.argmax(2))
    assert made(system).logits is None
    assert not torch.is_grad_enabled() or found.logits.dtype == np.float32


def test_sampled_symbols_follow_the_softmax_and_argmax_symbols_do_not() -> None:
    found = made(constant(0.0, 1.0), count=200, steps=50)
    assert (found.argmax == 1).all()
    assert found.sampled.mean() == pytest.approx(np.e / (1 + np.e), abs=0.02)


def test_a_low_temperature_samples_the_argmax_and_a_high_one_anything() -> None:
    assert (made(constant(0.0, 1.0), temperature=1e-4).sampled == 1).all()
    assert made(constant(0.0, 1.0), count=200, steps=50, temperature=1e4).sampled.mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("initial", ["zero", "normal"])
def test_chunks_change_neither_shapes_nor_symbols_in_range(
    system: DynamicalSystem, initial: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = made(system, count=11, initial=initial, keep_logits=True)
    monkeypatch.setattr(generation, "CHUNK", 7 * 6 * 4)  # four sequences at a time
    found = made(system, count=11, initial=initial, keep_logits=True)
    assert found.sampled.shape == found.argmax.shape == (11, 7)
    assert found.logits.shape == whole.logits.shape
    assert found.sampled.dtype == whole.sampled.dtype
    assert np.isfinite(found.largest_state)
    assert len(np.unique(found.logits, axis=0)) == 11  # no noise comes twice


def test_a_normal_start_is_seen_in_the_first_step(system: DynamicalSystem) -> None:
    zero, normal = (
        made(system, count=300, steps=1, noise_scale=1e-12, initial=i, keep_logits=True) for i in ("zero", "normal")
    )
    assert np.abs(zero.logits).max() < 1e-6
    assert normal.logits.std() > 0.05


def test_scaled_noise_scales_the_logits_of_a_network_without_biases(system: DynamicalSystem) -> None:
    one, three = (made(system, noise_scale=s, keep_logits=True) for s in (1.0, 3.0))
    np.testing.assert_allclose(three.logits, 3 * one.logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(one.argmax, three.argmax)
    assert three.largest_state == pytest.approx(3 * one.largest_state, rel=1e-5)


def test_a_network_that_diverges_is_refused_with_a_remedy() -> None:
    growing = rs.System(
        lambda h, x: 1e6 * (h + x[:, :1].abs() + 1), 1, 2, readout=lambda h: h.expand(*h.shape[:-1], 2), output_size=2
    )
    with pytest.raises(rs.TrainingError, match="finite numbers within 20 steps") as caught:
        made(growing, steps=20)
    assert "shorter" in caught.value.remedy


def test_the_networks_of_the_study_generate(early) -> None:
    found = made(early("two_19.4"), count=3, steps=20)
    assert found.sampled.shape == (3, 20)


def test_drawing_needs_no_finite_differences_between_logits() -> None:
    logits = torch.tensor([[0.0, -torch.inf], [-torch.inf, 0.0]])
    assert draw_symbols(logits, torch.Generator().manual_seed(0)).tolist() == [0, 1]

"""Forecasting data: what the loss counts, and what the data say about themselves."""

import dataclasses

import numpy as np
import pytest
import torch

import rnnscope as rs
from rnnscope.core.forecast import ForecastData
from rnnscope.core.random import Streams


def prepared(**fields: object) -> ForecastData:
    return rs.Lorenz63(duration=4.0, window=10, **fields).prepare(Streams(0))  # type: ignore[arg-type]


def with_gaps(data: ForecastData) -> ForecastData:
    series = tuple(dataclasses.replace(s, observed=np.ones_like(s.values, bool)) for s in data.series)
    return dataclasses.replace(data, series=series)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_loss_of_a_point_head_is_the_mean_square() -> None:
    outputs, targets = drawn(4, 5, 3), drawn(4, 5, 3, seed=1)
    wanted = (outputs - targets).square().mean()
    for data in (prepared(), with_gaps(prepared())):
        torch.testing.assert_close(data.loss(outputs, targets), wanted)


def test_the_loss_of_a_gaussian_head_is_its_likelihood() -> None:
    outputs, targets = drawn(4, 5, 6), drawn(4, 5, 3, seed=1)
    law = torch.distributions.Normal(outputs[..., :3], outputs[..., 3:].exp())
    wanted = -law.log_prob(targets).mean() - 0.5 * np.log(2 * np.pi)
    for data in (prepared(head="gaussian"), with_gaps(prepared(head="gaussian"))):
        torch.testing.assert_close(data.loss(outputs, targets), wanted)


@pytest.mark.parametrize("head", ["point", "gaussian"])
def test_targets_that_were_not_measured_do_not_count(head: str) -> None:
    data = with_gaps(prepared(head=head))
    width = 6 if head == "gaussian" else 3
    outputs, targets = drawn(8, 5, width), drawn(8, 5, 3, seed=1)
    whole = data.loss(outputs[:3], targets[:3])
    gaps = targets.clone()
    gaps[3:] = torch.nan
    torch.testing.assert_close(data.loss(outputs, gaps), whole)
    outputs.requires_grad_()
    data.loss(outputs, gaps).backward()
    assert outputs.grad is not None
    assert outputs.grad.isfinite().all()
    assert not outputs.grad[3:].any()
    nothing = data.loss(outputs, torch.full_like(targets, torch.nan))
    assert nothing.item() == 0.0


@pytest.mark.parametrize("differences", [0, 1, 2])
@pytest.mark.parametrize("head", ["point", "gaussian"])
def test_the_signature_has_the_sizes_of_the_windows(differences: int, head: str) -> None:
    data = prepared(differences=differences, head=head, horizon=2)
    batch = data.train.gather(np.arange(2))
    assert batch.inputs.shape[2] == data.signature.input_size == len(data.signature.feature_names)
    assert batch.targets.shape[2] * (2 if head == "gaussian" else 1) == data.signature.output_size
    assert data.feedback.from_output.shape == (data.signature.input_size, data.signature.output_size)


def test_the_fingerprint_is_that_of_the_values() -> None:
    data = prepared()
    assert data.fingerprint() == prepared().fingerprint()
    (one,) = data.series
    values = one.values.copy()
    values[-1, 0] += 1e-12
    assert dataclasses.replace(data, series=(dataclasses.replace(one, values=values),)).fingerprint() != data.fingerprint()


def test_the_report_counts_every_target_once() -> None:
    data = prepared(split=rs.Split(test=0.25, validation=0.2, calibration=0.1))
    report = data.describe()
    assert sum(report["targets_percent"].values()) == pytest.approx(100, abs=0.3)
    assert report["points"] == len(data.series[0]) == 200
    spans = {"calibration": data.parts.calibration, **data.parts.tests}
    assert all(report["targets"][name] == sum(len(s) for s in found) for name, found in spans.items())
    assert report["targets"]["train"] == len(data.train)
    assert data.validation is not None
    assert report["targets"]["validation"] == len(data.validation)


def test_moving_to_a_device_keeps_the_numbers() -> None:
    data = prepared()
    moved = data.to(torch.device("cpu"))
    assert torch.equal(moved.train.gather(np.arange(3)).inputs, data.train.gather(np.arange(3)).inputs)

"""Automata and state plots of networks whose states are known."""

from pathlib import Path

import numpy as np
import pytest
import torch

import rnnscope as rs
from analysed import as_trained, check_findings
from rnnscope.analysis.automaton import is_rotation, root
from rnnscope.core.random import Streams
from rnnscope.core.text import text_data

SMALL = {"num_steps": 300, "burn_in": 20, "free_run": 500}


def remembering(pattern: str, length: int = 600) -> tuple[rs.System, rs.TextData]:
    """A system whose state is the last two symbols, and whose outputs are right for the pattern."""
    data = text_data((pattern * length)[:length], validation_share=0.2, test_share=0.2, window=20, pattern=pattern)
    count = len(data.vocabulary)
    table = torch.zeros(count, count, count, dtype=torch.float64)
    numbers = data.numbers.tolist()
    for one, two, three in zip(numbers, numbers[1:], numbers[2:], strict=False):
        table[one, two, three] = 5.0

    def step(state: torch.Tensor, input: torch.Tensor) -> torch.Tensor:
        return torch.cat([state[:, count:], input], 1)

    def readout(state: torch.Tensor) -> torch.Tensor:
        return torch.einsum("...i,...j,ijk->...k", state[..., :count], state[..., count:], table)

    return rs.System(step, 2 * count, count, readout=readout, output_size=count, dtype=torch.float64), data


@pytest.mark.parametrize(("pattern", "count"), [("abc", 3), ("abac", 4), ("hello world ", 12), ("abab", 2)])
def test_the_automaton_of_a_repeated_string_is_exact(pattern: str, count: int, tmp_path: Path) -> None:
    system, data = remembering(pattern)
    analysis = rs.AutomatonExtraction(**SMALL)
    findings = analysis.run(as_trained(system), data, Streams(0))
    assert findings.statements[0].startswith(f"{count} states suffice")
    assert "500 of 500 characters of a free run and on 240 of 240 of held-out text" in findings.statements[0]
    assert "for ever" in findings.statements[1]
    assert findings.metrics["num_states"] == count
    told = check_findings(analysis, findings, tmp_path)
    assert len(told["figures"]) == 2


def test_a_state_that_never_repeats_is_no_automaton(tmp_path: Path) -> None:
    words = "".join(np.random.default_rng(0).choice(["a", "b"], 900))
    data = text_data(words, validation_share=0.2, test_share=0.2, window=20)
    leak = rs.System(
        lambda h, x: 0.97 * h + x[:, :1] - 0.5,
        1,
        2,
        readout=lambda h: torch.cat([torch.sin(3 * h), -torch.sin(3 * h)], -1),
        output_size=2,
        dtype=torch.float64,
    )
    analysis = rs.AutomatonExtraction(**SMALL, max_states=20)
    findings = analysis.run(as_trained(leak), data, Streams(0))
    assert findings.statements[0].startswith("No automaton of at most 20 clusters")
    assert findings.metrics["num_states"] is None
    check_findings(analysis, findings, tmp_path)


def test_the_state_is_recorded_character_by_character(tmp_path: Path) -> None:
    system, data = remembering("abac")
    analysis = rs.StateEvolution(num_characters=20, num_units=5)
    findings = analysis.run(as_trained(system), data, Streams(0))
    symbols = findings.arrays["symbols"]
    assert symbols.tolist() == data.symbols_of("test", 20).tolist()
    np.testing.assert_array_equal(findings.arrays["states"][:, 3:].argmax(1), symbols)
    check_findings(analysis, findings, tmp_path)


def test_roots_and_rotations() -> None:
    assert [root(s) for s in ("abab", "abac", "aaa", "x")] == ["ab", "abac", "a", "x"]
    assert is_rotation("caba", "abac")
    assert not is_rotation("abca", "abac")
    assert not is_rotation("abacabac", "abac")

"""A network behind an embedding: the plain network on embedded inputs, and a lookup for one-hot ones."""

import pytest
import torch

import rnnscope as rs
from rnnscope.core.interfaces import Signature

DOUBLE = torch.float64


@pytest.fixture
def system() -> rs.DynamicalSystem:
    model = rs.Embedding(embedding_size=4, hidden_size=5, num_layers=2).build(Signature(9, 9), torch.Generator().manual_seed(0))
    (found,) = model.double().eval().systems().values()
    return found


def test_it_is_the_network_on_looked_up_rows(system: rs.DynamicalSystem) -> None:
    symbols = torch.randint(9, (3, 12), generator=torch.Generator().manual_seed(1))
    one_hot = torch.nn.functional.one_hot(symbols, 9).to(DOUBLE)
    looked_up = rs.rollout(system.network, system.embedding[symbols])
    plain = rs.rollout(system, one_hot)
    torch.testing.assert_close(plain.outputs, looked_up.outputs)
    torch.testing.assert_close(rs.rollout(system, one_hot, keep_states=False).outputs, looked_up.outputs)


def test_embeddings_begin_with_length_about_one(system: rs.DynamicalSystem) -> None:
    assert 0.5 < float(system.embedding.detach().norm(dim=1).mean()) < 1.5


def test_its_fixed_points_are_those_of_the_network_with_the_embedded_input_held(system: rs.DynamicalSystem) -> None:
    held = torch.nn.functional.one_hot(torch.tensor(3), 9).to(DOUBLE)
    equation = system.rest_equation(held)
    inner = system.network.rest_equation(held @ system.embedding)
    unknowns = torch.zeros(2, equation.size, dtype=DOUBLE)
    torch.testing.assert_close(equation.residual(unknowns), inner.residual(unknowns))


@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
def test_every_cell_can_be_embedded(cell: str) -> None:
    model = rs.Embedding(cell=cell, hidden_size=3).build(Signature(6, 6), torch.Generator().manual_seed(0))
    assert model(torch.eye(6)[None]).shape == (1, 6, 6)

"""Perceptrons of many tasks at once: equal to automatic differentiation, task by task."""

import itertools
import math

import pytest
import torch

from rnnscope.numerics.batched_mlp import adaptation, adapted, gradient, hessian_product, outer_gradient, outputs

SIZES = [(1, 5, 4, 1), (2, 6, 3), (1, 7, 1)]


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def network(sizes, tasks=None):
    lead = () if tasks is None else (tasks,)
    return [(drawn(*lead, o, i) / math.sqrt(i), drawn(*lead, o) / 3) for i, o in itertools.pairwise(sizes)]


def points(sizes, tasks=3, count=4):
    return drawn(tasks, count, sizes[0]), drawn(tasks, count, sizes[-1])


def plain(parameters, inputs):
    """One task's outputs by the formula."""
    values = inputs
    for index in range(0, len(parameters), 2):
        values = (values if index == 0 else values.relu()) @ parameters[index].T + parameters[index + 1]
    return values


def loss(parameters, inputs, targets):
    return (plain(parameters, inputs) - targets).square().mean()


def of_task(layers, task):
    return [t if t.ndim == size else t[task] for pair in layers for t, size in zip(pair, (2, 1), strict=True)]


def flat(layers):
    return [t for pair in layers for t in pair]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("own", [False, True])
def test_gradients_and_losses_equal_those_of_autograd(sizes, own):
    layers, (inputs, targets) = network(sizes, 3 if own else None), points(sizes)
    tape, found = gradient(layers, inputs, targets)
    for task in range(3):
        parameters = [p.requires_grad_() for p in of_task(layers, task)]
        value = loss(parameters, inputs[task], targets[task])
        torch.testing.assert_close(tape.losses()[task], value.detach())
        torch.testing.assert_close([t[task] for t in flat(found)], list(torch.autograd.grad(value, parameters)))


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("own", [False, True])
def test_the_hessian_product_equals_that_of_autograd(sizes, own):
    layers, (inputs, targets) = network(sizes, 3 if own else None), points(sizes)
    direction = network(sizes, 3)
    tape, _ = gradient(layers, inputs, targets)
    found = hessian_product(layers, tape, direction)
    for task in range(3):
        parameters = tuple(of_task(layers, task))
        along = tuple(of_task(direction, task))
        expected = torch.autograd.functional.hvp(
            lambda *p, task=task: loss(list(p), inputs[task], targets[task]), parameters, along
        )[1]
        torch.testing.assert_close([t[task] for t in flat(found)], list(expected))


@pytest.mark.parametrize("weights", [[1.0], [0.0, 1.0], [0.1, 0.2, 0.0, 0.7]])
@pytest.mark.parametrize("rates", [[0.05, 0.1, 0.2], [0.0, 0.0, 0.3]])
@pytest.mark.parametrize("second", [True, False])
def test_the_outer_gradient_equals_autograd_through_the_inner_steps(weights, rates, second):
    sizes = SIZES[0]
    layers, support, query = network(sizes), points(sizes), points(sizes, count=6)
    parameters = [p.clone().requires_grad_() for p in flat(layers)]
    total = torch.zeros((), dtype=torch.float64)
    for task in range(3):
        own = parameters
        for number, weight in enumerate(weights):
            total = total + weight * loss(own, query[0][task], query[1][task]) / 3
            if number < len(weights) - 1:
                slopes = torch.autograd.grad(loss(own, support[0][task], support[1][task]), own, create_graph=second)
                own = [p - rates[i // 2] * g for i, (p, g) in enumerate(zip(own, slopes, strict=True))]
    found = outer_gradient(layers, support, query, rates, weights, second_order=second)
    torch.testing.assert_close(flat(found.gradient), list(torch.autograd.grad(total, parameters)))


def test_losses_on_the_way_are_kept_where_they_are_asked_for():
    sizes = SIZES[0]
    layers, support, query = network(sizes), points(sizes), points(sizes)
    found = outer_gradient(layers, support, query, [0.1] * 3, [0.0, 0.5, 0.5])
    assert found.losses[0].isnan().all()
    one = adapted(layers, gradient(layers, *support)[1], [0.1] * 3)
    torch.testing.assert_close(found.losses[1], (outputs(one, query[0]) - query[1]).square().mean((1, 2)))
    torch.testing.assert_close(found.support, (outputs(layers, support[0]) - support[1]).square().mean((1, 2)))


def test_adaptation_is_gradient_descent_on_each_task_by_itself():
    sizes = SIZES[0]
    layers, support, queries = network(sizes), points(sizes), drawn(3, 5, 1)
    found = adaptation(layers, *support, [0.05] * 3, (0, 2), queries)
    for task in range(3):
        own = [p.clone().requires_grad_() for p in flat(layers)]
        torch.testing.assert_close(found[0][task], plain(own, queries[task]).detach())
        for _ in range(2):
            slopes = torch.autograd.grad(loss(own, support[0][task], support[1][task]), own)
            own = [(p - 0.05 * g).detach().requires_grad_() for p, g in zip(own, slopes, strict=True)]
        torch.testing.assert_close(found[1][task], plain(own, queries[task]).detach())


def test_neither_weights_nor_points_are_changed():
    layers, support = network(SIZES[0]), points(SIZES[0])
    before = [t.clone() for t in (*flat(layers), *support)]
    outer_gradient(layers, support, support, [0.1] * 3, [0.0, 1.0, 1.0])
    adaptation(layers, *support, [0.1] * 3, (0, 3), support[0])
    torch.testing.assert_close(before, [*flat(layers), *support], rtol=0, atol=0)

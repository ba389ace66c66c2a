"""HMMs to JSON and back exactly, and to hmmlearn and back with equal likelihoods."""

import json

import numpy as np
import pytest

import rnnscope as rs
from known_hmms import FAMILIES, random_hmm
from rnnscope.markov.interchange import from_plain, to_plain

foreign = pytest.importorskip("hmmlearn.hmm")
MEANS = np.array([[0.0, 0.0], [2.0, -1.0]])
DIAG = np.array([[0.3, 0.5], [0.4, 0.2]])
FULL = np.array([[[1.0, 0.6], [0.6, 1.0]], [[0.5, -0.2], [-0.2, 0.3]]])
CHAIN = np.array([0.7, 0.3]), np.array([[0.9, 0.1], [0.2, 0.8]])
MODELS = {
    "categorical": random_hmm(0, 3, 4),
    "diag": rs.GaussianHMM(*CHAIN, MEANS, DIAG),
    "full": rs.GaussianHMM(*CHAIN, MEANS, FULL),
}
EVERY_MODEL = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())


def parameters(model: rs.HMM | rs.GaussianHMM) -> list[np.ndarray]:
    names = ("initial_probs", "transition_matrix", "emission_probs", "means", "covariances")
    return [getattr(model, name) for name in names if hasattr(model, name)]


def through_json(model: rs.HMM | rs.GaussianHMM) -> rs.HMM | rs.GaussianHMM:
    return from_plain(json.loads(json.dumps(to_plain(model))))


@EVERY_MODEL
@pytest.mark.usefixtures("unchecked")
def test_models_come_back_from_json_as_they_were(model) -> None:
    back = through_json(model)
    assert type(back) is type(model)
    for one, other in zip(parameters(model), parameters(back), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-15)


@pytest.mark.usefixtures("unchecked")
def test_models_come_back_from_json_bit_for_bit() -> None:
    for seed in range(50):
        model = random_hmm(seed, 4, 5)
        for one, other in zip(parameters(model), parameters(through_json(model)), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "values",
    [
        None,
        [],
        {},
        {"kind": "poisson"},
        {"kind": "categorical", "initial_probs": [1.0]},
        {"kind": "gaussian", "means": [[0.0]]},
    ],
)
def test_values_that_are_no_model_are_refused(values: object) -> None:
    with pytest.raises(rs.DataError, match="no HMM"):
        from_plain(values)


@pytest.mark.usefixtures("unchecked")
def test_values_of_a_damaged_model_name_what_is_damaged() -> None:
    plain = to_plain(MODELS["categorical"])
    plain["emission_probs"][1][0] += 0.5
    with pytest.raises(rs.ConfigError, match="row 1 of emission_probs"):
        from_plain(plain)


@EVERY_MODEL
def test_hmmlearn_gives_the_same_likelihood_and_the_same_model_back(model) -> None:
    x = model.sample(1, 30, rng=0).observations[0]
    other = rs.to_hmmlearn(model)
    assert other.score(x.reshape(30, -1)) == pytest.approx(model.log_likelihood(x), abs=1e-8)
    for one, two in zip(parameters(model), parameters(rs.from_hmmlearn(other)), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-12)


@pytest.mark.parametrize("kind", ["diag", "full", "spherical", "tied"])
def test_hmmlearns_gaussian_models_of_every_kind_become_ours(kind: str) -> None:
    other = foreign.GaussianHMM(2, covariance_type=kind, init_params="")
    other.n_features = 2
    other.startprob_, other.transmat_ = CHAIN
    other.means_ = MEANS
    other.covars_ = {"diag": DIAG, "full": FULL, "spherical": DIAG[:, 0], "tied": FULL[0]}[kind]
    model = rs.from_hmmlearn(other)
    assert model.covariance_type == ("full" if kind in ("full", "tied") else "diag")
    x = model.sample(1, 25, rng=0).observations[0]
    assert model.log_likelihood(x) == pytest.approx(other.score(x), abs=1e-8)


def test_a_model_that_hmmlearn_fitted_becomes_ours() -> None:
    x = FAMILIES["fully-3"].draw(1, 200)[0]
    other = foreign.CategoricalHMM(2, n_iter=3, random_state=0).fit(x[:, None])
    assert rs.from_hmmlearn(other).log_likelihood(x) == pytest.approx(other.score(x[:, None]), abs=1e-8)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (foreign.CategoricalHMM(2), "this CategoricalHMM has no startprob_"),
        (foreign.GaussianHMM(2), "this GaussianHMM has no startprob_"),
        (foreign.PoissonHMM(2), "an object of type PoissonHMM"),
        ("a word", "an object of type str"),
    ],
)
def test_what_is_no_fitted_model_is_refused(other: object, named: str) -> None:
    with pytest.raises(rs.ConfigError, match=named):
        rs.from_hmmlearn(other)

"""HMMs as JSON values, and to and from hmmlearn's models."""

from typing import Any

import numpy as np

from rnnscope.core.errors import ConfigError, DataError
from rnnscope.markov.hmm import HMM, GaussianHMM, HiddenMarkovModel


def to_plain(model: HiddenMarkovModel) -> dict[str, Any]:
    """The parameters as JSON-able values; `from_plain` reads them back exactly."""
    chain = {"initial_probs": model.initial_probs.tolist(), "transition_matrix": model.transition_matrix.tolist()}
    if isinstance(model, HMM):
        return {"kind": "categorical", **chain, "emission_probs": model.emission_probs.tolist()}
    assert isinstance(model, GaussianHMM)
    return {"kind": "gaussian", **chain, "means": model.means.tolist(), "covariances": model.covariances.tolist()}


def from_plain(values: Any) -> HMM | GaussianHMM:
    """A model from such values."""
    needed = {
        "categorical": ("initial_probs", "transition_matrix", "emission_probs"),
        "gaussian": ("initial_probs", "transition_matrix", "means", "covariances"),
    }
    kind = values.get("kind") if isinstance(values, dict) else None
    if kind not in needed or any(name not in values for name in needed[kind]):
        raise DataError(
            "values that are no HMM", "kind, initial_probs, transition_matrix and emissions", "write them with to_plain"
        )
    parts = [values[name] for name in needed[kind]]
    return HMM(*parts) if kind == "categorical" else GaussianHMM(*parts)


def to_hmmlearn(model: HiddenMarkovModel) -> Any:
    """The same model as an hmmlearn `CategoricalHMM` or `GaussianHMM` (needs the package hmmlearn)."""
    try:
        from hmmlearn import hmm as foreign
    except ImportError:
        raise ConfigError("the package hmmlearn is not installed", "hmmlearn", "pip install hmmlearn") from None
    if isinstance(model, HMM):
        found = foreign.CategoricalHMM(model.num_states, n_features=model.num_symbols, init_params="")
        found.emissionprob_ = model.emission_probs.copy()
    else:
        assert isinstance(model, GaussianHMM)
        found = foreign.GaussianHMM(model.num_states, covariance_type=model.covariance_type, init_params="")
        found.n_features = model.num_features
        found.means_ = model.means.copy()
        found.covars_ = model.covariances.copy()
    found.startprob_, found.transmat_ = model.initial_probs.copy(), model.transition_matrix.copy()
    return found


def from_hmmlearn(foreign: Any) -> HMM | GaussianHMM:
    """A fitted hmmlearn `CategoricalHMM` or `GaussianHMM` (diag, full, spherical or tied covariances) as one of ours."""
    name = type(foreign).__name__
    needed = {"CategoricalHMM": ("emissionprob_",), "GaussianHMM": ("means_", "covars_")}
    if name not in needed:
        raise ConfigError(
            f"an object of type {name}", "hmmlearn's CategoricalHMM or GaussianHMM", "convert its parameters by hand"
        )
    for attribute in ("startprob_", "transmat_", *needed[name]):
        if not hasattr(foreign, attribute):
            raise ConfigError(f"this {name} has no {attribute}", "a fitted model", "fit it first")
    if name == "CategoricalHMM":
        return HMM(foreign.startprob_, foreign.transmat_, foreign.emissionprob_)
    covariances = np.asarray(foreign.covars_)  # hmmlearn gives full matrices for every type
    if foreign.covariance_type in ("diag", "spherical"):
        covariances = np.diagonal(covariances, axis1=1, axis2=2) if covariances.ndim == 3 else covariances
    return GaussianHMM(foreign.startprob_, foreign.transmat_, foreign.means_, covariances)

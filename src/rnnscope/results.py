"""A run read back from its folder: configuration, scores, history, models, forecasts."""

import copy
import io
import warnings
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from rnnscope.core.errors import ConfigError, DataError, RunFolderError, unknown_name
from rnnscope.core.forecast import ForecastData
from rnnscope.core.interfaces import History, SequenceModel, Trained, TrainingData, TrainingOutcome
from rnnscope.core.random import Streams
from rnnscope.core.system import only_system
from rnnscope.core.text import TextData
from rnnscope.dynamics.symbol_sampling import WrittenText, write_text
from rnnscope.evaluation.forecasters import NetworkForecaster
from rnnscope.experiment import Experiment, parse_yaml
from rnnscope.markov.emulation import EmulationData
from rnnscope.markov.generation import Generated, generate
from rnnscope.runs.folder import RunFolder
from rnnscope.tasks.new_sequences import classify_file
from rnnscope.training.gradient import BPTT


class Run:
    """A finished (or interrupted) run.

    Args:
        path: its folder. allow_source: import the files named in its configuration, for runs of one's own classes.

    Raises:
        RunFolderError: the folder is missing, foreign or damaged.
    """

    def __init__(self, path: Path | str, *, allow_source: bool = True) -> None:
        self.folder = RunFolder.open(path)
        self.path = self.folder.path
        self._allow_source = allow_source

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @cached_property
    def experiment(self) -> Experiment:
        """The configuration as it was run."""
        text = self.folder.read_text("config.yaml")
        try:
            return parse_yaml(text, f"{self.path}/config.yaml", allow_source=self._allow_source)
        except ConfigError as error:
            if "is code in a file" in error.found:
                raise
            raise RunFolderError(
                f"the run folder '{self.path}' is damaged: config.yaml: {error.found}",
                error.expected,
                "restore config.yaml, or run again",
            ) from None

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """metrics.json: verdict, baselines, models."""
        found = self.folder.read_json("metrics.json")
        try:
            whole = all("score" in m["training"] for m in found["models"].values()) and found["chosen_model"] in found["models"]
        except (KeyError, TypeError, AttributeError):
            whole = False
        if not whole:
            raise RunFolderError(
                f"the run folder '{self.path}' is damaged: metrics.json lacks the models' scores",
                "a complete run folder",
                "run the experiment again",
            )
        return found

    @property
    def verdict(self) -> str:
        """The one-line verdict."""
        return str(self.metrics["verdict"])

    @property
    def status(self) -> str:
        """created, running, interrupted, failed or done."""
        return str(self.folder.read_json("status.json")["state"])

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row per model, repeat and epoch; none where nothing was trained."""
        text = self.folder.read_text("history.csv")
        return pd.read_csv(io.StringIO(text if text.strip() else "model,repeat,epoch\n"))

    @cached_property
    def findings(self) -> dict[str, np.ndarray]:
        """The arrays behind the scores and figures."""
        return self.folder.read_arrays("findings/evaluation.npz")

    @property
    def report(self) -> Path:
        """Path of the report page."""
        return self.path / "report.html"

    @cached_property
    def data(self) -> TrainingData:
        """The data as prepared for the run: generated or read again from the configuration."""
        found = self.experiment.task.prepare(Streams(self.experiment.seed))
        then = self.folder.read_json("data/data.json").get("fingerprint")
        if then is not None and found.describe().get("fingerprint") != then and not self._same_values(found):
            raise DataError(
                f"the data of '{self.path}' are not what they were when it ran",
                f"data with fingerprint {then}",
                "put the file back as it was (the run folder keeps the values in data/data.npz), or run again",
            )
        return found

    def _same_values(self, data: TrainingData) -> bool:
        """Whether data equal the kept ones but for rounding, as data simulated on another machine may."""
        if not self.folder.has("data/data.npz"):
            return False
        now = {k: v for k, v in data.arrays().items() if v.dtype.kind == "f"}
        then = self.folder.read_arrays("data/data.npz")
        return all(
            k in then and then[k].shape == v.shape and np.allclose(then[k], v, rtol=1e-6, atol=1e-9) for k, v in now.items()
        )

    def best_model(self) -> str:
        """The model chosen without the test part: by validation loss, or by training loss where nothing validates."""
        return str(self.metrics["chosen_model"])

    def model(self, name: str | None = None, repeat: int | None = None) -> SequenceModel:
        """A trained model in evaluation mode.

        Args:
            name: which; the best by validation when None. repeat: which seed's; the best by validation when None.
        """
        name = name or self.best_model()
        if name not in self.experiment.models:
            raise unknown_name("model", name, self.experiment.models)
        failed = [why for label, why in self.metrics.get("failures", {}).items() if label.split(" ")[0] == name]
        if name not in self.metrics["models"] and failed:
            raise ConfigError(f"'{name}' could not be trained: {failed[0]}", "a trained model", "train it with other settings")
        if repeat is None:
            repeat = int(self.metrics["models"][name].get("training", {}).get("best_repeat", 0))
        kept = self.experiment.num_seeds - len(failed)
        if not 0 <= repeat < kept:
            raise ConfigError(f"repeat {repeat}", f"0 to {kept - 1}", "repeats count from 0")
        tensors = self.folder.read_tensors("model.safetensors")
        prefix = f"{name}/{repeat}/"
        weights = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
        model = self.experiment.models[name].empty(self.data.signature)
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise RunFolderError(
                f"the run folder '{self.path}' is damaged: model.safetensors does not fit '{name}' ({reason})",
                "the weights of this configuration",
                "run the experiment again",
            ) from None
        return model.eval()

    def trained(self, name: str | None = None, repeat: int | None = None) -> Trained:
        """A trained model with its history and the weights kept on the way, as analyses take it."""
        name = name or self.best_model()
        model = self.model(name, repeat)
        if repeat is None:
            repeat = int(self.metrics["models"][name]["training"]["best_repeat"])
        rows = self.history[(self.history["model"] == name) & (self.history["repeat"] == repeat)]
        columns = {c: rows[c].to_numpy() for c in rows.columns if c not in ("model", "repeat")}
        kept: dict[int, dict[str, torch.Tensor]] = {}
        if self.folder.has("development.safetensors"):
            prefix = f"{name}/{repeat}/"
            for key, tensor in self.folder.read_tensors("development.safetensors").items():
                if key.startswith(prefix):
                    number, parameter = key[len(prefix) :].split("/", 1)
                    kept.setdefault(int(number), {})[parameter] = tensor
        training = self.metrics["models"][name]["training"]
        own = training["repeats"][repeat]
        score = float("nan") if own["score"] is None else own["score"]
        outcome = TrainingOutcome(
            own["reason"], own["epoch"], score, training["criterion"], own["seconds"], dict(sorted(kept.items()))
        )
        return as_trained(name, repeat, model, History(columns, outcome))

    def sample(
        self,
        num_sequences: int,
        num_steps: int,
        *,
        model: str | None = None,
        repeat: int | None = None,
        seed: int = 0,
    ) -> Generated:
        """Draw new sequences from a network that emulates an HMM.

        Args:
            num_sequences, num_steps: how many, how long. model, repeat: as in `model`. seed: of the network's noise.

        Returns:
            `Generated`: symbols sampled from the outputs, and their argmax, both (N, T), and the logits.
        """
        data = self.data
        if not isinstance(data, EmulationData):
            raise ConfigError("this run's network generates no sequences", "a run that emulates an HMM", "choose another run")
        if num_sequences < 1 or num_steps < 1:
            raise ConfigError(f"{num_sequences} sequences of {num_steps} steps", "at least one of each", "ask for more")
        if not 0 <= seed < 2**63:
            raise ConfigError(f"seed {seed}", "a whole number from 0 to 2^63 - 1", "choose another seed")
        system = only_system(self.model(model, repeat))
        rng = torch.Generator().manual_seed(seed)
        return generate(system, num_sequences, num_steps, rng, initial=data.initial_state, keep_logits=True)

    def write_text(
        self,
        length: int = 400,
        *,
        prompt: str = "",
        temperature: float = 1.0,
        top_k: int = 0,
        num_sequences: int = 1,
        model: str | None = None,
        repeat: int | None = None,
        seed: int = 0,
    ) -> WrittenText:
        """Let a network that was trained on a text write.

        Args:
            length: characters of each text. prompt: what it reads first. temperature: below 1 the probable becomes more probable; 0
                takes the most probable character. top_k: of so many most probable ones; 0: of all. num_sequences: how many texts.
            model, repeat: as in `model`. seed: of the draws.

        Returns:
            `WrittenText`: `texts`, without the prompt, and a note where there is something to know.
        """
        data = self.data
        if not isinstance(data, TextData):
            raise ConfigError("this run's network writes no text", "a run of the task text or characters", "choose another run")
        if not 0 <= seed < 2**63:
            raise ConfigError(f"seed {seed}", "a whole number from 0 to 2^63 - 1", "choose another seed")
        trainer = self.experiment.trainer_of(model or self.best_model())
        reach = trainer.truncation if isinstance(trainer, BPTT) and trainer.carry_state else data.window
        rng = torch.Generator().manual_seed(seed)
        how: dict[str, Any] = {"prompt": prompt, "temperature": temperature, "top_k": top_k, "num_sequences": num_sequences}
        return write_text(only_system(self.model(model, repeat)), data, length, rng, reach=reach, **how)

    def forecast(
        self,
        steps: int,
        *,
        model: str | None = None,
        repeat: int | None = None,
        covariates: np.ndarray | None = None,
        series: int = 0,
    ) -> pd.DataFrame:
        """Forecast beyond the end of the series.

        Args:
            steps: how many, >= 1. model, repeat: as in `model`. covariates: (steps, E) known inputs of the coming steps, in
                physical units; needed where the task has covariates. series: number of the series to continue.

        Returns:
            One row per step: time, and per variable the forecast with lower and upper bound of the run's interval level
            (columns `x`, `x_lower`, `x_upper`); bounds are calibrated per lead time, beyond the longest calibrated lead
            the last width is repeated.
        """
        data = self.data
        if not isinstance(data, ForecastData):
            raise ConfigError("this run's task is no forecasting task", "a run of a time series", "choose another run")
        if steps < 1:
            raise ConfigError(f"steps is {steps}", "at least 1", "ask for one step or more")
        name = model or self.best_model()
        network = self.model(name, repeat)
        modes = getattr(self.experiment.evaluation, "closed_loop", ()) or ("stream",)
        extended = _extend(data, series, steps, covariates)
        forecaster = NetworkForecaster(network, extended, modes[0])
        length = len(data.series[series])
        path = forecaster.run(series, np.array([length]), steps)[0]
        repeat = int(self.metrics["models"][name]["training"]["best_repeat"]) if repeat is None else repeat
        widths = self.findings.get(f"{name}/{repeat}/lead_halfwidth")
        names = data.series[series].names
        columns: dict[str, Any] = {_free_name("time", names): _coming_times(data, series, steps)}
        level = data.representation.level(path)
        for v, variable in enumerate(names):
            columns[variable] = path[:, v]
            if widths is not None:
                width = widths[np.minimum(np.arange(steps), len(widths) - 1), v]
                columns[_free_name(f"{variable}_lower", names)] = data.representation.unlevel(level - width[:, None])[:, v]
                columns[_free_name(f"{variable}_upper", names)] = data.representation.unlevel(level + width[:, None])[:, v]
        return pd.DataFrame(columns)

    def classify(self, path: Path | str, *, model: str | None = None, repeat: int | None = None) -> pd.DataFrame:
        """The classes of new sequences in a file.

        Args:
            path: .ts, CSV or Parquet, as the task reads them; labels are not needed. model, repeat: as in `model`.

        Returns:
            One row per sequence: `id`, `label`, `probability <class>` of each class, and `actual` where the file has labels.
        """
        return classify_file(str(path), self.model(model, repeat), self.data, self.experiment.task)


def as_trained(name: str, repeat: int, model: SequenceModel, history: History) -> Trained:
    """A trained model as analyses take it, with the models it was at the epochs at which its weights were kept."""
    development = []
    for epoch, weights in history.outcome.development.items():
        earlier = copy.deepcopy(model)
        earlier.load_state_dict(weights)
        development.append((epoch, earlier.eval()))
    return Trained(name, repeat, model, history, tuple(development))


def _extend(data: ForecastData, series: int, steps: int, covariates: np.ndarray | None) -> ForecastData:
    """The data with the coming covariates appended, so that a forecaster finds them; values are held, and not looked at."""
    import dataclasses

    if not 0 <= series < len(data.series):
        raise ConfigError(f"series number {series}", f"0 to {len(data.series) - 1}", "series count from 0")
    own = data.series[series]
    size = own.covariates.shape[1]
    if size == 0:
        return data
    if covariates is None:
        names = ", ".join(own.covariate_names)
        raise ConfigError(
            "this run's model reads covariates",
            f"their next {steps} values ({names})",
            "pass covariates=… or --covariates FILE",
        )
    given = np.asarray(covariates, np.float64).reshape(-1, size) if np.size(covariates) else np.empty((0, size))
    if len(given) < steps:
        raise ConfigError(f"{len(given)} rows of covariates", f"at least {steps}", "give one row per forecast step")
    held: dict[str, Any] = {
        name: np.concatenate([getattr(own, name), np.repeat(getattr(own, name)[-1:], steps, 0)])
        for name in ("values", "times", "clean", "observed")
        if getattr(own, name) is not None
    }
    longer = dataclasses.replace(own, **held, covariates=np.concatenate([own.covariates, given[:steps]]), hidden={})
    fixed = tuple(longer if i == series else s for i, s in enumerate(data.series))
    return dataclasses.replace(data, series=fixed)


def _free_name(name: str, taken: tuple[str, ...]) -> str:
    """A column name that no variable has."""
    while name in taken:
        name += "_"
    return name


def _coming_times(data: ForecastData, series: int, steps: int) -> Any:
    times = data.series[series].times
    if times.dtype.kind != "M":
        gap = float(np.median(np.diff(times)))
        return times[-1] + gap * np.arange(1, steps + 1)
    index = pd.DatetimeIndex(times)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas announces that infer_freq will return an offset, which serves as well
        found = pd.infer_freq(index[-200:]) if len(index) >= 3 else None
    if found is not None:
        return pd.date_range(index[-1], periods=steps + 1, freq=found)[1:]
    gap = np.median(np.diff(times).astype(np.int64))
    return pd.DatetimeIndex(times[-1] + (gap * np.arange(1, steps + 1)).astype("timedelta64[ns]"))


def open_run(path: Path | str, *, allow_source: bool = False) -> Run:
    """Open a run folder. Code named in its configuration is imported only with `allow_source`."""
    return Run(path, allow_source=allow_source)

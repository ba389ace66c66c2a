"""Every part that ships, by name. Plain dicts: adding one is adding a line.

Values are "module:Class", so that a list of names costs no import. A kind of the form "file.py:Name" means a class of one's
own, imported from that file.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from rnnscope.core.errors import ConfigError, unknown_name

TASKS = {
    "oscillation": "rnnscope.tasks.oscillation:Oscillation",
    "driven_oscillator": "rnnscope.tasks.ode:DrivenOscillator",
    "pendulum": "rnnscope.tasks.ode:Pendulum",
    "van_der_pol": "rnnscope.tasks.ode:VanDerPol",
    "duffing": "rnnscope.tasks.ode:Duffing",
    "lorenz63": "rnnscope.tasks.ode:Lorenz63",
    "rossler": "rnnscope.tasks.ode:Rossler",
    "lorenz96": "rnnscope.tasks.ode:Lorenz96",
    "mackey_glass": "rnnscope.tasks.ode:MackeyGlass",
    "table": "rnnscope.tasks.table:Table",
    "embedded": "rnnscope.tasks.table:Embedded",
    "laser": "rnnscope.tasks.laser:SantaFeLaser",
    "hidden_markov": "rnnscope.tasks.hidden_markov:HiddenMarkov",
    "flip_flop": "rnnscope.tasks.flip_flop:FlipFlop",
    "adding": "rnnscope.tasks.long_range:Adding",
    "copy": "rnnscope.tasks.long_range:Copy",
    "temporal_order": "rnnscope.tasks.long_range:TemporalOrder",
    "memory_delay": "rnnscope.tasks.long_range:MemoryDelay",
    "sinusoids": "rnnscope.tasks.sinusoids:Sinusoids",
    "sine_shift": "rnnscope.tasks.sinusoids:SineShift",
    "complexity": "rnnscope.tasks.complexity:Complexity",
    "characters": "rnnscope.tasks.text:Characters",
    "text": "rnnscope.tasks.text:Text",
    "noise": "rnnscope.tasks.given:Noise",
    "emergence": "rnnscope.tasks.marked_series:Emergence",
    "planted_anomalies": "rnnscope.tasks.marked_series:PlantedAnomalies",
    "marked_series": "rnnscope.tasks.marked_series:MarkedFile",
    "frames_random": "rnnscope.tasks.frames:FramesRandom",
    "frames_motion": "rnnscope.tasks.frames_moving:FramesMotion",
    "frames_speed": "rnnscope.tasks.frames_moving:FramesSpeed",
    "frames": "rnnscope.tasks.frames_given:Frames",
    "labelled": "rnnscope.tasks.labelled:Labelled",
    "pattern": "rnnscope.tasks.patterns:Pattern",
    "trigger_action": "rnnscope.tasks.trigger_action:TriggerAction",
}
MODELS = {
    "elman": "rnnscope.models.recurrent:Elman",
    "gru": "rnnscope.models.recurrent:GRU",
    "lstm": "rnnscope.models.recurrent:LSTM",
    "echo_state": "rnnscope.models.reservoir:EchoState",
    "mlp": "rnnscope.models.mlp:MLP",
    "logistic": "rnnscope.models.logistic:Logistic",
    "embedding": "rnnscope.models.embedding:Embedding",
    "weights": "rnnscope.models.given:GivenWeights",
    "imported": "rnnscope.models.foreign:Imported",
    "layered": "rnnscope.models.layered:Layered",
    "threshold": "rnnscope.models.detectors:Threshold",
    "ar_residual": "rnnscope.models.detectors:LinearResidual",
    "matrix_profile": "rnnscope.models.detectors:MatrixProfile",
    "sub_pca": "rnnscope.models.detectors:SubPCA",
    "cnn_rnn": "rnnscope.models.cnn_rnn:CNNRNN",
    "classifier": "rnnscope.models.classifier:Classifier",
    "plrnn": "rnnscope.models.plrnn:PLRNN",
}
TRAINERS = {
    "bptt": "rnnscope.training.gradient:BPTT",
    "meta": "rnnscope.training.meta:Meta",
    "newton": "rnnscope.training.newton:Newton",
    "hessian_free": "rnnscope.training.hessian_free:HessianFree",
    "ridge": "rnnscope.training.ridge:Ridge",
    "transport": "rnnscope.training.transport:Transport",
    "untrained": "rnnscope.training.untrained:Untrained",
    "fit": "rnnscope.training.fit:Fit",
}
EVALUATIONS = {
    "forecasting": "rnnscope.evaluation.forecasting:Forecasting",
    "emulation": "rnnscope.evaluation.emulation:Emulation",
    "steps": "rnnscope.evaluation.steps:Steps",
    "few_shot": "rnnscope.evaluation.few_shot:FewShot",
    "classification": "rnnscope.evaluation.classification:Classification",
    "text": "rnnscope.evaluation.text:TextScores",
    "detection": "rnnscope.evaluation.detection:Detection",
    "unscored": "rnnscope.evaluation.unscored:Unscored",
}
ANALYSES = {
    "logistic_boundary": "rnnscope.analysis.logistic_boundary:LogisticBoundary",
    "fixed_points": "rnnscope.analysis.fixed_points:FixedPointSearch",
    "attractors": "rnnscope.analysis.attractors:AttractorMap",
    "lyapunov": "rnnscope.analysis.lyapunov:LyapunovExponents",
    "memory": "rnnscope.analysis.memory:Memory",
    "state_space": "rnnscope.analysis.state_space:StateSpace",
    "saliency": "rnnscope.analysis.saliency:Saliency",
    "reconstruction": "rnnscope.analysis.reconstruction:Reconstruction",
    "bifurcations": "rnnscope.analysis.bifurcations:Bifurcations",
    "reverse_engineering": "rnnscope.analysis.reverse_engineering:ReverseEngineering",
    "automaton": "rnnscope.analysis.automaton:AutomatonExtraction",
    "state_evolution": "rnnscope.analysis.state_evolution:StateEvolution",
    "evidence": "rnnscope.analysis.evidence:Evidence",
}
CATEGORIES = {"task": TASKS, "model": MODELS, "trainer": TRAINERS, "evaluation": EVALUATIONS, "analysis": ANALYSES}


def resolve(category: str, kind: str, *, allow_source: bool = True) -> type[Any]:
    """The class behind a kind.

    Args:
        category: task, model, trainer, evaluation or analysis. kind: a registered name or "file.py:Name".
        allow_source: import a foreign file; where False, such a kind is refused.
    """
    table = CATEGORIES[category]
    if kind in table:
        return load(table[kind])
    if ".py:" in kind:
        if not allow_source:
            raise ConfigError(
                f"the {category} '{kind}' is code in a file",
                "a run made of rnnscope's own parts",
                "add --allow-source if you trust that file",
            )
        found = load_source(kind)
        if not isinstance(found, type):
            raise ConfigError(f"'{kind}' is no class", f"a {category} class", "name the class after the colon")
        return found
    raise unknown_name(category, kind, table)


def kind_of(category: str, cls: type[Any]) -> str:
    """The kind by which `resolve` finds a class again."""
    path = f"{cls.__module__}:{cls.__qualname__}"
    for name, target in CATEGORIES[category].items():
        if target == path:
            return name
    source = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if source is None:
        raise ConfigError(f"{cls.__qualname__} was defined interactively", "a class in a file", "move it into a .py file")
    return f"{source}:{cls.__qualname__}"


def load(path: str) -> Any:
    """The object at "module:name"."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def load_source(path: str) -> Any:
    """The object `name` in a file of one's own, "file.py:name"; the file is imported once."""
    file, _, name = path.rpartition(":")
    source = Path(file).expanduser().resolve()
    if not source.is_file():
        raise ConfigError(f"there is no file '{file}'", "a Python file", "check the path before the colon")
    key = f"rnnscope_source_{source.stem}_{abs(hash(str(source)))}"
    module = sys.modules.get(key)
    if module is None:
        spec = importlib.util.spec_from_file_location(key, source)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[key] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[key]
            raise
    if not hasattr(module, name):
        raise unknown_name(f"name in {file}", name, [n for n in vars(module) if not n.startswith("_")])
    return getattr(module, name)

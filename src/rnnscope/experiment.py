"""The experiment: one frozen object that Python users build, YAML holds, the run folder records and `--set` changes."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from rnnscope.core.errors import ConfigError, RnnscopeError, unknown_name
from rnnscope.core.interfaces import AnalysisSpec, EvaluationSpec, ModelSpec, TaskSpec, TrainerSpec
from rnnscope.core.spec import NonNegative, Positive, Spec, from_yaml, override, to_yaml
from rnnscope.registry import CATEGORIES, kind_of, load, resolve

BASES: dict[str, type[Spec]] = {
    "task": TaskSpec,
    "model": ModelSpec,
    "trainer": TrainerSpec,
    "evaluation": EvaluationSpec,
    "analysis": AnalysisSpec,
}
NAMED = {"models": "model", "trainers": "trainer", "analyses": "analysis"}  # fields that hold parts by name


class Experiment(Spec):
    """Data, models, training, evaluation and analyses of one run.

    Fields:
        name: of the preset or study. summary: one line. scope_row: row of the scope it serves.
        task, models (name -> model), trainer, evaluation: the parts. trainers: another trainer for some models, by name.
        analyses (name -> analysis): what to look for in the chosen model.
        seed: of every random stream. num_seeds: repeats of each model from different streams, on the same data.
        device: cpu or cuda. threads: of torch on the CPU; None leaves torch's choice (figures repeat bit for bit only at
            the same number). keep_data: write the series into the run folder.
    """

    name: str = "experiment"
    summary: str = ""
    scope_row: str = ""
    task: TaskSpec
    models: Annotated[dict[str, ModelSpec], Field(min_length=1)]
    trainer: TrainerSpec
    trainers: dict[str, TrainerSpec] = {}
    evaluation: EvaluationSpec
    analyses: dict[str, AnalysisSpec] = {}
    seed: NonNegative = 0
    num_seeds: Positive = 1
    device: str = "cpu"
    threads: Positive | None = None
    keep_data: bool = True

    @field_validator("task", "trainer", "evaluation", mode="before")
    @classmethod
    def _one(cls, value: Any, info: ValidationInfo) -> Any:
        assert info.field_name is not None
        return part(info.field_name, value, info.field_name)

    @field_validator(*NAMED, mode="before")
    @classmethod
    def _many(cls, value: Any, info: ValidationInfo) -> Any:
        assert info.field_name is not None
        if not isinstance(value, Mapping):
            raise ConfigError(
                f"'{info.field_name}' is {type(value).__name__}", "a mapping name -> spec", "write {gru: {kind: gru}}"
            )
        bad = [n for n in value if not str(n).replace("-", "_").isidentifier()]
        if bad:
            raise ConfigError(f"the name '{bad[0]}' in '{info.field_name}'", "letters, digits, _ and -", "choose another name")
        return {str(n): part(NAMED[info.field_name], v, f"{info.field_name}.{n}") for n, v in value.items()}

    def model_post_init(self, context: Any) -> None:
        for name in self.trainers:
            if name not in self.models:
                raise unknown_name("model in 'trainers'", name, self.models)

    def trainer_of(self, model: str) -> TrainerSpec:
        """The trainer of a model."""
        return self.trainers.get(model, self.trainer)

    def tree(self) -> dict[str, Any]:
        """Plain values; `from_tree` reads them back to an equal experiment."""
        plain: dict[str, Any] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if name in NAMED:
                plain[name] = {k: _part_tree(NAMED[name], v) for k, v in value.items()}
            elif name in BASES:
                plain[name] = _part_tree(name, value)
            else:
                plain[name] = value
        return plain

    def yaml(self) -> str:
        """The experiment as YAML."""
        return to_yaml(self.tree())


class Study(Spec):
    """Several experiments that belong together, carried out into one folder with one page that compares them.

    A model that several of them hold under the same name is one row of the page's table, an experiment a column.

    Fields:
        name, summary, scope_row: see `Experiment`. experiments: at least one.
    """

    name: str = "study"
    summary: str = ""
    scope_row: str = ""
    experiments: Annotated[tuple[Experiment, ...], Field(min_length=1)]

    @field_validator("experiments", mode="before")
    @classmethod
    def _each(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"'experiments' is {type(value).__name__}", "a list of experiments", "write a list")
        return tuple(from_mapping(one) if isinstance(one, Mapping) else one for one in value)

    def tree(self) -> dict[str, Any]:
        """Plain values; `Study(**tree)` reads them back to an equal study."""
        about = {name: getattr(self, name) for name in ("name", "summary", "scope_row")}
        return {**about, "experiments": [one.tree() for one in self.experiments]}

    def yaml(self) -> str:
        """The study as YAML."""
        return to_yaml(self.tree())


_ALLOW_SOURCE = [True]


def part(category: str, value: Any, where: str) -> Spec:
    """A spec from itself or from a mapping {kind: …, fields …}."""
    base = BASES[category]
    if isinstance(value, base):
        return value
    if isinstance(value, str):
        value = {"kind": value}
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"'{where}' is {type(value).__name__}", f"a {base.__name__} or a mapping with its kind", "write {kind: …}"
        )
    fields = dict(value)
    kind = fields.pop("kind", None)
    if kind is None:
        raise ConfigError(f"'{where}' has no kind", f"kind: one of {', '.join(CATEGORIES[category])}", f"add {where}.kind")
    cls = resolve(category, str(kind), allow_source=_ALLOW_SOURCE[-1])
    if not issubclass(cls, base):
        raise ConfigError(f"'{kind}' is no {category}", f"a subclass of {base.__name__}", f"check {where}.kind")
    try:
        found: Spec = cls(**fields)
    except RnnscopeError as error:
        raise type(error)(f"{where}: {error.found}", error.expected, error.remedy) from None
    return found


def _part_tree(category: str, spec: Spec) -> dict[str, Any]:
    return {"kind": kind_of(category, type(spec)), **_plain(spec.model_dump(mode="python"))}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value


def from_tree(tree: Mapping[str, Any], *, allow_source: bool = True) -> Experiment:
    """An experiment from plain values.

    Args:
        allow_source: whether kinds of the form "file.py:Name" may import that file.
    """
    _ALLOW_SOURCE.append(allow_source)
    try:
        return Experiment(**tree)
    finally:
        _ALLOW_SOURCE.pop()


def from_mapping(tree: Mapping[str, Any]) -> Experiment:
    """An experiment from plain values, as YAML holds them. With `base: PRESET`, only the differences need be given."""
    base = tree.get("base")
    if base is None:
        return Experiment(**tree)
    return Experiment(**merge(preset(str(base)).tree(), {key: value for key, value in tree.items() if key != "base"}))


def parse_yaml(text: str, source: str, *, allow_source: bool = True) -> Experiment:
    """An experiment from YAML text, see `from_mapping`; `source` names it in messages."""
    found = parse_any(text, source, allow_source=allow_source)
    if isinstance(found, Study):
        raise ConfigError(f"{source} holds a study of several experiments", "one experiment", "take one of its runs")
    return found


def parse_any(text: str, source: str, *, allow_source: bool = True) -> "Experiment | Study":
    """An experiment from YAML text, or a study, which has the key `experiments`; `source` names it in messages."""
    tree = from_yaml(text, source)
    _ALLOW_SOURCE.append(allow_source)
    try:
        return Study(**tree) if "experiments" in tree else from_mapping(tree)
    finally:
        _ALLOW_SOURCE.pop()


def merge(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes laid over a tree; where a part's kind changes, its former fields go."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = value
        if isinstance(old, dict) and isinstance(value, Mapping) and key != "models":
            same_kind = value.get("kind", old.get("kind")) == old.get("kind")
            merged[key] = merge(old, value) if same_kind else value
    return merged


def with_overrides(experiment: Experiment, assignments: list[str]) -> Experiment:
    """The experiment with `path=value` assignments carried out."""
    for text in assignments:
        # one at a time, so that a part whose kind was changed shows the new kind's fields to the next
        experiment = from_tree(override(experiment.tree(), [text], _is_part))
    return experiment


def study_with_overrides(study: Study, assignments: list[str]) -> Study:
    """The study with assignments carried out: NAME.path=value in the experiment of that name (or those), path=value in every one."""
    experiments = list(study.experiments)
    names = [one.name for one in experiments]
    for text in assignments:
        lead, _, rest = text.partition(".")
        for i, one in enumerate(experiments):
            if lead not in names or lead == one.name:
                experiments[i] = with_overrides(one, [rest if lead in names else text])
    return study.but(experiments=tuple(experiments))


def _is_part(path: list[str]) -> bool:
    """Whether a dotted path leads to a task, model, trainer, evaluation or analysis."""
    return (len(path) == 1 and path[0] in BASES and path[0] not in NAMED) or (len(path) == 2 and path[0] in NAMED)


def preset(name: str) -> Experiment:
    """A named experiment that ships."""
    from rnnscope.presets.catalog import PRESETS

    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    found: Experiment = load(PRESETS[name].builder)()
    entry = PRESETS[name]
    return found.but(name=name, summary=entry.summary, scope_row=entry.scope_row)


def study(name: str) -> Study:
    """A named study that ships."""
    from rnnscope.presets.catalog import STUDIES

    if name not in STUDIES:
        raise unknown_name("study", name, STUDIES)
    entry = STUDIES[name]
    experiments: tuple[Experiment, ...] = load(entry.builder)()
    return Study(name=name, summary=entry.summary, scope_row=entry.scope_row, experiments=experiments)


def named(name: str) -> "Experiment | Study":
    """A preset or a study that ships, whichever has the name."""
    from rnnscope.presets.catalog import PRESETS, STUDIES

    if name not in {**PRESETS, **STUDIES}:
        raise unknown_name("preset", name, {**PRESETS, **STUDIES})
    return preset(name) if name in PRESETS else study(name)


def schema() -> dict[str, Any]:
    """JSON Schema of an experiment, one alternative per registered kind."""
    definitions: dict[str, Any] = {}
    for category, table in CATEGORIES.items():
        choices = []
        for kind, path in table.items():
            one = load(path).model_json_schema(ref_template=f"#/$defs/{category}_{kind}/$defs/{{model}}")
            one["properties"] = {"kind": {"const": kind}, **one.get("properties", {})}
            one["required"] = ["kind", *one.get("required", [])]
            definitions[f"{category}_{kind}"] = one
            choices.append({"$ref": f"#/$defs/{category}_{kind}"})
        definitions[category] = {"oneOf": choices}
    plain = {
        n: {"type": t}
        for n, t in (
            ("name", "string"),
            ("summary", "string"),
            ("scope_row", "string"),
            ("seed", "integer"),
            ("num_seeds", "integer"),
            ("device", "string"),
            ("keep_data", "boolean"),
        )
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "rnnscope experiment",
        "type": "object",
        "properties": {
            **plain,
            "threads": {"type": ["integer", "null"]},
            "task": {"$ref": "#/$defs/task"},
            "models": {"type": "object", "additionalProperties": {"$ref": "#/$defs/model"}, "minProperties": 1},
            "trainer": {"$ref": "#/$defs/trainer"},
            "trainers": {"type": "object", "additionalProperties": {"$ref": "#/$defs/trainer"}},
            "evaluation": {"$ref": "#/$defs/evaluation"},
            "analyses": {"type": "object", "additionalProperties": {"$ref": "#/$defs/analysis"}},
        },
        "required": ["task", "models", "trainer", "evaluation"],
        "additionalProperties": False,
        "$defs": definitions,
    }

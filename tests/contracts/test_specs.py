"""What every configuration object and every preset must do."""

import importlib
import inspect
import json
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import rnnscope as rs
from rnnscope.core.interfaces import EvaluationSpec, ModelSpec, TaskSpec, TrainerSpec
from rnnscope.core.spec import Spec, from_yaml, parse_assignment, to_yaml
from rnnscope.experiment import BASES, from_tree, parse_yaml, schema, with_overrides
from rnnscope.presets.catalog import PRESETS
from rnnscope.registry import CATEGORIES, kind_of, load, resolve

PARTS = [(category, kind) for category, table in CATEGORIES.items() for kind in table]
EACH_PART = pytest.mark.parametrize(("category", "kind"), PARTS, ids=[f"{c}-{k}" for c, k in PARTS])
SPECS = {f"{category}-{kind}": load(CATEGORIES[category][kind]) for category, kind in PARTS} | {"split": rs.Split}
EACH_SPEC = pytest.mark.parametrize("cls", SPECS.values(), ids=SPECS.keys())


NAMED = {"model": "models", "analysis": "analyses"}  # parts that an experiment holds by name


def experiment(category: str = "", part: Spec | None = None, **fields: Any) -> rs.Experiment:
    """The default experiment with one part replaced."""
    parts: dict[str, Any] = {
        "task": rs.Oscillation(),
        "models": {"gru": rs.GRU()},
        "trainer": rs.BPTT(),
        "evaluation": rs.Forecasting(),
    }
    if category in NAMED:
        parts[NAMED[category]] = {"some-part": part}
    elif category:
        parts[category] = part
    return rs.Experiment(**parts | fields)


def round_trip(one: rs.Experiment) -> rs.Experiment:
    """Through plain values and YAML, and back."""
    return parse_yaml(one.yaml(), "test")


def same(one: rs.Experiment, other: rs.Experiment) -> None:
    assert one == other
    assert repr(one) == repr(other)  # 1 and 1.0 are not the same


# there and back


@EACH_PART
def test_every_part_round_trips_through_yaml(category: str, kind: str) -> None:
    one = experiment(category, resolve(category, kind)())
    same(round_trip(one), one)
    same(from_tree(one.tree()), one)
    assert kind_of(category, resolve(category, kind)) == kind


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_round_trips_through_yaml(name: str) -> None:
    one = rs.preset(name)
    same(round_trip(one), one)
    json.dumps(one.tree())
    assert (one.name, one.summary, one.scope_row) == (name, PRESETS[name].summary, PRESETS[name].scope_row)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_its_own_base(name: str) -> None:
    same(parse_yaml(f"base: {name}\n", "test"), rs.preset(name))


FINITE = st.floats(min_value=0, allow_nan=False, allow_infinity=False)
POSITIVE = FINITE.filter(lambda x: x > 0)
COUNT = st.integers(min_value=1, max_value=2**60)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    trainer=st.builds(
        rs.BPTT,
        epochs=COUNT,
        batch_size=COUNT,
        learning_rate=POSITIVE,
        betas=st.tuples(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True)),
        weight_decay=FINITE,
        final_rate=POSITIVE,
        warmup=st.floats(0, 1),
        burn_in=st.integers(0, 2**60),
        carry_state=st.booleans(),
        optimizer=st.sampled_from(["adam", "adamw", "sgd"]),
    ),
    model=st.builds(
        rs.GRU,
        hidden_size=COUNT,
        dropout=st.floats(0, 1, exclude_max=True),
        recurrent_scale=POSITIVE,
        skip=st.integers(0, 2**60),
    ),
    seed=st.integers(0, 2**128),
)
def test_numbers_survive_yaml_exactly(trainer: rs.BPTT, model: rs.GRU, seed: int) -> None:
    one = experiment(trainer=trainer, models={"gru": model}, trainers={"gru": trainer}, seed=seed)
    same(round_trip(one), one)


# PyYAML reads its own "next line" sign back as a space
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x85"))
WORDS = st.one_of(TEXT, st.sampled_from(["1e5", "2020", "2020_1", "0x10", "1990-01-31", "yes", "null", "~", ".5", "1:30"]))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(summary=WORDS, target=WORDS)
def test_words_survive_yaml_exactly(summary: str, target: str) -> None:
    one = experiment("task", rs.Table(path="data.csv", target=target), summary=summary)
    same(round_trip(one), one)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    tree=st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), WORDS),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
        max_leaves=8,
    )
)
def test_plain_values_survive_yaml_exactly(tree: Any) -> None:
    assert repr(from_yaml(to_yaml({"value": tree}), "test")) == repr({"value": tree})


def test_numbers_may_be_written_as_people_do() -> None:
    tree = from_yaml("{rate: 1e-3, large: 2E6, list: [1e2], inner: {x: -1e-3}}", "test")
    assert tree == {"rate": 1e-3, "large": 2e6, "list": [100.0], "inner": {"x": -1e-3}}


@pytest.mark.parametrize("word", ["1e5x", "2e3.csv", "1990-01-31", "2020-13-45", "1e", "e5", "-1e5-", "."])
def test_words_that_begin_like_numbers_or_dates_stay_words(word: str) -> None:
    assert from_yaml(f"value: {word}", "test") == {"value": word}
    assert parse_assignment(f"task.path={word}") == (["task", "path"], word)


# the schema


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_schema_is_json_and_holds_every_kind() -> None:
    whole = schema()
    assert json.loads(json.dumps(whole, allow_nan=False)) == whole
    for category, table in CATEGORIES.items():
        kinds = [whole["$defs"][ref["$ref"].removeprefix("#/$defs/")] for ref in whole["$defs"][category]["oneOf"]]
        assert [one["properties"]["kind"]["const"] for one in kinds] == list(table)
    assert set(whole["properties"]) == set(rs.Experiment.model_fields)


def test_references_of_the_schema_lead_somewhere() -> None:
    whole = schema()
    for reference in references(whole):
        node = whole
        assert reference.startswith("#/")
        for key in reference[2:].split("/"):
            node = node[key]


@pytest.mark.parametrize("name", PRESETS)
def test_schema_knows_the_fields_of_every_preset(name: str) -> None:
    definitions, tree = schema()["$defs"], rs.preset(name).tree()
    parts = [(c, tree[c]) for c in ("task", "trainer", "evaluation")]
    parts += [("model", m) for m in tree["models"].values()] + [("trainer", t) for t in tree["trainers"].values()]
    for category, part in parts:
        wanted = definitions[f"{category}_{part['kind']}"]
        assert set(wanted["required"]) <= set(part) <= set(wanted["properties"])
        assert wanted["additionalProperties"] is False


# refusals


@EACH_SPEC
def test_specs_are_frozen(cls: type[Spec]) -> None:
    one = cls()
    for name in cls.model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(one, name, getattr(one, name))


@EACH_SPEC
def test_an_unknown_field_is_answered_with_the_nearest(cls: type[Spec]) -> None:
    for name in cls.model_fields:
        for make in (cls, cls().but):
            with pytest.raises(rs.ConfigError) as caught:
                make(**{f"{name}x": 1})
            assert f"{name}x" in caught.value.found
            assert f"did you mean '{name}'?" in caught.value.remedy
            assert "one of: " in caught.value.expected


@EACH_SPEC
def test_a_bad_field_is_named(cls: type[Spec]) -> None:
    for name in cls.model_fields:
        with pytest.raises(rs.ConfigError) as caught:
            cls(**{name: object()})
        assert f"'{name}'" in caught.value.found
        assert caught.value.expected
        assert caught.value.remedy


@EACH_PART
def test_a_bad_field_is_named_with_its_path_in_the_experiment(category: str, kind: str) -> None:
    tree = experiment(category, resolve(category, kind)()).tree()
    where = f"{NAMED[category]}.some-part" if category in NAMED else category
    part = tree[NAMED[category]]["some-part"] if category in NAMED else tree[category]
    for name in [name for name in part if name != "kind"]:
        kept, part[name] = part[name], object()
        with pytest.raises(rs.ConfigError) as caught:
            from_tree(tree)
        assert where in caught.value.found
        assert f"'{name}'" in caught.value.found
        part[name] = kept


def test_a_bad_field_of_a_part_within_a_part_is_named_with_its_path() -> None:
    with pytest.raises(rs.ConfigError, match=r"\bsplit\b.*\btest\b"):
        rs.Oscillation(split={"test": 2.0})
    with pytest.raises(rs.ConfigError, match=r"\btask\b.*\bsplit\b.*\btest\b"):
        with_overrides(experiment(), ["task.split.test=2"])


def test_a_field_of_several_types_is_named_as_it_is_written() -> None:
    with pytest.raises(rs.ConfigError) as caught:
        rs.Table(target=3.5)
    assert "'target'" in caught.value.found
    assert "target.str" not in str(caught.value)


@pytest.mark.parametrize("field", ["seed", "num_seeds", "device", "threads", "keep_data"])
def test_a_bad_field_of_the_experiment_is_named(field: str) -> None:
    with pytest.raises(rs.ConfigError, match=f"'{field}'"):
        experiment(**{field: [object()]})


def test_parts_that_are_none_are_refused() -> None:
    with pytest.raises(rs.ConfigError, match="model in 'trainers' 'grru'"):
        experiment(trainers={"grru": rs.BPTT()})
    with pytest.raises(rs.ConfigError, match="has no kind"):
        experiment(task={"window": 3})
    with pytest.raises(rs.ConfigError, match="did you mean 'pendulum'"):
        experiment(task="pendulm")
    with pytest.raises(rs.ConfigError, match="'models' is list"):
        experiment(models=[rs.GRU()])
    with pytest.raises(rs.ConfigError, match="'task' is int"):
        experiment(task=3)
    with pytest.raises(rs.ConfigError, match="models"):
        experiment(models={})
    with pytest.raises(rs.ConfigError, match="the name 'a b'"):
        experiment(models={"a b": rs.GRU()})
    with pytest.raises(rs.ConfigError, match="did you mean 'sine-best'"):
        rs.preset("sine-bst")


def test_but_leaves_the_original_as_it_was() -> None:
    one = rs.GRU(hidden_size=3)
    assert one.but(num_layers=1) == rs.GRU(hidden_size=3, num_layers=1)
    assert one == rs.GRU(hidden_size=3)
    with pytest.raises(rs.ConfigError, match="hidden_size"):
        one.but(hidden_size=0)


# overrides


def changed(*assignments: str) -> rs.Experiment:
    return with_overrides(rs.preset("sine"), list(assignments))


def test_overrides_set_values_lists_and_nested_fields() -> None:
    before = rs.preset("sine")
    found = changed(
        "seed=7",
        "name=mine",
        "threads=null",
        "keep_data=false",
        "task.split.test=0.1",
        "task.split.segments={late: [20, 30]}",
        "models.gru.hidden_size=5",
        "trainer.learning_rate=1e-2",
        "trainer.betas.0=0.5",
        "evaluation.closed_loop=[window]",
        "evaluation.orders.1=77",
    )
    assert (found.seed, found.name, found.threads, found.keep_data) == (7, "mine", None, False)
    assert found.task == before.task.but(split=rs.Split(test=0.1, segments={"late": (20.0, 30.0)}))
    assert found.models == {**before.models, "gru": rs.GRU(hidden_size=5)}
    assert found.trainer == before.trainer.but(learning_rate=1e-2, betas=(0.5, 0.999))
    assert isinstance(before.evaluation, rs.Forecasting)
    orders = (before.evaluation.orders[0], 77, *before.evaluation.orders[2:])
    assert found.evaluation == before.evaluation.but(closed_loop=("window",), orders=orders)
    assert before == rs.preset("sine")


def test_overrides_of_nothing_change_nothing() -> None:
    assert changed() == rs.preset("sine")
    assert changed("seed=0") == rs.preset("sine")


def test_the_last_override_counts() -> None:
    assert changed("seed=1", "seed=2").seed == 2


def test_a_changed_kind_drops_the_fields_of_the_former() -> None:
    found = with_overrides(rs.preset("sine-quick"), ["models.gru.kind=lstm", "models.gru.num_layers=3", "task.kind=pendulum"])
    assert found.models == {"gru": rs.LSTM(num_layers=3)}
    assert found.task == rs.Pendulum()


def test_a_date_can_be_set() -> None:
    found = with_overrides(rs.preset("co2"), ["task.split.test_from=1990-01-31"])
    assert isinstance(found.task, rs.ForecastTask)
    assert found.task.split.test_from == "1990-01-31"


@pytest.mark.parametrize(
    ("assignment", "found", "remedy"),
    [
        ("modls.gru.hidden_size=3", "modls", "models"),
        ("models.gru.hiden_size=3", "hiden_size", "hidden_size"),
        ("models.gruu.hidden_size=3", "gruu", "gru"),
        ("task.split.tst=0.1", "tst", "test"),
        ("models.gru.kind=lstn", "lstn", "lstm"),
        ("evaluation.orders.99=1", "99", "count from 0"),
        ("evaluation.orders.first=1", "first", "count from 0"),
        ("seed.value=1", "value", "shorten"),
        ("seed", "no assignment", "="),
        ("=3", "no assignment", "="),
        ("seed=[1", "not YAML", "quote"),
        ("trainer.epochs=many", "epochs", "epochs"),
        ("models.gru.hidden_size=0", "models.gru", "hidden_size"),
    ],
)
def test_overrides_that_lead_nowhere_say_what_to_type(assignment: str, found: str, remedy: str) -> None:
    with pytest.raises(rs.ConfigError) as caught:
        changed(assignment)
    assert found in caught.value.found
    assert remedy in caught.value.remedy
    assert caught.value.expected


# completeness


def concrete_specs(package: str, base: type) -> Iterator[type]:
    """Every class of a package that could be built."""
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
        for cls in vars(importlib.import_module(module.name)).values():
            own = inspect.isclass(cls) and cls.__module__ == module.name
            if own and issubclass(cls, base) and not inspect.isabstract(cls):
                yield cls


@pytest.mark.parametrize(
    ("category", "package", "base"),
    [
        ("task", "rnnscope.tasks", TaskSpec),
        ("model", "rnnscope.models", ModelSpec),
        ("trainer", "rnnscope.training", TrainerSpec),
        ("evaluation", "rnnscope.evaluation", EvaluationSpec),
    ],
)
def test_every_spec_that_can_be_built_is_registered(category: str, package: str, base: type) -> None:
    assert BASES[category] is base
    registered = {load(path) for path in CATEGORIES[category].values()}
    assert set(concrete_specs(package, base)) == registered


@pytest.mark.parametrize("name", [name for name in rs.__all__ if name != "__version__"])
def test_every_public_name_is_there_and_explains_itself(name: str) -> None:
    thing = getattr(rs, name)
    assert (thing.__doc__ or "").strip(), f"rs.{name} has no docstring"
    assert name in dir(rs)


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        rs.nonsense


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, rnnscope, rnnscope.presets.catalog, rnnscope.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

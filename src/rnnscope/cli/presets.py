"""Verbs about experiments that have not run: list, show, schema."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rnnscope.cli.shared import AsJson, Debug, Quiet, emit, user_errors

if TYPE_CHECKING:
    from rnnscope.experiment import Experiment


def list_presets(as_json: AsJson = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """List presets and studies, one line each, with the row of the scope they serve."""
    from rnnscope.presets.catalog import PRESETS, STUDIES

    rows = [{"name": n, "summary": p.summary, "scope_row": p.scope_row} for n, p in {**PRESETS, **STUDIES}.items()]
    wide = max(len(r["name"]) for r in rows)
    emit(
        rows,
        as_json,
        "\n".join(r["name"] if quiet else f"{r['name']:<{wide}}  {r['scope_row']:<6}  {r['summary']}" for r in rows),
    )


def show(name: str, as_json: AsJson = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """Print an experiment as YAML, with what each field means."""
    with user_errors(debug, as_json):
        from rnnscope.api import load_experiment
        from rnnscope.experiment import Study

        chosen = load_experiment(name)
        text = chosen.yaml()
        if not quiet:
            experiments = chosen.experiments if isinstance(chosen, Study) else (chosen,)
            text += "\n".join(["#", f"# {chosen.name}: {chosen.summary}", *explained(experiments)])
        emit(chosen.tree(), as_json, text.rstrip())


def explained(experiments: "tuple[Experiment, ...]") -> Iterator[str]:
    """What each field of their parts means, as lines of comment; what was said once is not said again."""
    from rnnscope.experiment import BASES

    seen: set[type] = set()
    for experiment in experiments:
        parts = {
            "task": experiment.task,
            **{f"models.{n}": m for n, m in experiment.models.items()},
            "trainer": experiment.trainer,
            **{f"trainers.{n}": t for n, t in experiment.trainers.items()},
            "evaluation": experiment.evaluation,
            **{f"analyses.{n}": a for n, a in experiment.analyses.items()},
        }
        for where, part in parts.items():
            for spec in with_nested(part):
                for cls in documented(type(spec), tuple(BASES.values())):
                    if cls not in seen:
                        seen.add(cls)
                        yield from ("#", f"# {where}: {cls.__name__}")
                        yield from (f"#   {line.strip()}" for line in (cls.__doc__ or "").strip().splitlines())


def with_nested(spec: Any) -> Iterator[Any]:
    """A spec and the specs in its fields."""
    from rnnscope.core.spec import Spec

    yield spec
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, Spec):
                yield from with_nested(one)


def documented(cls: type, bases: tuple[type, ...]) -> list[type]:
    """The classes whose docstrings explain a spec's fields: those of its kind, or itself where it belongs to no kind."""
    found = [c for c in reversed(cls.__mro__) if issubclass(c, bases) and c.__doc__ and c not in bases]
    return found or [cls]


def show_schema(as_json: AsJson = True, quiet: Quiet = False, debug: Debug = False) -> None:
    """Print the JSON Schema of an experiment."""
    with user_errors(debug):
        from rnnscope.experiment import schema

        print(json.dumps(schema(), indent=2, ensure_ascii=False))

"""Configuration objects: frozen, typed, and the same thing in Python, YAML, the run folder and `--set path=value`."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from rnnscope.core.errors import ConfigError, RnnscopeError, nearest, unknown_name


def absolute(path: str) -> str:
    """A path that a run folder can be read with from anywhere; "" stays."""
    return str(Path(path).expanduser().absolute()) if path else path


FilePath = Annotated[str, AfterValidator(absolute)]
Positive = Annotated[int, Field(ge=1)]
NonNegative = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
PositiveFloat = Annotated[float, Field(gt=0.0)]
NonNegativeFloat = Annotated[float, Field(ge=0.0)]


class Spec(BaseModel):
    """A frozen configuration object; unknown fields are refused.

    Where the fields cannot be satisfied together, or one is of the wrong type or out of range, construction raises
    `ConfigError` (a `ValueError`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, protected_namespaces=())

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise spec_error(type(self), error) from None

    def but(self, **changes: Any) -> Self:
        """A copy with some fields changed, checked again."""
        unknown = [name for name in changes if name not in type(self).model_fields]
        if unknown:
            raise unknown_name(f"field of {type(self).__name__}", unknown[0], type(self).model_fields)
        values = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self)(**{**values, **changes})


def spec_error(cls: type[BaseModel], error: ValidationError, where: str = "") -> RnnscopeError:
    """Pydantic's first complaint as one of ours: the field's path, the value found, what it accepts."""
    first = error.errors()[0]
    inner = first.get("ctx", {}).get("error")
    parts = [str(p) for p in first["loc"] if not _UNION_MEMBER.fullmatch(str(p))]
    if isinstance(inner, RnnscopeError):
        named = not parts or inner.found.startswith(parts[0])
        return inner if named else type(inner)(f"{'.'.join(parts)}: {inner.found}", inner.expected, inner.remedy)
    path = ".".join([where, *parts] if where else parts)
    if first["type"] == "extra_forbidden":
        owner = _owner(cls, parts[:-1])
        return unknown_name(f"field '{path}' of {owner.__name__}: no field", parts[-1], owner.model_fields)
    if first["type"] == "missing":
        return ConfigError(f"{cls.__name__} lacks the field '{path}'", "a value for it", f"give {path}=…")
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return ConfigError(f"{cls.__name__}: field '{path}' is {_short(first.get('input'))}", message, f"give {path} such a value")


# pydantic puts the tried member of a union into the path: task.target.str
_UNION_MEMBER = re.compile(r"str|int|float|bool|none|(tuple|list|dict|literal|constrained)[-\[].*")


def _owner(cls: type[BaseModel], parts: list[str]) -> type[BaseModel]:
    """The spec class in which the path `parts` ends, as far as plain nesting shows it."""
    for part in parts:
        field = cls.model_fields.get(part)
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            break
        cls = inner
    return cls


def _short(value: object, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def parse_assignment(text: str) -> tuple[list[str], Any]:
    """'models.gru.hidden_size=64' -> (['models', 'gru', 'hidden_size'], 64); values are read as YAML."""
    path, sign, value = text.partition("=")
    if not sign or not path.strip():
        raise ConfigError(f"'{text}' is no assignment", "path=value, e.g. models.gru.hidden_size=64", "add the '=value'")
    try:
        return path.strip().split("."), read_yaml(value)
    except (yaml.YAMLError, ValueError):
        raise ConfigError(f"the value in '{text}' is not YAML", "a number, word, or [list]", "quote it") from None


def override(
    tree: dict[str, Any], assignments: list[str], is_part: Callable[[list[str]], bool] = lambda path: False
) -> dict[str, Any]:
    """A nested dict with `path=value` assignments carried out on a copy.

    A path must name something that is there (lists by index), so that a typo is answered with the nearest name.

    Args:
        is_part: whether a path leads to a part with a kind. Changing a part's kind drops the fields of the former kind, and
            a new part may be added by giving it whole.
    """
    for text in assignments:
        path, value = parse_assignment(text)
        if path[-1] == "kind" and is_part(path[:-1]):
            path, value = path[:-1], {"kind": value}
        tree = _assign(tree, path, value, text, new=is_part(path) and isinstance(value, dict))
    return tree


def _assign(node: Any, path: list[str], value: Any, text: str, new: bool) -> Any:
    key, rest = path[0], path[1:]
    if isinstance(node, list):
        if not key.isdigit() or int(key) >= len(node):
            raise ConfigError(f"'{key}' in '{text}' is no index", f"0 to {len(node) - 1}", "count from 0")
        return [
            _assign(v, rest, value, text, new) if rest and i == int(key) else value if i == int(key) else v
            for i, v in enumerate(node)
        ]
    if not isinstance(node, dict):
        raise ConfigError(
            f"'{key}' in '{text}' lies below a plain value {_short(node)}", "a path that ends there", "shorten it"
        )
    if key not in node and (rest or not new):
        close = nearest(key, node)
        raise ConfigError(
            f"'{text}': there is no '{key}'",
            f"one of: {', '.join(node)}",
            f"did you mean '{close}'?" if close else "choose one",
        )
    return {**node, key: _assign(node[key], rest, value, text, new) if rest else value}


class _Loader(yaml.SafeLoader):
    """The safe loader, reading 1e-3 as a number, which YAML 1.1 takes for a word."""


class _Dumper(yaml.SafeDumper):
    """Its counterpart, which quotes words that look like such numbers."""


_SCIENTIFIC = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)[eE][-+]?\d+$")
_Loader.yaml_implicit_resolvers = {  # dates stay words: a time is compared with those of the series
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _one in (_Loader, _Dumper):
    _one.add_implicit_resolver("tag:yaml.org,2002:float", _SCIENTIFIC, list("-+0123456789."))


def read_yaml(text: str) -> Any:
    """Plain values from YAML, by the safe loader."""
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def to_yaml(tree: Any) -> str:
    """Plain values as YAML, in the order given; `from_yaml` reads the same values back exactly."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def from_yaml(text: str, source: str) -> dict[str, Any]:
    """A YAML mapping; anything else is refused with the file's name."""
    try:
        tree = read_yaml(text)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(
            f"{source} is not YAML: {str(error).splitlines()[0]}", "a YAML mapping", "see `rnnscope show sine`"
        ) from None
    if isinstance(tree, dict) and not all(isinstance(key, str) for key in tree):
        bad = next(key for key in tree if not isinstance(key, str))
        raise ConfigError(f"{source} has the key {bad!r}", "words as keys", "quote it, or name a field")
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{source} holds {type(tree).__name__}", "a YAML mapping with task, models, …", "see `rnnscope show sine`"
        )
    return tree

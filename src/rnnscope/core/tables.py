"""What a report shows: figures, tables, and the scores by which runs are compared."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Figure:
    """A drawn figure: file stem, one or two sentences that say what is to be seen, and matplotlib's object.

    `interactive` is a self-contained piece of HTML that the report shows below it.
    """

    name: str
    caption: str
    canvas: Any
    wide: bool = False
    interactive: str = ""


@dataclass(frozen=True)
class Column:
    """A column of a table in a report: key of the rows' values, heading, and whether "low" or "high" is better ("" neither).

    `letters`: its values are strings to be read letter by letter: all letters equally wide, lines broken where they are long.
    """

    key: str
    label: str
    better: Literal["low", "high", ""] = ""
    letters: bool = False


@dataclass(frozen=True)
class Row:
    """A row: its name, its kind ("model", "baseline", "ceiling" or ""), values by column (numbers or words) and their sd."""

    name: str
    kind: Literal["model", "baseline", "ceiling", ""]
    values: dict[str, Any]
    sd: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A table of a report. The best value of each column that has a better side is marked; ceilings do not compete."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    note: str = ""

    def plain(self) -> dict[str, Any]:
        """The table as JSON-able values."""
        return asdict(self)


@dataclass(frozen=True)
class Headline:
    """A score by which runs are compared side by side: scores[part][score], under the column name `key`."""

    key: str
    part: str
    score: str
    label: str
    better: Literal["low", "high", ""] = "low"

"""Errors in three parts: what was found, what was expected, what to do.

Everything a user can cause derives from `RnnscopeError` and, where Python has a fitting family, from that too
(`ValueError` for configuration and data). The command line prints the three parts and exits with code 2;
programming mistakes of our own stay plain exceptions with a traceback.
"""

import difflib
from collections.abc import Iterable


class RnnscopeError(Exception):
    """A mistake the user can repair.

    Args:
        found: what was there, with the offending value.
        expected: what would have been accepted.
        remedy: what to type or change.
    """

    def __init__(self, found: str, expected: str = "", remedy: str = "") -> None:
        super().__init__(found, expected, remedy)
        self.found, self.expected, self.remedy = found, expected, remedy

    def __str__(self) -> str:
        lines = [self.found]
        if self.expected:
            lines.append(f"expected: {self.expected}")
        if self.remedy:
            lines.append(f"to do: {self.remedy}")
        return "\n".join(lines)


class ConfigError(RnnscopeError, ValueError):
    """An unknown name, a field of the wrong type or out of range."""


class DataError(RnnscopeError, ValueError):
    """Data that cannot be used as they are."""


class ShapeError(RnnscopeError, ValueError):
    """An array whose shape does not fit the system it is given to."""


class RunFolderError(RnnscopeError, OSError):
    """A run folder that is missing, damaged, foreign or cannot be written."""


class TrainingError(RnnscopeError, ArithmeticError):
    """Training that left the finite numbers."""


class Interrupted(RnnscopeError):
    """Ctrl-C: what was saved and how to go on."""


MOST_SHOWN = 24  # names in a message, the nearest first where there are more


def nearest(name: str, options: Iterable[str]) -> str:
    """The option closest to `name`, or the empty string when none resembles it."""
    matches = difflib.get_close_matches(name.lower(), list(options), n=1, cutoff=0.5)
    return matches[0] if matches else ""


def unknown_name(what: str, name: str, options: Iterable[str]) -> ConfigError:
    """A `ConfigError` for an unknown name, with the nearest known one."""
    known = sorted(options)
    close = nearest(name, known)
    remedy = f"did you mean '{close}'?" if close else f"choose one of the {len(known)} listed"
    near = difflib.get_close_matches(name.lower(), known, n=MOST_SHOWN, cutoff=0.3)
    listed = known if len(known) <= MOST_SHOWN else list(dict.fromkeys([*near, *known]))[:MOST_SHOWN]
    shown = ", ".join(listed) + (" …" if len(known) > MOST_SHOWN else "")
    return ConfigError(f"unknown {what} '{name}'", f"one of: {shown}" if known else "none is defined", remedy)

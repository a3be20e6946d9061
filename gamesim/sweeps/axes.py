"""What a sweep varies: a list of values, values along a scale, or a law that values are drawn from.

[0.1, 0.2]                                   these values
{ linear = [0, 1], count = 5 }               so many, evenly spaced, both ends included
{ log = [0.001, 1], count = 4 }              so many, evenly spaced in the logarithm
{ uniform = [0, 1] }                         drawn; also log-uniform, integers = [1, 5], choice = ["a", "b"]
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gamesim.errors import refuse, unknown

SPACED = ("linear", "log")
DRAWN = ("uniform", "log-uniform", "integers", "choice")
MOST = 100_000
"""Runs of a sweep, and values of one axis, at most."""


@dataclass(frozen=True)
class Axis:
    """One parameter that varies: its values as typed, or the law (a word of DRAWN) between two ends."""

    name: str
    values: tuple[str, ...] = ()
    law: str = "values"
    low: float = 0.0
    high: float = 0.0

    def at(self, share: float) -> str:
        """The value at a share in [0, 1) of the way through, as typed: the inverse distribution function of the law."""
        if self.values:
            return self.values[min(int(share * len(self.values)), len(self.values) - 1)]
        if self.law == "integers":
            return str(int(self.low) + min(int(share * (self.high - self.low + 1)), int(self.high - self.low)))
        if self.law == "log-uniform":
            return repr(float(math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))))
        return repr(float(self.low + share * (self.high - self.low)))


def typed(value: Any, field: str) -> str:
    """A TOML value as it would be typed on the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise refuse(field, value, "a finite number")
        return repr(value)
    if isinstance(value, list):
        for i, inner in enumerate(value):
            typed(inner, f"{field}[{i}]")
        return json.dumps(value)
    raise refuse(field, value, "text, a number, true or false, or a list of these")


def axis(name: str, value: Any, field: str) -> Axis:
    """What a parameter in the file means; a single value is an axis of one."""
    if isinstance(value, list):
        if not value:
            raise refuse(field, "[]", "at least one value")
        values = tuple(typed(v, f"{field}[{i}]") for i, v in enumerate(value))
        if len(set(values)) < len(values):
            raise refuse(field, value, "each value once")
        return Axis(name, values)
    if isinstance(value, Mapping):
        return _law(name, value, field)
    return Axis(name, (typed(value, field),))


def _law(name: str, table: Mapping[str, Any], field: str) -> Axis:
    said = [key for key in table if key in SPACED + DRAWN]
    if len(said) != 1:
        raise refuse(field, dict(table), f"one of {', '.join(SPACED + DRAWN)}, as in {{ log = [0.001, 1], count = 4 }}")
    law, given = said[0], table[said[0]]
    allowed = {law, "count"} if law in SPACED else {law}
    for key in table:
        if key not in allowed:
            raise unknown(f"{field} ({law})", key, allowed)
    if law == "choice":
        found = axis(name, given if isinstance(given, list) else [given], f"{field}.choice")
        return Axis(name, found.values, "choice")
    low, high = _ends(given, f"{field}.{law}", positive=law.startswith("log"), whole=law == "integers")
    if law in DRAWN:
        return Axis(name, (), law, low, high)
    count = table.get("count")
    if isinstance(count, bool) or not isinstance(count, int) or not 2 <= count <= MOST:
        raise refuse(f"{field}.count", count, f"a whole number from 2 to {MOST:,}")
    spaced = np.linspace(low, high, count) if law == "linear" else np.geomspace(low, high, count)
    return Axis(name, tuple(repr(float(x)) for x in spaced))


def _ends(given: Any, field: str, *, positive: bool, whole: bool) -> tuple[float, float]:
    fine = isinstance(given, Sequence) and len(given) == 2 and all(isinstance(x, int | float) for x in given)
    fine = fine and not any(isinstance(x, bool) or not abs(x) < 1e300 for x in given) and given[0] < given[1]
    if fine and whole:
        fine = all(isinstance(x, int) and abs(x) < 2**53 for x in given)
    if not fine or (positive and given[0] <= 0):
        words = "[low, high] with low < high" + (", above 0" if positive else ", whole numbers" if whole else "")
        raise refuse(field, given, words)
    return float(given[0]), float(given[1])

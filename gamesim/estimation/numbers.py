"""Numbers within bounds, moved freely on the whole line: exp for what is above 0, the logistic function in between."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from gamesim.parameters import Bounds, hints_of


@dataclass(frozen=True)
class Numbers:
    """The named numbers of a parameter dataclass: bounds, and the values around which they are sought."""

    bounds: Mapping[str, Bounds]
    values: Mapping[str, float]

    @classmethod
    def of(cls, parameters: Any, leave_out: frozenset[str] = frozenset()) -> "Numbers":
        """Every bounded number of a dataclass (an instance, or a class whose fields have defaults)."""
        kind = parameters if isinstance(parameters, type) else type(parameters)
        bounds, values = dict[str, Bounds](), dict[str, float]()
        for field in fields(kind):
            hint = hints_of(kind)[field.name]
            rules = [rule for rule in getattr(hint, "__metadata__", ()) if isinstance(rule, Bounds)]
            value = getattr(parameters, field.name, field.default)
            if rules and field.name not in leave_out and isinstance(value, float):
                bounds[field.name], values[field.name] = rules[0], value
        return cls(bounds, values)

    def __len__(self) -> int:
        return len(self.bounds)

    @property
    def centre(self) -> Tensor:
        """The values, freed, [p]."""
        freed = [_free(self.values[name], rule) for name, rule in self.bounds.items()]
        return torch.tensor(freed, dtype=torch.float64)

    def bound(self, free: Tensor) -> dict[str, Tensor]:
        """free[..., p] -> each number within its bounds, [...]."""
        return {name: _bind(free[..., i], rule) for i, (name, rule) in enumerate(self.bounds.items())}


def _free(value: float, rule: Bounds) -> float:
    if rule.high < math.inf:
        share = min(max((value - rule.low) / (rule.high - rule.low), 0.01), 0.99)
        return math.log(share / (1 - share))
    return math.log(max(value - rule.low, 0.01)) if rule.low > -math.inf else value


def _bind(free: Tensor, rule: Bounds) -> Tensor:
    if rule.high < math.inf:
        return rule.low + (rule.high - rule.low) * free.sigmoid()
    return rule.low + free.clamp(-30, 30).exp() if rule.low > -math.inf else free

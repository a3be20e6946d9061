"""A solver's state: a frozen dataclass of tensors (or tuples of them, or such dataclasses), and what is done to any.

Saving, resuming and batching know no algorithm: they see names and tensors.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from torch import Tensor

from gamesim.errors import InvalidInput
from gamesim.simplex import softmax

S = TypeVar("S")


@dataclass(frozen=True)
class Scored:
    """A policy kept as scores, policy = softmax(scores): what underflows to zero can still come back."""

    scores: tuple[Tensor, ...]

    @cached_property
    def policy(self) -> tuple[Tensor, ...]:
        return tuple(map(softmax, self.scores))


@dataclass(frozen=True)
class Played:
    """A policy kept as it is."""

    policy: tuple[Tensor, ...]


def mapped(state: S, change: Callable[[str, Tensor], Tensor], name: str = "") -> S:
    """The same state with every tensor replaced by change(name, tensor); names are dotted paths."""
    if isinstance(state, Tensor):
        return change(name, state)  # type: ignore[return-value]
    inner = f"{name}." if name else ""
    if isinstance(state, tuple):
        return tuple(mapped(x, change, f"{inner}{i}") for i, x in enumerate(state))  # type: ignore[return-value]
    if dataclasses.is_dataclass(state) and not isinstance(state, type):
        parts = {f.name: mapped(getattr(state, f.name), change, f"{inner}{f.name}") for f in dataclasses.fields(state)}
        return type(state)(**parts)
    raise InvalidInput(
        f"{name or 'state'}: a state holds tensors, tuples and dataclasses of them, not {type(state).__name__}"
    )


def tensors(state: Any) -> dict[str, Tensor]:
    """Every tensor of a state by its dotted name."""
    found = dict[str, Tensor]()

    def note(name: str, tensor: Tensor) -> Tensor:
        found[name] = tensor
        return tensor

    mapped(state, note)
    return found


def rebuilt(template: S, saved: Mapping[str, Tensor]) -> S:
    """A state with the saved tensors in place of the template's (same names, same shapes)."""
    names = tensors(template)
    if names.keys() != saved.keys() or any(names[n].shape != saved[n].shape for n in names):
        raise InvalidInput(
            "state: the saved one has other tensors than this solver's; other settings or another version made it"
        )
    return mapped(template, lambda name, like: saved[name].to(like))


def expanded(state: S, batch: tuple[int, ...]) -> S:
    """A state with leading batch dimensions, as views."""
    return mapped(state, lambda _, x: x.expand(*batch, *x.shape)) if batch else state

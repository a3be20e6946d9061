"""Variants: one game as several sources define it. A parameter that is left out takes the variant's value."""

from collections.abc import Mapping
from typing import Any

from gamesim.errors import unknown


def fill(game: Any, field: str, variants: Mapping[str, Mapping[str, Any]]) -> None:
    """Give every parameter that is None its value in the variant that the field names; before the other checks."""
    variant = getattr(game, field)
    if variant not in variants:
        raise unknown(field, str(variant), variants)
    for name, value in variants[variant].items():
        if getattr(game, name) is None:
            object.__setattr__(game, name, value)

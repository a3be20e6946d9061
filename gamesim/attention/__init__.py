"""Attention within sets: tokens of many sets of any sizes in one tensor, nothing padded, no order among them."""

from gamesim.attention.attend import set_attention
from gamesim.attention.layout import Layout
from gamesim.attention.plain import merged

__all__ = ["Layout", "merged", "set_attention"]

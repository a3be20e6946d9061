"""Attention within sets: tokens of many sets of any sizes in one tensor, nothing padded, no order among them."""

from gamesim.attention.layout import Layout

__all__ = ["Layout"]

"""Fused fast paths, each beside the plain torch code it is tested against; chosen automatically, off by a flag.

`GAMESIM_FUSED=0` in the environment, `--no-fused` on the command line or `with fused(False): ...` turn them off.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_allowed: ContextVar[bool] = ContextVar("fused", default=os.environ.get("GAMESIM_FUSED", "1") != "0")


def allowed() -> bool:
    """Whether fused kernels may be chosen here."""
    return _allowed.get()


@contextmanager
def fused(on: bool) -> Iterator[None]:
    """Allow or forbid fused kernels inside the block."""
    token = _allowed.set(on)
    try:
        yield
    finally:
        _allowed.reset(token)

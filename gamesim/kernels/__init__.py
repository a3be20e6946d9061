"""Fused fast paths, each beside the plain torch code it is tested against; chosen automatically, off by a flag.

`GAMESIM_FUSED=0` in the environment, `--no-fused` on the command line or `with fused(False): ...` turn them off.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.autograd import forward_ad

_allowed: ContextVar[bool] = ContextVar("fused", default=os.environ.get("GAMESIM_FUSED", "1") != "0")
_numba = find_spec("numba") is not None
PRELOADED = ("gamesim.kernels.simplex_loops",) if _numba else ()
"""What a server of processes may import before they need it: numba and its compiler cost each of them 0.7 s."""


def allowed() -> bool:
    """Whether fused kernels may be chosen here."""
    return wanted() and _numba


def wanted() -> bool:
    """Whether fast paths may be chosen at all, compiled or, where numba is missing, in batched numpy."""
    return _allowed.get() and not torch.compiler.is_compiling()


@contextmanager
def fused(on: bool) -> Iterator[None]:
    """Allow or forbid fused kernels inside the block."""
    token = _allowed.set(on)
    try:
        yield
    finally:
        _allowed.reset(token)


def plain(tensor: Tensor) -> bool:
    """Whether a tensor is nothing but numbers: float64 in memory, without gradient, tangent or transform."""
    return (
        type(tensor) is Tensor
        and tensor.dtype == torch.float64
        and tensor.device.type == "cpu"
        and tensor.layout == torch.strided
        and not tensor.requires_grad
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        and forward_ad._current_level < 0
    )

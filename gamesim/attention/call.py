"""One attention, checked and with all shapes in full: what paths are asked about."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd import forward_ad

from gamesim.attention.layout import Layout
from gamesim.attention.plain import Feature, Kind

Answer = tuple[Tensor, Tensor | None]


@dataclass(frozen=True, eq=False)
class Call:
    """One attention, checked: q[..., row, head, d], k[..., row', head, d], v[..., row', head, d'], shapes in full."""

    q: Tensor
    k: Tensor
    v: Tensor
    queries: Layout
    keys: Layout
    kind: Kind
    scale: float
    top: int | None = None
    bias: float | Tensor | None = None
    key_bias: Tensor | None = None
    sink: Tensor | None = None
    """[..., row or 1, head]."""
    feature: Feature = "elu"
    normalised: bool = True
    wants_lse: bool = False
    causal: bool = False
    """Row i of the queries of a set sees its keys j <= i + N_k - N_q."""
    qkv: Tensor | None = None
    """q, k and v [..., row, 3, head, d] where they stand in one tensor, as one projection gives them."""

    @property
    def even(self) -> bool:
        return self.queries.even is not None and self.keys.even is not None

    @property
    def longest(self) -> int:
        return max(self.queries.longest, self.keys.longest)


def transformed(*tensors: Tensor) -> str | None:
    """Whether code that autograd cannot look into may not be used: torch.compile, vmap, forward mode, subclasses."""
    if torch.compiler.is_compiling():
        return "torch.compile traces torch operations only"
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return "within a transform of torch.func"
    if forward_ad._current_level >= 0:
        return "within forward-mode differentiation"
    if any(type(x) not in (Tensor, torch.nn.Parameter) for x in tensors):
        return "for tensors of a subclass"
    return None

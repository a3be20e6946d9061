"""Where attention within sets is handed to compiled kernels: loaded when they are first wanted, and never required.

A module of kernels has, for each path, `serves`, which answers None or the reason why not, and `attend`.
"""

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, Literal

from torch import Tensor

from gamesim import kernels
from gamesim.attention.call import Answer, Call, transformed


@dataclass(frozen=True)
class Kernel:
    """What one path of a module of gamesim.kernels takes."""

    module: str
    prefix: str
    """Before the names of its functions."""
    device: Literal["cpu", "cuda"]
    sinks: Literal["rows", "heads", "none"]
    """Whether a sink may have a score for each row, or one for each head only; or is merged with what it gives."""
    key_bias: bool
    bias_by_set: bool
    """Whether the bias of sigmoids is [..., b, head]; otherwise [..., head]."""
    causal: bool = False

    def takes_sink(self, call: Call) -> bool:
        return call.sink is not None and (self.sinks == "rows" or (self.sinks == "heads" and call.sink.shape[-2] == 1))

    def serves(self, call: Call) -> str | None:
        """None, or why not."""
        if call.q.device.type != self.device:
            return f"for {'GPUs' if self.device == 'cuda' else 'CPUs'} only"
        reason = transformed(call.q, call.k, call.v)
        if reason is None and not kernels.wanted():
            reason = "fused kernels are turned off"
        if reason is None and (call.feature != "elu" or not call.normalised):
            reason = "compiled kernels know linear attention with phi = elu + 1, normalised"
        if reason is None and call.key_bias is not None and not self.key_bias:
            reason = "it knows no biases of keys"
        if reason is None and call.causal and not self.causal:
            reason = "it knows no order among keys"
        code = load(self.module) if reason is None else reason
        if isinstance(code, str):
            return code
        wants_lse = call.wants_lse or (call.sink is not None and not self.takes_sink(call))
        found: str | None = getattr(code, f"{self.prefix}serves")(
            call.q, call.k, call.v, call.kind, call.queries.longest, call.keys.longest, wants_lse
        )
        return found

    def attend(self, call: Call) -> Answer:
        code = load(self.module)
        bias, sink = call.bias, call.sink if self.takes_sink(call) else None
        if self.bias_by_set and isinstance(bias, Tensor) and bias.dim():
            bias = bias.unsqueeze(-2)
        if self.sinks == "heads" and sink is not None:
            sink = sink.squeeze(-2)
        options: dict[str, Any] = {"kind": call.kind, "scale": call.scale}
        added = {"bias": bias, "key_bias": call.key_bias, "sink": sink, "top": call.top}
        options |= {name: value for name, value in added.items() if value is not None}
        if call.causal:
            options["causal"] = True
        found: Answer
        if call.qkv is not None and hasattr(code, f"{self.prefix}attend_within"):
            found = getattr(code, f"{self.prefix}attend_within")(call.qkv, call.queries.offsets, **options)
        else:
            offsets = call.queries.offsets, call.keys.offsets
            found = getattr(code, f"{self.prefix}attend")(call.q, call.k, call.v, *offsets, **options)
        return found


@cache
def load(name: str) -> ModuleType | str:
    """A module of kernels, or what it lacks."""
    try:
        return import_module(f"gamesim.kernels.{name}")
    except ModuleNotFoundError as error:
        return f"{error.name} is not installed"


FUSED = Kernel("attention", "", "cpu", "rows", True, True, causal=True)
TRITON = Kernel("attention_cuda", "triton_", "cuda", "heads", True, False)
VARLEN = Kernel("attention_cuda", "varlen_", "cuda", "none", False, False)

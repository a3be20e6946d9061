"""Layers on single rows, whose weights may have leading dimensions [*, in, out], and how a module of layers is drawn.

    linear  x W + b,    norm  (x - mean x) / sqrt(var x + small) * scale + shift,    rFF  relu(x W_1 + b_1) W_2 + b_2

With weights [*, in, out], as torch.func.functional_call puts them in, x[*, row, in] goes through as many networks at
once. A module is made of zeros and ones, so that making one draws nothing; `reset(generator)` draws it: weights with
mean 0 and the standard deviations of `spreads` (1 / sqrt(in) for a matrix [in, out]), all else as it was made.
"""

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear, pad

from gamesim.errors import refuse


class Block(nn.Module):
    """A module that can be drawn."""

    spreads: dict[str, float]
    """Standard deviations of its own parameters that are drawn, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.spreads = {}

    def reset(self, generator: torch.Generator) -> Self:
        """Draw all weights, those of its parts too.

        >>> layer = FeedForward(8).reset(torch.Generator().manual_seed(0))
        >>> layer(torch.ones(5, 8)).shape
        torch.Size([5, 8])
        """
        for module in self.modules():
            if isinstance(module, Block):
                for name, spread in module.spreads.items():
                    x = getattr(module, name)
                    drawn = torch.randn(x.shape, generator=generator, device=generator.device, dtype=x.dtype)
                    with torch.no_grad():
                        x.copy_(drawn * spread)
        return self


class Linear(Block):
    """x[..., row, in] W + b, with W [*, in, out]: not transposed, as torch's own would be."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True, gain: float = 1.0) -> None:
        super().__init__()
        self.inputs, self.outputs = count("inputs", inputs), count("outputs", outputs)
        self.weight = nn.Parameter(torch.zeros(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.spreads = {"weight": gain * inputs**-0.5}

    def forward(self, x: Tensor) -> Tensor:
        return affine(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.inputs}, {self.outputs}, bias={self.bias is not None}"


LINE = 16
"""Numbers to whole cache lines of 64 bytes."""


def affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x[..., row, in] @ weight[*, in, out] + bias[*, out], with the same bits alone and in a batch."""
    inner, outputs = weight.shape[-2:]
    if x.shape[-1] != inner:
        raise refuse("x.shape", list(x.shape), f"[..., row, {inner}]")
    if weight.dim() == 2 and (bias is None or bias.dim() == 1):
        return linear(x, weight.mT, bias)
    short, narrow = -outputs % LINE, -inner % LINE
    if short or narrow:  # what rounding depends on is where lines of memory begin
        weight = pad(weight, (0, short, 0, narrow))
        x = pad(x, (0, narrow)) if narrow else x
        bias = pad(bias, (0, short)) if bias is not None and short else bias
    if bias is not None and x.dim() == weight.dim() == 3 and len(x) == len(weight) and bias.dim() == 2:
        out = torch.baddbmm(bias.unsqueeze(-2), x, weight)
    else:
        out = x @ weight
        out = out if bias is None else out + bias.unsqueeze(-2)
    return out[..., :outputs] if short else out


class Norm(Block):
    """Rows with mean 0 and variance 1, then scaled and shifted."""

    def __init__(self, width: int, small: float = 1e-5) -> None:
        super().__init__()
        self.width, self.small = count("width", width), small
        self.scale = nn.Parameter(torch.ones(width))
        self.shift = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        if self.scale.dim() == 1:
            return layer_norm(x, (self.width,), self.scale, self.shift, self.small)
        return (
            layer_norm(x, (self.width,), None, None, self.small) * self.scale[..., None, :] + self.shift[..., None, :]
        )


class FeedForward(Block):
    """Each row by itself: W_2 relu(W_1 x + b_1) + b_2."""

    def __init__(self, width: int, hidden: int | None = None) -> None:
        super().__init__()
        hidden = 2 * width if hidden is None else hidden
        self.first, self.second = Linear(width, hidden), Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(torch.relu(self.first(x)))
        return out


def repeated(x: Tensor, copies: int) -> Tensor:
    """x[..., row, d] so many times, one behind the other: [..., copies * row, d]."""
    if copies == 1:
        return x
    front, shape = x.shape[:-2], x.shape[-2:]
    return x.unsqueeze(-3).expand(*front, copies, *shape).reshape(*front, copies * shape[0], shape[1])


def count(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise refuse(name, value, "a whole number above 0")
    return value

"""How far the output of attention over a set moves with its weights, and that this does not grow with the set.

    G <- X;   Z = A(G W_i G^T) G V_i,   G <- Pi(rFF(Pi(Z + G)))   for i = 1..L;   g = mean over the set of G w

Rows of X lie in the unit ball, Pi projects rows on it, rFF(x) = A_i relu(B_i x). A is the softmax of each row, or a
sigmoid of each score. The softmax is 1-Lipschitz from max to sum norm: its Jacobian p (u - <p, u>) has the length
E |u - E u| <= 1 for |u| <= 1. So in one layer, with the largest length of a row as the norm on the left,

    || SM(X W X^T) X V - SM(X W' X^T) X V' ||  <=  ||V - V'|| + ||V|| ||W - W'||            spectral norms; no N

and by layers, with the change of W and V at most 1 each, |dg| <= ||w|| d_L,

    d_i <= ||A_i|| ||B_i|| ((1 + ||V_i|| (1 + 2 ||W_i||)) d_(i-1) + 1 + ||V_i||),   d_0 = 0                      (bound)

A sum in place of the mean multiplies this by N. Sigmoids without a shift add up to N / 2 or so. With the shift -log N
a weight and its slope are at most e^s / N: N is gone again, for factors e^||W_i|| before ||V_i|| and 1 + ||V_i||.

Zhang, Liu, Wang, Tan, Yang and Wang, "Relational reasoning via set transformers: provable efficiency and applications
to MARL", NeurIPS 2022, arXiv 2209.09845.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.randomness import Stream

Attend = Literal["softmax", "sigmoid", "sigmoid-plain"]
"""A sigmoid has the shift -log N, the plain one none."""
Pool = Literal["mean", "sum"]


@dataclass(frozen=True)
class Stack:
    """Weights of a relational network; leading dimensions are networks. X W X^T has X's rows on both sides."""

    score: Tensor
    """W, [..., layer, d, d]."""
    value: Tensor
    """V, [..., layer, d, d]: a row x becomes x V."""
    inner: Tensor
    """B, [..., layer, d, m]."""
    outer: Tensor
    """A, [..., layer, m, d]."""
    last: Tensor
    """w, [..., d]."""


def draw_stack(
    front: tuple[int, ...],
    generator: Stream,
    *,
    layers: int = 2,
    width: int = 16,
    hidden: int = 32,
    norm: float = 1.0,
    dtype: torch.dtype = torch.float64,
) -> Stack:
    """Gaussian weights, each scaled to the spectral norm `norm` (w to length 1)."""

    def matrix(*shape: int) -> Tensor:
        x = generator.normal((*front, layers, *shape), dtype)
        length: Tensor = torch.linalg.matrix_norm(x, 2)
        return x * (norm / length[..., None, None])

    last = generator.normal((*front, width), dtype)
    return Stack(
        matrix(width, width),
        matrix(width, width),
        matrix(width, hidden),
        matrix(hidden, width),
        last / torch.linalg.vector_norm(last, dim=-1, keepdim=True),
    )


def into_ball(x: Tensor) -> Tensor:
    """Pi: rows that are longer than 1 are cut to 1."""
    length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / length.clamp(min=1)


def attention(x: Tensor, score: Tensor, value: Tensor, attend: Attend = "softmax") -> Tensor:
    """A(X W X^T) X V for x[..., N, d], W and V [..., d, d]."""
    scores = x @ score @ x.mT
    if attend == "softmax":
        return torch.softmax(scores, -1) @ (x @ value)
    if attend not in ("sigmoid", "sigmoid-plain"):
        raise refuse("attend", attend, "softmax, sigmoid or sigmoid-plain")
    shift = math.log(x.shape[-2]) if attend == "sigmoid" else 0.0
    return torch.sigmoid(scores - shift) @ (x @ value)


def outputs(
    stack: Stack, x: Tensor, *, attend: Attend = "softmax", pool: Pool = "mean", rows_in_ball: bool = True
) -> Tensor:
    """g(X), [...], of x[..., N, d] with rows in the unit ball; `rows_in_ball=False` leaves out Pi after attention."""
    if x.shape[-2] == 0:
        raise refuse("x.shape", list(x.shape), "[..., N, d] with at least one row")
    cut = into_ball if rows_in_ball else torch.nn.Identity()
    for i in range(stack.score.shape[-3]):
        z = cut(attention(x, stack.score[..., i, :, :], stack.value[..., i, :, :], attend) + x)
        x = cut(torch.relu(z @ stack.inner[..., i, :, :]) @ stack.outer[..., i, :, :])
    pooled = x.mean(-2) if pool == "mean" else x.sum(-2)
    return (pooled * stack.last).sum(-1)


def gain(
    stack: Stack, x: Tensor, *, attend: Attend = "softmax", pool: Pool = "mean", rows_in_ball: bool = True
) -> Tensor:
    """The largest |dg| for changes of all W and V of spectral norm 1 each, [...]: nuclear norms of the gradients."""
    with torch.enable_grad():
        score, value = stack.score.detach().requires_grad_(), stack.value.detach().requires_grad_()
        free = Stack(score, value, stack.inner, stack.outer, stack.last)
        g = outputs(free, x, attend=attend, pool=pool, rows_in_ball=rows_in_ball)
        gradients = torch.autograd.grad(g.sum(), (score, value), create_graph=x.requires_grad)
        return torch.stack([torch.linalg.matrix_norm(d, "nuc").sum(-1) for d in gradients]).sum(0)


def bound(stack: Stack, attend: Attend = "softmax") -> Tensor:
    """What |dg| is at most with the mean and rows in the ball, whatever the set and its size, [...]: (bound)."""
    if attend == "sigmoid-plain":
        raise refuse("attend", attend, "softmax or sigmoid: without a shift there is no bound that has no N")
    score, value, inner, outer = (
        torch.linalg.matrix_norm(x, 2) for x in (stack.score, stack.value, stack.inner, stack.outer)
    )
    moved = torch.zeros_like(score[..., 0])
    for i in range(score.shape[-1]):
        w, v = score[..., i], value[..., i]
        mass = 1.0 if attend == "softmax" else w.exp()
        moved = inner[..., i] * outer[..., i] * ((1 + mass * v * (1 + 2 * w)) * moved + mass * (1 + v))
    length: Tensor = torch.linalg.vector_norm(stack.last, dim=-1)
    return moved * length


def layer_ratio(x: Tensor, one: tuple[Tensor, Tensor], two: tuple[Tensor, Tensor]) -> Tensor:
    """Left over right side of the inequality of one layer, [...]: at most 1 for x[..., N, d] in the unit ball.

    one, two: (W, V) and (W', V'), each [..., d, d].
    """
    (w, v), (w2, v2) = one, two
    left: Tensor = torch.linalg.vector_norm(attention(x, w, v) - attention(x, w2, v2), dim=-1).amax(-1)
    norm = torch.linalg.matrix_norm
    right: Tensor = norm(v - v2, 2) + norm(v, 2) * norm(w - w2, 2)
    return left / right

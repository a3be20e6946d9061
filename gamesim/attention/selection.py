"""Which token attention selects, and with what margin: gradient descent against a maximum-margin program.

Attention with one query, f(X) = <X v, softmax(X p)>, trained by descent on p without a bound on its length, ends up in
the direction that separates one token of each set from all others with the largest margin,

    min ||p||     s.t.  (x_opt - x_t)^T p >= 1             for all t != opt, in every set                  (one query)
    min ||W||_F   s.t.  (x_opt - x_t)^T W z >= 1           with the query z of each set             (W itself trained)
    min ||W||_*   s.t.  the same                                               (W = K Q^T, its factors trained)

which are support vector machines on tokens. For one set, opt is the token of the largest score x_t^T v; for several
it is where descent ends, the globally best ones if it begins near or scores of the others are alike.

Tarzanagh, Li, Zhang and Oymak, "Max-margin token selection in attention mechanism", NeurIPS 2023, arXiv 2306.13596;
Tarzanagh, Li, Thrampoulidis and Oymak, "Transformers as support vector machines", 2023, arXiv 2308.16898.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from gamesim.attention.layout import Layout
from gamesim.errors import refuse

Norm = Literal["frobenius", "nuclear"]


def best_tokens(scores: Tensor, layout: Layout) -> Tensor:
    """The row with the largest of scores[..., row] in each set, [..., b]; the first of those that tie."""
    if layout.count and int(layout.sizes.min()) == 0:
        raise refuse("layout", layout, "sets of at least one token: an empty one has none to select")
    padded = layout.pad(scores[..., None], -torch.inf)[..., 0]
    return padded.argmax(-1) + layout.offsets[:-1]


def max_margin(tokens: Tensor, selected: Tensor, layout: Layout) -> Tensor:
    """p[d] of the least length with (x_opt - x_t)^T p >= 1 for tokens[row, d] and selected[b], by a quadratic program.

    Refused where no direction separates the selected tokens.
    """
    return _program(_gaps(tokens, selected, layout), "frobenius")


def max_margin_matrix(
    tokens: Tensor, queries: Tensor, selected: Tensor, layout: Layout, norm: Norm = "frobenius"
) -> Tensor:
    """W[d, d'] of the least norm with (x_opt - x_t)^T W z >= 1, for the query z of each set, queries[b, d']."""
    if norm not in ("frobenius", "nuclear"):
        raise refuse("norm", norm, "frobenius or nuclear")
    gaps = _gaps(tokens, selected, layout)
    return _program(gaps[:, :, None] * _of_others(queries, selected, layout)[:, None, :], norm)


def margin(tokens: Tensor, selected: Tensor, layout: Layout, p: Tensor) -> Tensor:
    """The least (x_opt - x_t)^T p / ||p|| over sets and tokens, for p[..., d]: negative if another token is ahead."""
    least = (p @ _gaps(tokens, selected, layout).mT).amin(-1)
    length: Tensor = torch.linalg.vector_norm(p, dim=-1)
    return least / length


def correlation(one: Tensor, two: Tensor) -> Tensor:
    """The cosine of the angle between directions, over the last dimension."""
    return torch.nn.functional.cosine_similarity(one, two, dim=-1)


def descend(
    tokens: Tensor,
    scores: Tensor,
    layout: Layout,
    *,
    queries: Tensor | None = None,
    step_size: float = 0.1,
    steps: int = 1000,
    every: int = 100,
    start: Tensor | None = None,
) -> Tensor:
    """Normalised gradient descent on p (or on W, given queries[..., b, d']), at every so many steps: [record, ..., d].

    tokens[..., row, d], scores[..., row] = Y x_t^T v of the set's label Y; leading dimensions are instances in one
    batch. The loss is the sum over sets of log(1 + exp(-f)), f = sum_t score_t softmax_t, and a step is
    step_size times the gradient over its length, in closed form. W comes as [record, ..., d * d'].
    """
    if step_size <= 0 or steps < 1 or every < 1:
        raise refuse("step_size, steps, every", (step_size, steps, every), "positive numbers")
    features = tokens if queries is None else _outer(tokens, layout.spread(queries))
    p = features.new_zeros(*features.shape[:-2], features.shape[-1]) if start is None else start
    records = list[Tensor]()
    padded, value = layout.pad(features), layout.pad(scores[..., None])[..., 0]
    there = torch.arange(layout.longest, device=tokens.device) < layout.sizes[:, None]
    for step in range(1, steps + 1):
        logits = (padded @ p[..., None, :, None])[..., 0].masked_fill(~there, -torch.inf)
        share = torch.softmax(logits, -1)
        f = (share * value).sum(-1, keepdim=True)
        pull = torch.sigmoid(-f) * share * (value - f)  # minus the gradient in the logits
        ahead = logits.argmax(-1)[..., None, None].expand(*logits.shape[:-1], 1, padded.shape[-1])
        # pulls of a set add up to 0, which rounding forgets once one token has nearly all the weight
        ascent = (pull[..., None] * (padded - padded.gather(-2, ahead))).sum((-2, -3))
        length = ascent.norm(dim=-1, keepdim=True)
        p = p + step_size * ascent / torch.where(length > 0, length, torch.ones_like(length))
        if step % every == 0 or step == steps:
            records.append(p)
    return torch.stack(records)


def _outer(tokens: Tensor, queries: Tensor) -> Tensor:
    return (tokens[..., :, None] * queries[..., None, :]).flatten(-2)


def _gaps(tokens: Tensor, selected: Tensor, layout: Layout) -> Tensor:
    """x_opt - x_t for every token that is not selected, [other, d]."""
    if tokens.dim() != 2 or len(tokens) != layout.rows:
        raise refuse("tokens.shape", list(tokens.shape), f"[{layout.rows}, d]: {layout}")
    right = selected.shape == (layout.count,) and bool(
        ((selected >= layout.offsets[:-1]) & (selected < layout.offsets[1:])).all()
    )
    if not right:
        raise refuse("selected", selected.tolist(), "one row of each set, by its number among all rows")
    return _of_others(tokens[selected], selected, layout) - tokens[_others(selected, layout)]


def _others(selected: Tensor, layout: Layout) -> Tensor:
    return torch.arange(layout.rows, device=selected.device) != layout.spread(selected[:, None])[:, 0]


def _of_others(x: Tensor, selected: Tensor, layout: Layout) -> Tensor:
    """x[b, d] of the set of each token that is not selected."""
    return layout.spread(x)[_others(selected, layout)]


def _program(gaps: Tensor, norm: Norm) -> Tensor:
    """The variable of the least norm with <gap, variable> >= 1 for gaps[other, *shape]."""
    from importlib import import_module

    cvxpy: Any = import_module("cvxpy")  # its types leave out half of its functions

    shape = tuple(gaps.shape[1:])
    if len(gaps) == 0:
        return gaps.new_zeros(shape)
    variable = cvxpy.Variable(shape)
    flat = cvxpy.reshape(variable, (gaps[0].numel(),), order="C")
    size = cvxpy.normNuc(variable) if norm == "nuclear" else cvxpy.sum_squares(flat)
    problem = cvxpy.Problem(cvxpy.Minimize(size), [gaps.flatten(1).double().cpu().numpy() @ flat >= 1])
    problem.solve(solver="CLARABEL")
    if variable.value is None:
        raise refuse("selected", problem.status, "tokens that some direction separates from all others of their sets")
    return torch.as_tensor(variable.value, dtype=gaps.dtype, device=gaps.device)

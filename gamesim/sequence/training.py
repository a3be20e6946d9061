"""Training of decoders: AdamW down the cross-entropy, with every number named by the seed.

    loss = - mean over places with a target of log softmax(logits_i)[target_i]
    step size of step t = 0, 1, ...:    size min(1, (t + 1) / warm_up) (1 + cos(pi t / steps)) / 2

Batch t is a function of Stream(seed, t) alone, so that a run that was stopped continues bit for bit. Several seeds are
as many networks side by side.

Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from gamesim.errors import refuse
from gamesim.networks.adam import Trained, Weights, descended, gradients
from gamesim.networks.stateless import Stateless
from gamesim.randomness import Stream
from gamesim.sequence.decoder import Decoder

Batches = Callable[[int, Stream], tuple[Tensor, Tensor]]
"""Tokens and targets of step t, long [*seeds, b, L] each; where a target is -1 there is none."""
Observer = Callable[["Training"], None]
FIRST = 2**31
"""The iteration whose luck draws the weights."""


@dataclass(frozen=True)
class Training:
    """A run of `train` after so many steps."""

    trained: Trained
    losses: Tensor
    """Of each step so far, [*seeds, step]."""

    @property
    def step(self) -> int:
        return self.losses.shape[-1]

    @property
    def weights(self) -> Weights:
        """[*seeds, ...] each."""
        return self.trained.parameters


def train(
    decoder: Decoder,
    batches: Batches,
    steps: int,
    seed: int | Sequence[int],
    *,
    step_size: float = 3e-3,
    warm_up: int = 100,
    decay: float = 0.01,
    observe: Observer | None = None,
    every: int = 100,
    resume: Training | None = None,
    until: int | None = None,
) -> Training:
    """The decoder's weights after so many steps, from weights drawn by the seed, or from where a run was stopped.

    `observe` is shown the run after every so many steps; `until` stops it early, without changing what any step does.
    """
    for name, value, least in (("steps", steps, 1), ("warm_up", warm_up, 1), ("every", every, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise refuse(name, value, f"a whole number from {least}")
    for name, number in (("step_size", step_size), ("decay", decay)):
        if not (math.isfinite(number) and number >= 0):
            raise refuse(name, number, "a number of at least 0")
    network = Stateless(decoder)
    front = () if isinstance(seed, int) else (len(seed),)
    luck = Stream(seed)
    if resume is None:
        resume = Training(Trained.fresh(network.draw(front, luck.at(FIRST))), torch.zeros(*front, 0))
    trained, losses = resume.trained, list(resume.losses.unbind(-1))
    for t in range(resume.step, steps if until is None else min(until, steps)):
        tokens, targets = batches(t, luck.at(t))

        def loss(weights: Weights, tokens: Tensor = tokens, targets: Tensor = targets) -> Tensor:
            found = cross_entropies(network(weights, tokens), targets, len(front))
            losses.append(found.detach())
            return found

        gradient = gradients(loss, trained.parameters)
        size = pace(t, steps, step_size, warm_up)
        trained = descended(trained, gradient, size, t + 1, decay=decay, small=1e-8)
        if observe is not None and ((t + 1) % every == 0 or t + 1 == steps):
            observe(Training(trained, torch.stack(losses, -1)))
    return Training(trained, torch.stack(losses, -1) if losses else resume.losses)


def pace(t: int, steps: int, size: float, warm_up: int) -> float:
    """The step size of step t of so many.

    >>> [round(pace(t, 1000, 1.0, 100), 3) for t in (0, 99, 500, 999)]
    [0.01, 0.976, 0.5, 0.0]
    """
    return size * min(1.0, (t + 1) / warm_up) * (1 + math.cos(math.pi * t / steps)) / 2


def cross_entropies(logits: Tensor, targets: Tensor, rank: int = 0) -> Tensor:
    """Mean over places with a target, of logits[..., L, token] and targets[..., L]; `rank` leading dimensions are kept.

    Where no place has a target it is 0.
    """
    if targets.shape != logits.shape[:-1] or targets.dtype != torch.long:
        raise refuse("targets", f"{targets.dtype} {list(targets.shape)}", f"torch.long {list(logits.shape[:-1])}")
    front = logits.shape[:rank]
    each = cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=-1, reduction="none")
    return each.reshape(*front, -1).sum(-1) / (targets >= 0).reshape(*front, -1).sum(-1).clamp(min=1)

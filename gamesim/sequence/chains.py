"""Answers in steps: what examples that show their steps tell of the task, against examples that show outcomes only.

A task theta ~ P takes an input z_0 through steps of its own to an answer y = z_H,

    z_0 ~ Q,  z_h ~ P_h(. | z_{h-1}, theta),  h = 1 ... H,

and a prompt holds n examples before a new input: full chains (z_0, ..., z_H), or outcomes (z_0, z_H). A sequence model
that is perfect answers with the average over tasks, P(y | z_0, prompt) = sum_theta P(theta | prompt) P(y | z_0, theta).
Its error against P(y | z_0, theta*) is that of prompting, at most 1 - E P(theta* | prompt) in total variation; a model
that is not perfect adds its own. The error of prompting falls like exp(-lambda n) with lambda a distance between the
laws of one example. An outcome is a function of its chain, so by data processing lambda is never smaller for chains.

Hu, Zhang, Chen and Yang, "Unveiling the statistical foundations of chain-of-thought prompting methods", arXiv
2408.14511.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.randomness import Stream
from gamesim.sequence.concepts import Concepts, even
from gamesim.simplex import drawn


@dataclass(frozen=True)
class Chains:
    """Tasks in steps; leading dimensions of `steps` are families of tasks side by side."""

    prior: Tensor
    """P of the tasks, [theta]."""
    inputs: Tensor
    """Q of the inputs, [value]."""
    steps: Tensor
    """P_h(z_h | z_{h-1}, theta), [..., theta, h, value, value]."""

    def __post_init__(self) -> None:
        n = len(self.inputs)
        if self.steps.dim() < 4 or self.steps.shape[-2:] != (n, n) or self.steps.shape[-4] != len(self.prior):
            wanted = f"[..., {len(self.prior)} tasks, h, {n} values, {n} values]"
            raise refuse("steps", f"shape {list(self.steps.shape)}", wanted)

    @classmethod
    def random(
        cls, tasks: int = 8, steps: int = 3, *, families: int = 1, margin: float = 0.1, seed: int = 0
    ) -> "Chains":
        """Binary steps, each probability uniform on [margin, 1 - margin]: families[...] of equally likely tasks."""
        if not 0 < margin < 0.5:
            raise refuse("margin", margin, "a number above 0 and below 0.5: every chain can come of every task")
        one = margin + (1 - 2 * margin) * Stream(seed).uniform((families, tasks, steps, 2))
        return cls(even(tasks), even(2), torch.stack([1 - one, one], -1))

    @property
    def length(self) -> int:
        """H."""
        return self.steps.shape[-3]

    @property
    def full(self) -> Concepts:
        """Examples with their steps: the answer to z_0 is the number whose digits are z_1 ... z_H."""
        law = self.steps[..., 0, :, :]  # [..., theta, z_0, (z_1 ... z_h)]
        n = len(self.inputs)
        for h in range(1, self.length):
            law = (law.unflatten(-1, (-1, n))[..., None] * self.steps[..., None, None, h, :, :]).flatten(-3)
        return Concepts(self.prior, self.inputs, law)

    @property
    def outcomes(self) -> Concepts:
        """Examples without their steps: the answer to z_0 is z_H."""
        law = self.steps[..., 0, :, :]
        for h in range(1, self.length):
            law = law @ self.steps[..., h, :, :]
        return Concepts(self.prior, self.inputs, law)

    def digits(self, chains: Tensor) -> Tensor:
        """z_1 ... z_H of the answers of `full`, [..., h]."""
        places = len(self.inputs) ** torch.arange(self.length - 1, -1, -1, device=chains.device)
        return chains[..., None] // places % len(self.inputs)


def prompting_errors(source: Concepts, numbers: Sequence[int], generator: Stream, prompts: int = 64) -> Tensor:
    """1 - E P(theta* | n examples), mean over the prior, for numbers n in ascending order: [..., prompt, n].

    The mean over prompts is unbiased, and near however small the error is: each pair of tasks has prompts of its own,
    drawn by the geometric mean of the two laws, under which neither is likelier.

        sum_theta P E_theta[1 - P(theta | S)] = sum_{a != b} A_ab^n E_ab[P_a P_b sqrt(p_a p_b) / sum_k P_k p_k],

    p(S) the likelihoods, A_ab = sum sqrt(p_a p_b) of one example, E_ab over examples of law sqrt(p_a p_b) / A_ab.
    """
    one = (source.laws * source.contexts[:, None]).flatten(-2)  # [..., theta, (c, r)]
    a, b = torch.triu_indices(len(source.prior), len(source.prior), 1)
    roots = (one[..., a, :] * one[..., b, :]).sqrt()
    affinity = roots.sum(-1, keepdim=True)
    tilted = (roots / affinity)[..., None, :]  # [..., pair, 1, (c, r)]
    table = one.log().mT
    batch = one.shape[:-2]
    logs = source.prior.log().expand(*batch, len(a), prompts, -1)
    errors, before = [], 0
    for n in numbers:
        for _ in range(before, n):
            cells = drawn(tilted, generator.uniform((*batch, len(a), prompts)))
            rows = torch.take_along_dim(table, cells.flatten(len(batch))[..., None], -2)
            logs = logs + rows.reshape(logs.shape)
        before = n
        at = [i[:, None, None].expand(*batch, len(a), prompts, 1) for i in (a, b)]
        pair = sum(logs.gather(-1, i)[..., 0] + source.prior.log()[i[..., 0]] for i in at) / 2
        errors.append(2 * (n * affinity.log() + pair - logs.logsumexp(-1)).exp().sum(-2))
    return torch.stack(errors, -1)

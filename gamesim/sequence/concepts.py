"""Sources with a latent concept: examples (c_i, r_i) of one concept z ~ P_Z, and the exact Bayesian predictor.

    c_i ~ P_C,  r_i ~ P(. | c_i, z)                                                   given z, all independent
    P(z | S_t) = P_Z(z) prod_{i <= t} P(r_i | c_i, z) / ...,                          S_t = (c_1, r_1, ..., c_t, r_t)
    P(r_{t+1} | S_t, c_{t+1}) = sum_z P(z | S_t) P(r_{t+1} | c_{t+1}, z)              Bayesian model averaging

A sequence model that predicts the stream perfectly is this average, whatever it is made of. Whatever comes, also from
no concept at all, its logarithmic loss over the best concept is bounded on every path,

    max_z sum_{i <= t} log P(r_i | c_i, z) - sum_{i <= t} log P(r_i | S_{i-1}, c_i)  <=  max_z log 1 / P_Z(z)  nats,

and over the concept z that is true it is log P(z | S_t) / P_Z(z), exactly. How fast the truth is found is a matter of
distances between concepts: with D_H^2(z, z') = 1 - sum_c P_C(c) sum_r sqrt(P(r | c, z) P(r | c, z')),

    1 - E P(z | S_t)  <=  1/2 sum_{z' != z''} sqrt(P_Z(z') P_Z(z'')) (1 - D_H^2(z', z''))^t,

and its logarithm falls like -t min_{z' != z''} C(z', z''), C the Chernoff information.

Zhang, Zhang, Yang and Wang, "What and how does in-context learning learn? Bayesian model averaging, parameterization,
and generalization", arXiv 2305.19420.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.randomness import Stream
from gamesim.simplex import drawn


class Examples(NamedTuple):
    """Examples in the order in which they came: whole numbers."""

    contexts: Tensor
    """[..., i]."""
    answers: Tensor
    """[..., i]."""


@dataclass(frozen=True)
class Concepts:
    """Finitely many concepts, contexts and answers; leading dimensions of `laws` are sources side by side."""

    prior: Tensor
    """P_Z, [z]."""
    contexts: Tensor
    """P_C, [c]."""
    laws: Tensor
    """P(r | c, z), [..., z, c, r]."""

    def __post_init__(self) -> None:
        shape = (len(self.prior), len(self.contexts)) if self.prior.dim() == self.contexts.dim() == 1 else ()
        if self.laws.dim() < 3 or self.laws.shape[-3:-1] != shape:
            wanted = f"[..., z, c, r] after a prior [z] and contexts [c], here {list(shape)}"
            raise refuse("laws", f"shape {list(self.laws.shape)}", wanted)
        for name, law in (("prior", self.prior), ("contexts", self.contexts), ("laws", self.laws)):
            if not bool((law >= 0).all()) or not bool(((law.sum(-1) - 1).abs() < 1e-9).all()):
                raise refuse(name, "weights", "probabilities that sum to 1")

    @classmethod
    def random(cls, latents: int, contexts: int, answers: int, *, sharpness: float = 2.0, seed: int = 0) -> "Concepts":
        """Laws softmax(sharpness x), x standard normal; all concepts and contexts alike."""
        scores = Stream(seed).normal((latents, contexts, answers))
        return cls(even(latents), even(contexts), torch.softmax(sharpness * scores, -1))

    @classmethod
    def lookups(cls, latents: int, contexts: int, answers: int, *, noise: float = 0.1) -> "Concepts":
        """Concept z answers c by (c + z) mod answers, with probability `noise` by anything: no two ever agree."""
        if latents > answers:
            raise refuse("latents", latents, f"at most as many as answers, {answers}: no two concepts may agree")
        right = (torch.arange(contexts) + torch.arange(latents)[:, None]) % answers
        laws = (1 - noise) * torch.nn.functional.one_hot(right, answers).double() + noise / answers
        return cls(even(latents), even(contexts), laws)

    def draw(self, generator: Stream, concepts: Tensor) -> Examples:
        """An example of each of concepts[..., i], whole numbers; `...` begins with the dimensions of the sources."""
        contexts = drawn(self.contexts, generator.uniform(concepts.shape, device=self.laws.device))
        rows = self._rows(self.laws.flatten(-3, -2)[..., None, :], concepts * len(self.contexts) + contexts)
        return Examples(contexts, drawn(rows[..., 0, :], generator.uniform(concepts.shape, device=rows.device)))

    def log_likelihoods(self, examples: Examples) -> Tensor:
        """log P(r_i | c_i, z), [..., i, z]."""
        answers = self.laws.shape[-1]
        table = self.laws.log().flatten(-2).mT[..., None, :]  # [..., (c, r), 1, z]
        return self._rows(table, examples.contexts * answers + examples.answers)[..., 0, :]

    def posteriors(self, examples: Examples) -> Tensor:
        """log P(z | S_t) of every t from none to all examples, [..., t, z]."""
        return self.beliefs(self.log_likelihoods(examples))

    def beliefs(self, log_likelihoods: Tensor) -> Tensor:
        """log P(z | S_t) of every t, of log P(r_i | c_i, z)[..., i, z]: [..., i + 1, z]."""
        first = self.prior.log().expand(*log_likelihoods.shape[:-2], 1, -1)
        return torch.cat([first, first + log_likelihoods.cumsum(-2)], -2).log_softmax(-1)

    def predict(self, weights: Tensor, contexts: Tensor) -> Tensor:
        """sum_z w_z P(r | c, z), [..., r], for weights[..., z] and contexts[...]."""
        rows = self._rows(self.laws.movedim(-3, -2), contexts)  # [..., z, r]
        return (weights[..., None, :] @ rows)[..., 0, :]

    def averages(self, examples: Examples) -> Tensor:
        """The Bayesian model average before each answer, P(r | S_{i-1}, c_i): [..., i, r]."""
        return self.predict(self.posteriors(examples)[..., :-1, :].exp(), examples.contexts)

    def affinities(self) -> Tensor:
        """1 - D_H^2 between concepts, [..., z, z']."""
        roots = (self.laws * self.contexts[:, None]).sqrt().flatten(-2)
        return roots @ roots.mT

    def chernoff(self) -> Tensor:
        """Chernoff information between concepts, -min_s log sum P^s Q^(1 - s): [..., z, z']; infinite if disjoint."""
        weighted = (self.laws * self.contexts[:, None]).flatten(-2)
        p, q = weighted[..., :, None, :], weighted[..., None, :, :]
        both = (p > 0) & (q > 0)
        ratio = torch.where(both, p.clamp(min=1e-300) / q.clamp(min=1e-300), 1.0).log()
        low, high = torch.zeros_like(ratio[..., :1]), torch.ones_like(ratio[..., :1])
        for _ in range(60):  # the sum is convex in s: bisection of its derivative
            s = (low + high) / 2
            falling = (torch.where(both, q * (s * ratio).exp(), 0.0) * ratio).sum(-1, keepdim=True) < 0
            low, high = torch.where(falling, s, low), torch.where(falling, high, s)
        return -torch.where(both, q * (low * ratio).exp(), 0.0).sum(-1).log()

    def error_bound(self, examples: int | Tensor) -> Tensor:
        """The bound by Hellinger distances on 1 - E P(z | S_t), [..., t] for examples[t], or [...] for a number."""
        t = torch.as_tensor(examples, dtype=self.laws.dtype)
        pairs = (self.prior[:, None] * self.prior).sqrt() * (1 - torch.eye(len(self.prior), dtype=self.prior.dtype))
        logs = self.affinities().log()
        powers = (logs[(..., *[None] * t.dim(), slice(None), slice(None))] * t[..., None, None]).exp()
        return (pairs * powers).sum((-2, -1)) / 2

    # --- as tokens: 0, c_1, (c_1, r_1), c_2, (c_2, r_2), ...; an answer's token names its context, too ----------------

    @property
    def vocabulary(self) -> int:
        """Tokens: the beginning, contexts, answers to each."""
        return 1 + len(self.contexts) * (1 + self.laws.shape[-1])

    def tokens(self, examples: Examples) -> tuple[Tensor, Tensor]:
        """A stream that ends with the last context, and what is to be predicted: [..., 2 i] each, -1 for nothing."""
        count, answers = len(self.contexts), self.laws.shape[-1]
        asked = 1 + examples.contexts
        said = 1 + count + examples.contexts * answers + examples.answers
        before = torch.cat([torch.zeros_like(said[..., :1]), said[..., :-1]], -1)
        stream = torch.stack([before, asked], -1).flatten(-2)
        return stream, torch.stack([torch.full_like(said, -1), said], -1).flatten(-2)

    def heard(self, logits: Tensor, contexts: Tensor) -> Tensor:
        """log P(r | stream) of each answer to contexts[..., i], by logits[..., 2 i, token] of a stream: [..., i, r]."""
        count, answers = len(self.contexts), self.laws.shape[-1]
        logs = logits[..., 1::2, :].double().log_softmax(-1)
        return logs.gather(-1, 1 + count + contexts[..., None] * answers + torch.arange(answers, device=logs.device))

    def _rows(self, table: Tensor, index: Tensor) -> Tensor:
        """table[..., n, a, b] at index[..., *]: [..., *, a, b], where `...` are the dimensions of the sources."""
        batch = self.laws.dim() - 3
        flat = index.reshape(*table.shape[:batch], -1)
        found = torch.take_along_dim(table.flatten(-2), flat[..., None], -2)
        return found.reshape(*index.shape, *table.shape[-2:])


def even(n: int) -> Tensor:
    """n alike."""
    return torch.full((n,), 1 / n, dtype=torch.float64)


def excess_losses(losses: Tensor, log_likelihoods: Tensor) -> Tensor:
    """The summed losses[..., i] of a predictor over those of the best concept so far, in nats: [..., i]."""
    return losses.cumsum(-1) + log_likelihoods.cumsum(-2).amax(-1)

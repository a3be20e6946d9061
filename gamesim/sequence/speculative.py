"""Speculative decoding: a draft proposes some tokens, the target looks at all of them in one call, and no law changes.

    x_i ~ q_i = q(. | text, x_1..x_{i-1}),    i = 1..gamma                     the draft, token by token
    p_i = p(. | text, x_1..x_{i-1}),          i = 1..gamma + 1                 the target, one call
    x_i stays with probability min(1, p_i(x_i) / q_i(x_i)), if those before it did; n of them do
    y ~ (p_{n+1} - q_{n+1})_+ / sum (p_{n+1} - q_{n+1})_+  if n < gamma,  y ~ p_{gamma+1}  if n = gamma

A call brings x_1..x_n and y: n + 1 tokens, whose law is that of the target, since for every v

    q(v) min(1, p(v) / q(v)) + (p(v) - q(v))_+ = p(v)

How many there are depends on the draft and on gamma: see gamesim.sequence.arms.

Leviathan, Kalman and Matias, "Fast inference from transformers via speculative decoding", ICML 2023, Algorithm 1; Chen
et al., "Accelerating large language model decoding with speculative sampling", arXiv 2302.01318.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.randomness import Stream
from gamesim.sequence.decoder import Decoder, Memory
from gamesim.sequence.generation import law
from gamesim.simplex import drawn


@dataclass(frozen=True)
class Texts:
    """Texts under way, and what decoders remember of them."""

    tokens: Tensor
    """[b, context + 1], with zeros behind the end."""
    length: Tensor
    """Tokens of each text, long [b]."""
    memories: tuple[Memory, ...]
    """Of the target, then of each draft: never more than all tokens but the last."""

    @classmethod
    def of(cls, prompt: Tensor, decoders: Sequence[Decoder]) -> "Texts":
        """prompt[b, L]: nothing is remembered of it yet."""
        count, length = prompt.shape
        tokens = prompt.new_zeros(count, decoders[0].context + 1)
        tokens[:, :length] = prompt
        return cls(tokens, prompt.new_full((count,), length), tuple(one.begin((count,)) for one in decoders))

    def at(self, runs: Tensor) -> "Texts":
        """Some of them."""
        return Texts(self.tokens[runs], self.length[runs], tuple(memory.at(runs) for memory in self.memories))

    def put(self, runs: Tensor, others: "Texts") -> "Texts":
        """With others in the place of some."""

        def placed(x: Tensor, y: Tensor) -> Tensor:
            return x.index_copy(0, runs, y)

        memories = tuple(
            Memory(*(placed(x, y) for x, y in zip(own, other, strict=True)))
            for own, other in zip(self.memories, others.memories, strict=True)
        )
        return Texts(placed(self.tokens, others.tokens), placed(self.length, others.length), memories)


def residual(p: Tensor, q: Tensor) -> Tensor:
    """(p - q)_+ over its sum, of laws [..., token]; p where they are equal and nothing is ever refused."""
    left = (p - q).clamp(min=0)
    total = left.sum(-1, keepdim=True)
    return torch.where(total > 0, left / total.masked_fill(total == 0, 1.0), p)


def verified(p: Tensor, q: Tensor, proposed: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """How many proposed tokens stay, n[...], and the target's own token behind them, [...].

    p[..., gamma + 1, token] and q[..., gamma, token] are laws, proposed[..., gamma] was drawn from q, and u
    [..., gamma + 1] are uniform numbers of (0, 1).
    """
    gamma = proposed.shape[-1]
    mine, theirs = (x[..., :gamma, :].gather(-1, proposed[..., None]).squeeze(-1) for x in (p, q))
    stays = (u[..., :gamma] * theirs < mine).long().cumprod(-1)
    n = stays.sum(-1)
    at = n[..., None, None].expand(*n.shape, 1, p.shape[-1])
    none = torch.zeros_like(q[..., :1, :])  # behind the last proposal nothing is taken away
    token = drawn(
        residual(p.gather(-2, at).squeeze(-2), torch.cat([q, none], -2).gather(-2, at).squeeze(-2)), u[..., -1]
    )
    return n, token


class Decoding(NamedTuple):
    """A target, the drafts that may propose, and how laws are made of logits: the same way for all."""

    target: Decoder
    drafts: tuple[Decoder, ...]
    temperature: float = 1.0
    top_p: float = 1.0

    @classmethod
    def of(cls, target: Decoder, drafts: Sequence[Decoder], temperature: float = 1.0, top_p: float = 1.0) -> "Decoding":
        for draft in drafts:
            if draft.vocabulary != target.vocabulary:
                raise refuse("draft.vocabulary", draft.vocabulary, f"{target.vocabulary}, as the target has")
            if draft.context < target.context:
                raise refuse("draft.context", draft.context, f"at least {target.context}, as the target has")
        if any(one.front for one in (target, *drafts)):
            raise refuse("weights", "a batch of networks", "one network: texts are the batch here")
        return cls(target, tuple(drafts), temperature, top_p)

    def texts(self, prompt: Tensor) -> Texts:
        """Texts that begin with prompt[b, L]."""
        if prompt.dim() != 2 or prompt.shape[-1] == 0 or prompt.dtype != torch.long:
            raise refuse("prompt", f"{prompt.dtype} {list(prompt.shape)}", "torch.long [b, L], L at least 1")
        return Texts.of(prompt, (self.target, *self.drafts))

    def call(self, texts: Texts, which: int, gamma: int, u: Tensor) -> tuple[Texts, Tensor]:
        """One call of the target on what draft `which` proposes: longer texts, and how many tokens came, long [b].

        u[b, 2 gamma + 1] are uniform numbers. Texts have room for gamma tokens within the context.
        """
        draft = self.drafts[which]
        before, tokens = texts.length, texts.tokens
        own = caught_up(self.target, texts.memories[0], tokens, before - 1)
        theirs = caught_up(draft, texts.memories[1 + which], tokens, before - 1)
        proposed, laws, last = list[Tensor](), list[Tensor](), tokens.gather(-1, before[:, None] - 1)
        for i in range(gamma):
            logits, theirs = draft.extend(theirs, proposed[-1][:, None] if proposed else last)
            laws.append(self.law(logits[:, -1]))
            proposed.append(drawn(laws[-1], u[:, i]))
        drafted = torch.stack(proposed, -1)
        logits, own = self.target.extend(own, torch.cat([last, drafted], -1))
        n, token = verified(self.law(logits), torch.stack(laws, -2), drafted, u[:, gamma:])
        place = torch.arange(gamma + 1, device=n.device)
        new = torch.where(place < n[:, None], torch.cat([drafted, token[:, None]], -1), 0)
        new = new.scatter(-1, n[:, None], token[:, None])
        tokens = tokens.scatter(-1, before[:, None] + place, new)
        length = before + n + 1
        memories = list(texts.memories)
        memories[0] = own.first(length - 1)
        memories[1 + which] = theirs.first(torch.minimum(theirs.length, length - 1))
        return Texts(tokens, length, tuple(memories)), n + 1

    def law(self, logits: Tensor) -> Tensor:
        return law(logits, self.temperature, self.top_p)


def caught_up(decoder: Decoder, memory: Memory, tokens: Tensor, length: Tensor) -> Memory:
    """A memory of the first length[b] tokens, where it may be one of fewer."""
    if not len(length) or bool((memory.length >= length).all()):
        return memory
    begin, end = int(memory.length.min()), int(length.max())
    _, longer = decoder.extend(memory.first(torch.full_like(length, begin)), tokens[:, begin:end])
    return longer.first(length)


class Speculated(NamedTuple):
    """Texts, and how they came about."""

    tokens: Tensor
    """[b, L + tokens]."""
    brought: Tensor
    """Tokens that each call of the target brought, [b, call]; 0 once a text was done, which the last may go beyond."""

    @property
    def calls(self) -> Tensor:
        """Calls of the target for each text, [b]."""
        return (self.brought > 0).sum(-1)


def speculate(
    target: Decoder,
    draft: Decoder,
    prompt: Tensor,
    tokens: int,
    gamma: int,
    generator: Stream,
    *,
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> Speculated:
    """prompt[b, L] with so many tokens behind it, of the same law as `generate` of the target, in fewer calls of it.

    A batch of seeds are the texts. The last call may look gamma - 1 tokens beyond the end, within the context.
    """
    decoding = Decoding.of(target, (draft,), temperature, top_p)
    for name, value in (("tokens", tokens), ("gamma", gamma)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise refuse(name, value, "a whole number from 1")
    texts = decoding.texts(prompt)
    end = prompt.shape[-1] + tokens
    if end - 1 + gamma > target.context:
        most = target.context + 1 - gamma - prompt.shape[-1]
        raise refuse("tokens", tokens, f"at most {most}, as the context is {target.context} and gamma {gamma}")
    count, found = len(prompt), list[Tensor]()
    while len(left := (texts.length < end).nonzero()[:, 0]):
        u = generator.uniform((count, 2 * gamma + 1), device=prompt.device)
        longer, brought = decoding.call(texts.at(left), 0, gamma, u[left])
        texts = texts.put(left, longer)
        found.append(torch.zeros_like(texts.length).index_copy(0, left, brought))
    brought = torch.stack(found, -1) if found else texts.length.new_zeros(count, 0)
    return Speculated(texts.tokens[:, :end], brought)

"""Decoders: small transformers that give a law of the next token, of tokens so far.

    x_i = T[token_i] + P[i],    x <- x + Att(norm x),    x <- x + W_2 gelu(W_1 norm x),    logits_i = norm(x)_i W + b

Att is softmax attention in causal order (gamesim.attention): token i sees tokens 0..i. T and P are learned, the head is
not tied to T, hidden rows are four times as wide. Weights may have leading dimensions, and are then as many networks,
each with tokens of its own.

While tokens come one after another, keys and values of those before are remembered, and nothing is computed again:
`begin` and `extend` give what `forward` gives of the whole, and are functions of tensors alone.

Vaswani et al., "Attention is all you need", NeurIPS 2017; normalised first, as in Radford et al., "Language models are
unsupervised multitask learners", 2019.
"""

import copy
import math
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, gelu

from gamesim.attention import Layout, set_attention
from gamesim.attention.blocks import SetAttention
from gamesim.attention.layers import Block, Linear, Norm, count
from gamesim.errors import refuse

SPREAD = 0.02
"""Standard deviation of embeddings before training, as of Radford et al.: larger ones were learned from more slowly."""


class Memory(NamedTuple):
    """Keys and values of the tokens so far, [..., block, context, head, d], and how many those are, long [...]."""

    keys: Tensor
    values: Tensor
    length: Tensor

    def first(self, length: Tensor) -> "Memory":
        """The same, of the first tokens alone: those behind are forgotten."""
        return Memory(self.keys, self.values, length)

    def at(self, runs: Tensor) -> "Memory":
        """That of some runs, where these are the first dimension."""
        return Memory(self.keys[runs], self.values[runs], self.length[runs])


class Decoder(Block):
    """Logits [..., b, L, vocabulary] of the token behind each of tokens [..., b, L], whole numbers below `vocabulary`.

    >>> decoder = Decoder(34).reset(torch.Generator().manual_seed(0))
    >>> decoder(torch.zeros(2, 5, dtype=torch.long)).shape, decoder.size
    (torch.Size([2, 5, 34]), 62290)
    """

    def __init__(self, vocabulary: int, width: int = 48, heads: int = 4, blocks: int = 2, context: int = 49) -> None:
        super().__init__()
        self.vocabulary, self.width, self.heads = count("vocabulary", vocabulary), count("width", width), heads
        self.context = count("context", context)
        self.tokens = nn.Parameter(torch.zeros(vocabulary, width))
        self.places = nn.Parameter(torch.zeros(context, width))
        self.spreads = {"tokens": SPREAD, "places": SPREAD}
        gain = (2 * count("blocks", blocks)) ** -0.5  # as many sums are added up in x
        self.blocks = nn.ModuleList(DecoderBlock(width, heads, gain) for _ in range(blocks))
        self.norm = Norm(width)
        self.head = Linear(width, vocabulary)

    @property
    def sizes(self) -> dict[str, int]:
        """What it was made with."""
        numbers = {name: int(getattr(self, name)) for name in ("vocabulary", "width", "heads")}
        return numbers | {"blocks": len(self.blocks), "context": self.context}

    @property
    def size(self) -> int:
        """Numbers of one network."""
        return sum(math.prod(x.shape[x.dim() - own :]) for x, own in zip(self.parameters(), self.ranks, strict=True))

    @property
    def ranks(self) -> list[int]:
        """Dimensions of each parameter of one network."""
        return [1 if name.endswith(("bias", "scale", "shift")) else 2 for name, _ in self.named_parameters()]

    @property
    def front(self) -> tuple[int, ...]:
        """Leading dimensions of the weights: so many networks."""
        return tuple(self.tokens.shape[:-2])

    def holding(self, weights: tuple[Tensor, ...]) -> Self:
        """The same decoder with other weights, in its own order, and without gradients."""
        other = copy.deepcopy(self)
        own = dict(other.named_parameters())
        fronts = set[tuple[int, ...]]()
        for (name, parameter), given, rank in zip(own.items(), weights, self.ranks, strict=True):
            if given.shape[given.dim() - rank :] != parameter.shape[parameter.dim() - rank :]:
                wanted = f"[..., {', '.join(map(str, parameter.shape[-rank:]))}]"
                raise refuse(f"weights {name}", list(given.shape), wanted)
            fronts.add(tuple(given.shape[: given.dim() - rank]))
            path, _, leaf = name.rpartition(".")
            setattr(other.get_submodule(path), leaf, nn.Parameter(given.detach(), requires_grad=False))
        if len(fronts) > 1:
            raise refuse("weights", f"leading dimensions {sorted(fronts)}", "the same for all")
        return other

    def forward(self, tokens: Tensor) -> Tensor:
        """All tokens at once; leading dimensions begin with those of the weights."""
        self._check(tokens, None)
        length, front = tokens.shape[-1], self.front
        layout = Layout.repeated(length, math.prod(tokens.shape[len(front) : -1]), tokens.device)
        x = looked_up(self.tokens, tokens.reshape(*front, -1)).unflatten(-2, (layout.count, length))
        x = (x + self.places[..., None, :length, :]).flatten(-3, -2)
        for block in self.blocks:
            x = block(x, layout)
        logits: Tensor = self.head(self.norm(x))
        return logits.reshape(*tokens.shape, self.vocabulary)

    def begin(self, batch: tuple[int, ...] = ()) -> Memory:
        """Nothing remembered, for tokens [*batch, L]."""
        shape = (*batch, len(self.blocks), self.context, self.heads, self.width // self.heads)
        return Memory(
            self.tokens.new_zeros(shape),
            self.tokens.new_zeros(shape),
            torch.zeros(batch, dtype=torch.long, device=self.tokens.device),
        )

    def extend(self, memory: Memory, tokens: Tensor) -> tuple[Tensor, Memory]:
        """Logits [..., L, vocabulary] of tokens [..., L] that come behind those remembered; runs may differ in these.

        Without gradients.
        """
        self._check(tokens, memory)
        length, front = tokens.shape[-1], self.front
        places = memory.length[..., None] + torch.arange(length, device=tokens.device)
        keys = Keys.of(memory.length.reshape(-1) + length, self.context)
        queries = Layout.repeated(length, keys.layout.count, tokens.device)
        with torch.no_grad():
            x = looked_up(self.tokens, tokens.reshape(*front, -1)) + looked_up(self.places, places.reshape(*front, -1))
            made = list[Tensor]()
            for n, block in enumerate(self.blocks):
                assert isinstance(block, DecoderBlock)
                q, *new = block.attention.projected(block.first_norm(x))
                seen = list[Tensor]()
                for old, rows in zip((memory.keys, memory.values), new, strict=True):
                    cache = written(old.select(-4, n), places, rows.reshape(*tokens.shape, *rows.shape[-2:]))
                    seen.append(keys.rows(cache))
                    made.append(cache)
                heads = set_attention(q.reshape(-1, *q.shape[-2:]), *seen, cu_q=queries, cu_k=keys.layout, causal=True)
                x = block.mixed(x, heads.reshape(*x.shape))
            logits: Tensor = self.head(self.norm(x)).reshape(*tokens.shape, self.vocabulary)
        return logits, Memory(torch.stack(made[::2], -4), torch.stack(made[1::2], -4), memory.length + length)

    def _check(self, tokens: Tensor, memory: Memory | None) -> None:
        front = self.front
        if tokens.dim() < 1 + len(front) or tokens.shape[: len(front)] != front or tokens.shape[-1] == 0:
            raise refuse("tokens.shape", list(tokens.shape), f"[{''.join(f'{n}, ' for n in front)}..., L]")
        if tokens.dtype != torch.long:
            raise refuse("tokens.dtype", tokens.dtype, "torch.long")
        if tokens.numel():
            low, high = (int(x) for x in tokens.aminmax())
            if low < 0 or high >= self.vocabulary:
                raise refuse("tokens", low if low < 0 else high, f"whole numbers from 0 to {self.vocabulary - 1}")
        if memory is not None and memory.length.shape != tokens.shape[:-1]:
            raise refuse("memory", f"of runs {list(memory.length.shape)}", f"of runs {list(tokens.shape[:-1])}")
        before = 0 if memory is None or not memory.length.numel() else int(memory.length.max())
        if before + tokens.shape[-1] > self.context:
            raise refuse("tokens", f"{before + tokens.shape[-1]} of them", f"at most {self.context}, the context")


class DecoderBlock(Block):
    """x + Att(norm x), then x + W_2 gelu(W_1 norm x); `gain` is that of what is added to x."""

    def __init__(self, width: int, heads: int, gain: float = 1.0) -> None:
        super().__init__()
        self.first_norm = Norm(width)
        self.attention = SetAttention(width, heads, causal=True)
        self.second_norm = Norm(width)
        self.first, self.second = Linear(width, 4 * width), Linear(4 * width, width, gain=gain)
        assert self.attention.out is not None
        self.attention.out.spreads = {"weight": gain * width**-0.5}

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        x = x + self.attention(self.first_norm(x), layout)
        return self.fed(x)

    def mixed(self, x: Tensor, heads: Tensor) -> Tensor:
        """x[..., row, d] after attention whose heads gave heads[..., row, d]."""
        assert self.attention.out is not None
        return self.fed(x + self.attention.out(heads))

    def fed(self, x: Tensor) -> Tensor:
        """What comes after attention."""
        out: Tensor = x + self.second(gelu(self.first(self.second_norm(x))))
        return out


class Keys(NamedTuple):
    """Which rows of a cache are there."""

    layout: Layout
    among: Tensor | None
    """Their places in the flat cache, where runs remember different numbers of tokens."""

    @classmethod
    def of(cls, sizes: Tensor, context: int) -> "Keys":
        layout = Layout.of(sizes)
        return cls(layout, None if layout.even is not None else layout.owners * context + layout.places)

    def rows(self, cache: Tensor) -> Tensor:
        """[row, head, d] of cache[..., context, head, d]."""
        if self.among is None:
            return cache[..., : self.layout.longest, :, :].reshape(-1, *cache.shape[-2:])
        return cache.reshape(-1, *cache.shape[-2:]).index_select(0, self.among)


def written(cache: Tensor, places: Tensor, rows: Tensor) -> Tensor:
    """cache[..., context, head, d] with rows[..., L, head, d] at places[..., L]."""
    return cache.scatter(-3, places[..., None, None].expand(rows.shape), rows)


def looked_up(table: Tensor, at: Tensor) -> Tensor:
    """table[*, n, d] at whole numbers at[*, row]: [*, row, d]."""
    front = table.shape[:-2]
    if not front:
        return embedding(at, table)
    shift = torch.arange(math.prod(front), device=at.device).reshape(*front, 1) * table.shape[-2]
    return embedding(at + shift, table.reshape(-1, table.shape[-1]))

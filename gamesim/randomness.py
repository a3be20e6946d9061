"""Randomness is named, not carried: a number is a function of (seed, iteration, place), so nothing is checkpointed.

A counter-based generator, Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3",
SC 2011), written in tensor arithmetic: a thousand seeds are one batch, seed 7 draws the same numbers alone or among a
thousand, on any device, and a resumed run continues bit for bit. Keys come from `numpy.random.SeedSequence`. On a CPU a
compiled loop draws the same bits where they are many (gamesim.kernels.philox).
"""

import copy
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.kernels import philox as fused

_MASK = 0xFFFFFFFF


def philox(counter: tuple[Tensor, ...], key: tuple[Tensor, ...], rounds: int = 10) -> tuple[Tensor, ...]:
    """Rounds of Philox4x32: four 32-bit counters and two 32-bit keys (int64 tensors) -> four 32-bit words."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(rounds):
        left, right = 0xD2511F53 * c0, 0xCD9E8D57 * c2  # wraps as unsigned would; the high half is masked below
        c0, c1, c2, c3 = (
            ((right >> 32) & _MASK) ^ c1 ^ k0,
            right & _MASK,
            ((left >> 32) & _MASK) ^ c3 ^ k1,
            left & _MASK,
        )
        k0, k1 = (k0 + 0x9E3779B9) & _MASK, (k1 + 0xBB67AE85) & _MASK
    return c0, c1, c2, c3


class Stream:
    """The random numbers of one iteration, for one seed or for a batch of seeds (then the leading dimension).

    >>> alone, together = Stream(7, iteration=3), Stream([1, 7], iteration=3)
    >>> torch.equal(alone.normal((2,)), together.normal((2, 2))[1])
    True
    """

    def __init__(self, seed: int | Sequence[int], iteration: int = 0) -> None:
        self.seeds = seed
        self.iteration = iteration
        self._drawn = 0
        try:
            many = [seed] if isinstance(seed, int) else list(seed)
            keys = np.stack([np.random.SeedSequence(s).generate_state(2, np.uint32) for s in many]).astype(np.int64)
        except (TypeError, ValueError):
            raise refuse("seed", seed, "a whole number from 0, or several of them") from None
        self._keys = torch.from_numpy(keys)

    def at(self, iteration: int) -> "Stream":
        """The stream of the same seeds at another iteration."""
        other = object.__new__(Stream)
        other.seeds, other.iteration, other._drawn, other._keys = self.seeds, iteration, 0, self._keys
        return other

    def split(self, draws: int = 2**20) -> "list[Stream]":
        """The stream of each seed of a batch, from here on; so many draws of this one are set aside for them."""
        seeds = [self.seeds] if isinstance(self.seeds, int) else list(self.seeds)
        streams = []
        for seed, key in zip(seeds, self._keys, strict=True):
            one = object.__new__(Stream)
            one.seeds, one.iteration, one._drawn, one._keys = seed, self.iteration, self._drawn, key[None]
            streams.append(one)
        self._drawn += draws
        return streams

    def aside(self, draws: int = 2**20) -> "Stream":
        """This stream from here on, for somebody who may draw more or less often; so many draws are set aside."""
        other = copy.copy(self)
        self._drawn += draws
        return other

    @property
    def front(self) -> tuple[int, ...]:
        """The leading dimension of every draw: none of a single seed, else how many there are."""
        return () if isinstance(self.seeds, int) else (len(self._keys),)

    def alike(self, batch: Sequence[int]) -> tuple[int, ...]:
        """The leading dimensions of a draw for a run of this batch: own numbers of each seed, the same for the rest.

        >>> Stream([1, 7]).alike((2, 5, 4)), Stream(7).alike((5, 4))
        ((2, 1, 1), (1, 1))
        """
        return (*self.front, *[1] * (len(batch) - len(self.front)))

    @property
    def keys(self) -> Tensor:
        """The key of each seed, [b, 2], of numbers below 2^32."""
        return self._keys

    def take(self) -> tuple[Tensor, int, int]:
        """What names the numbers of one draw, for a kernel that makes them itself: keys[b, 2], iteration, draw."""
        draw, self._drawn = self._drawn, self._drawn + 1
        return self._keys, self.iteration, draw

    def uniform(
        self, shape: Sequence[int], dtype: torch.dtype = torch.float64, device: object = "cpu", start: int = 0
    ) -> Tensor:
        """Uniform on the open interval (0, 1). With a batch of seeds shape[0] must be their number.

        With `start` it is the part of a longer draw of each seed that begins there: pieces make up the whole.
        """
        shape = tuple(shape)
        batch = len(self._keys)
        if self.front and shape[:1] != self.front:
            raise ValueError(f"Stream.uniform: {batch} seeds need a shape that begins with {batch}, got {shape}")
        each = math.prod(shape) // batch
        keys, iteration, draw = self.take()
        key = keys.to(torch.device(str(device)))
        digits = 52 if dtype == torch.float64 else 23  # one less than the format has: none rounds to 0 or 1
        if fused.serves(key, math.prod(shape)):
            return fused.uniform(key, start, iteration, draw, digits, each).reshape(shape).to(dtype)
        place = torch.arange(start, start + each, device=key.device)
        here = (torch.full_like(place, iteration), torch.full_like(place, draw))
        words = philox((place & _MASK, place >> 32, *here), (key[:, :1], key[:, 1:]))
        bits = ((words[0] << 20) | (words[1] >> 12)) >> (52 - digits)
        return ((bits.to(torch.float64) + 0.5) * 2.0**-digits).reshape(shape).to(dtype)

    def quick(self, shape: Sequence[int], dtype: torch.dtype = torch.float64, device: object = "cpu") -> Tensor:
        """Uniform numbers of 32 bits (of 23 in float32), for draws of actions: four to a block of seven rounds.

        Seven rounds pass every test of BigCrush in the paper, and a compiled loop can make the same numbers in a few
        cycles. Shapes are those of `uniform`.
        """
        shape = tuple(shape)
        batch = len(self._keys)
        if self.front and shape[:1] != self.front:
            raise ValueError(f"Stream.quick: {batch} seeds need a shape that begins with {batch}, got {shape}")
        each = math.prod(shape) // batch
        keys, iteration, draw = self.take()
        key = keys.to(torch.device(str(device)))
        digits = 32 if dtype == torch.float64 else 23
        if fused.serves(key, math.prod(shape)):
            return fused.quick(key, iteration, draw, digits, each).reshape(shape).to(dtype)
        block = torch.arange((each + 3) // 4, device=key.device)
        here = (torch.full_like(block, iteration), torch.full_like(block, draw))
        words = philox((block, torch.zeros_like(block), *here), (key[:, :1], key[:, 1:]), rounds=7)
        bits = torch.stack(torch.broadcast_tensors(*words), -1).flatten(-2)[..., :each]
        return (((bits >> (32 - digits)).to(torch.float64) + 0.5) * 2.0**-digits).reshape(shape).to(dtype)

    def normal(self, shape: Sequence[int], dtype: torch.dtype = torch.float64, device: object = "cpu") -> Tensor:
        """Standard normal numbers, by the inverse distribution function."""
        normal: Tensor = torch.special.ndtri(self.uniform(shape, torch.float64, device))
        return normal.to(dtype)

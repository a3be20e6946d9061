"""Pieces of different lengths in one tensor, gathered without a loop."""

import torch
from torch import Tensor


def gather_pieces(starts: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of pieces that begin at `starts` and have `sizes`, both int64 [b]: rows [r] and offsets [b + 1].

    >>> gather_pieces(torch.tensor([4, 0]), torch.tensor([2, 3]))
    (tensor([4, 5, 0, 1, 2]), tensor([0, 2, 5]))
    """
    count = len(sizes)
    longest = int(sizes.max()) if count else 0
    if count and int(sizes.min()) == longest:  # all alike, as in most minibatches: no search for owners
        within = torch.arange(longest, device=starts.device)
        return (starts[:, None] + within).flatten(), torch.arange(count + 1, device=starts.device) * longest
    offsets = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
    total = int(offsets[-1])
    owners = torch.repeat_interleave(torch.arange(count, device=starts.device), sizes, output_size=total)
    return torch.arange(total, device=starts.device) + (starts - offsets[:-1])[owners], offsets

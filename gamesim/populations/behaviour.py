"""A policy for sampling that moves the population about, so that what agents make of a crowd shows in the data.

Under the uniform policy a population may hardly move, and the response to its parts is not identified. Here everyone
follows the same random desires, which change every few steps of the game:

    pi_h(a | s) = softmax(strength g_{h // stretch}(s, a)),    g standard normal
"""

import torch

from gamesim.errors import refuse
from gamesim.games import GraphonGame, Policy
from gamesim.randomness import Stream

ITERATION = 2**32 - 40
"""Of the random numbers here: agents that are sampled with the same seed must not share them."""


def roam(game: GraphonGame, seed: int = 0, *, strength: float = 3.0, stretch: int = 5) -> Policy:
    """The policy of one draw of desires, the same at every position: [h, k, s, a]."""
    if not 0 < strength < float("inf"):
        raise refuse("strength", strength, "a number above 0")
    if stretch < 1:
        raise refuse("stretch", stretch, "at least 1 step")
    (like,) = game.start()
    steps, _, states, actions = like.shape[-4:]
    desires = Stream(seed, ITERATION).normal((-(-steps // stretch), 1, states, actions), like.dtype, like.device)
    moods = desires.repeat_interleave(stretch, 0)[:steps]
    return (torch.softmax(strength * moods, -1).expand(like.shape[-4:]).contiguous(),)

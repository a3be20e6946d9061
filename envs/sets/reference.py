"""Each of two agents knows where the other one should go, and can only tell.

With g(i) the landmark that agent i knows and i' the other agent,

    r_i = (1 - rho) (l_1 + l_2) / 2 + rho l_i,    l_i = -|x_i' - y_g(i)|,    rho = local_ratio

This is simple_reference_v3 of mpe2 1.1.1, after Lowe et al., NeurIPS 2017.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, final

import torch
from torch import Tensor

from gamesim.envs.sets.discs import Choice, Precision, Radius, Share
from gamesim.envs.sets.moves import Outside
from gamesim.envs.sets.talking import LANDMARKS, MOVES, Talking
from gamesim.games.worlds import Particles
from gamesim.parameters import Count, Device

WORDS, PALE, BRIGHT = 10, 0.25, 0.5


@final
@dataclass(frozen=True, kw_only=True)
class Reference(Talking):
    """Tell the other where to go, and go where you are told; cooperative."""

    variant: Literal["mpe2"] = "mpe2"
    """The definition that holds."""
    actions: Choice = "discrete"
    """Move + 5 word, or a force in [-1, 1]^2 and ten words in [0, 1]."""
    steps: Count = 25
    """Steps of an episode."""
    local_ratio: Share = 0.5
    """Weight of the way that the agent itself tells."""
    radius: Radius | None = None
    """Half the side of the square that everything begins in; none for 1."""
    outside: Outside = "clip"
    """What is done with numbers of an action beyond their bounds."""
    device: Device = "cpu"
    """Where tensors live."""
    dtype: Precision = "float32"
    """Precision of all numbers."""

    kinds_of_entity = ("agent", "landmark")
    words = WORDS
    knowing = 2
    action_count = MOVES * WORDS
    action_size = 2 + WORDS
    features = ("x", "y", "vx", "vy", *(f"colour_{i}" for i in range(LANDMARKS)), *(f"said_{i}" for i in range(WORDS)))
    strengths = (5.0, 5.0)

    @cached_property
    def types(self) -> Tensor:
        return torch.tensor([0, 0] + [1] * LANDMARKS, dtype=torch.uint8, device=self.device)

    @cached_property
    def speaking(self) -> Tensor:
        return torch.ones(2, **self.like)

    def rewards(self, state: Particles) -> Tensor:
        other = state.position[..., :2, :].flip(-2)
        own = -(other - self.target(state)).square().sum(-1).sqrt()
        return (1 - self.local_ratio) * own.mean(-1, keepdim=True) + self.local_ratio * own

    def observations(self, state: Particles) -> Tensor:
        """[..., 2, 21]: own velocity, landmarks, the colour of the goal, what the other said."""
        velocity, _, landmarks, _ = self.relative(state)
        said, goals = state.extra
        colour = PALE + BRIGHT * torch.nn.functional.one_hot(goals, LANDMARKS).to(said.dtype)
        return torch.cat([torch.cat([velocity, landmarks], -2).flatten(-2), colour, said.flip(-2)], -1)

"""A speaker knows where the listener should go and cannot move; the listener hears three words and is mute.

With g the landmark that the speaker knows, both are paid r = -|x_listener - y_g|^2. This is simple_speaker_listener_v4
of mpe2 1.1.1, after Lowe et al., NeurIPS 2017. Both have the same actions, a move and a word: what an agent cannot do
it leaves undone.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, final

import torch
from torch import Tensor

from gamesim.envs.sets.discs import Choice, Precision, Radius
from gamesim.envs.sets.moves import Outside
from gamesim.envs.sets.talking import LANDMARKS, MOVES, Talking
from gamesim.games.worlds import Particles
from gamesim.parameters import Count, Device

WORDS, PALE, BRIGHT = 3, 0.15, 0.5


@final
@dataclass(frozen=True, kw_only=True)
class SpeakerListener(Talking):
    """One knows the way and one can walk; cooperative."""

    variant: Literal["mpe2"] = "mpe2"
    """The definition that holds."""
    actions: Choice = "discrete"
    """Move + 5 word, or a force in [-1, 1]^2 and three words in [0, 1]."""
    steps: Count = 25
    """Steps of an episode."""
    radius: Radius | None = None
    """Half the side of the square that everything begins in; none for 1."""
    outside: Outside = "clip"
    """What is done with numbers of an action beyond their bounds."""
    device: Device = "cpu"
    """Where tensors live."""
    dtype: Precision = "float32"
    """Precision of all numbers."""

    kinds_of_entity = ("speaker", "listener", "landmark")
    words = WORDS
    knowing = 1
    action_count = MOVES * WORDS
    action_size = 2 + WORDS
    features = ("x", "y", "vx", "vy", *(f"colour_{i}" for i in range(LANDMARKS)), *(f"said_{i}" for i in range(WORDS)))
    strengths = (0.0, 5.0)

    @property
    def names(self) -> tuple[str, ...]:
        return "speaker_0", "listener_0"

    @cached_property
    def types(self) -> Tensor:
        return torch.tensor([0, 1] + [2] * LANDMARKS, dtype=torch.uint8, device=self.device)

    @cached_property
    def speaking(self) -> Tensor:
        return torch.tensor([1.0, 0.0], **self.like)

    def choices(self, agent: int) -> int:
        return MOVES if agent else WORDS

    def own(self, agent: int) -> list[int]:
        return [0, 1] if agent else list(range(2, 2 + WORDS))

    def whole(self, agent: int, action: Tensor) -> Tensor:
        if self.actions == "discrete":
            return action if agent else MOVES * action
        return torch.cat([action, action.new_zeros(WORDS)] if agent else [action.new_zeros(2), action])

    def rewards(self, state: Particles) -> Tensor:
        off = (state.position[..., 1, :] - self.target(state)[..., 0, :]).square().sum(-1, keepdim=True)
        return -off.expand(*off.shape[:-1], 2)

    def observations(self, state: Particles) -> tuple[Tensor, Tensor]:
        """The colour of the goal, [..., 1, 3]; velocity, landmarks and the word that was said, [..., 1, 11]."""
        velocity, _, landmarks, _ = self.relative(state)
        said, goals = state.extra
        colour = PALE + BRIGHT * torch.nn.functional.one_hot(goals[..., :1], LANDMARKS).to(said.dtype)
        heard = torch.cat([velocity, landmarks], -2)[..., 1:, :, :].flatten(-2)
        return colour, torch.cat([heard, said[..., :1, :]], -1)

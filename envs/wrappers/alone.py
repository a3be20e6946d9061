"""A game as a gymnasium environment: one player learns, the others keep to fixed policies."""

from typing import Any

import gymnasium
import numpy as np
import torch

from gamesim.envs.wrappers.walks import Observe, Walk, shown, state_space
from gamesim.errors import refuse
from gamesim.games import NormalFormGame, Policy, TabularGame
from gamesim.games.game import require_policy


class OnePlayer(gymnasium.Env[Any, Any]):
    """One player of a game: observes the state (of a normal-form game always the same) and is paid its own reward."""

    def __init__(
        self,
        game: TabularGame | NormalFormGame,
        player: int,
        opponents: Policy | None,
        rounds: int | None,
        observe: Observe,
        longest: int | None,
    ) -> None:
        self.metadata = {"render_modes": []}
        self.render_mode = None
        self.game, self.player, self.rounds, self.observe, self.longest = game, player, rounds, observe, longest
        self.walk = Walk(game) if isinstance(game, TabularGame) else None
        self.states = self.walk.states if self.walk else 1
        self.below = _below(game, player, opponents)
        self.observation_space = state_space(self.states, observe)
        self.action_space = gymnasium.spaces.Discrete(game.action_counts[player])
        self.now, self.played, self.over = 0, 0, True

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """A first state; with a seed all that follows is determined, without one luck goes on."""
        super().reset(seed=seed)
        self.played, self.over = 0, False
        self.now = self.walk.begin(self.np_random) if self.walk else 0
        return shown(self.now, self.states, self.observe), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self.over:
            raise refuse("step", "an episode that is over", "reset() first")
        if not self.action_space.contains(action):
            raise refuse("action", action, f"a whole number from 0 to {self.game.action_counts[self.player] - 1}")
        luck = self.np_random
        chosen = [int(np.searchsorted(x[self.now], luck.random(), side="right")) for x in self.below]
        chosen[self.player] = int(action)
        self.played += 1
        if self.walk:
            rewards, after = self.walk.step(self.now, chosen, luck)
            paid, over = rewards[self.player], after is None
            self.now = self.now if after is None else after
        else:
            actions = torch.tensor(chosen, device=self.game.like["device"])
            paid, over = float(self.game.play(actions)[self.player]), self.played >= (self.rounds or 1)  # type: ignore[union-attr]
        cut = not over and self.longest is not None and self.played >= self.longest
        self.over = over or cut
        return shown(self.now, self.states, self.observe), paid, over, cut, {}


def _below(game: Any, player: int, opponents: Policy | None) -> list[Any]:
    """What everyone's actions are drawn by, cumulative probabilities [s, a]; the learner's own are not used."""
    policy: Policy = game.start()
    if opponents is not None:
        given = tuple(opponents)
        if len(given) == len(policy) - 1:
            given = (*given[:player], policy[player], *given[player:])
        require_policy(given, policy, "opponents")
        extra = [i for i, (x, like) in enumerate(zip(given, policy, strict=True)) if x.shape != like.shape]
        if extra:
            raise refuse(f"opponents[{extra[0]}]", f"shape {list(given[extra[0]].shape)}", "one policy, not a batch")
        policy = given
    return [x.detach().cpu().double().cumsum(-1)[..., :-1].reshape(-1, x.shape[-1] - 1).numpy() for x in policy]

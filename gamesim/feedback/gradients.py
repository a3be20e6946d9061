"""A game seen through its gradients, so that every oracle of values is one of gradients as well."""

from typing import Any

from gamesim.games import Policy


class Gradients:
    """A stochastic game whose feedback is v_i(s, a) = d(s) Q_i(s, a)."""

    def __init__(self, game: Any) -> None:
        self._game = game

    def feedback(self, policy: Policy, temperature: Any = 0.0) -> Policy:
        found: Policy = self._game.gradients(policy)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._game, name)

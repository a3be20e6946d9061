"""A solver around a solver: what needs and measures the inner one has are its own."""

from typing import Any

from gamesim.games.game import Game


class Around:
    """A solver that holds another one as `solver`."""

    solver: Any

    @property
    def requires(self) -> Any:
        return getattr(self.solver, "requires", Game)

    @property
    def measures(self) -> Any:
        return getattr(self.solver, "measures", {})

    @property
    def limits(self) -> Any:
        return getattr(self.solver, "limits", lambda game: {})

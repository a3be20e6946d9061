"""Games of other libraries as normal-form games."""

from math import log10, prod
from typing import Any

import torch

from gamesim.errors import MissingExtra, refuse
from gamesim.games.matrix import LARGEST, MatrixGame

COURSES = 7
"""Digits of the number of courses of play, actions to the power of moves, of a game in many moves, at most."""


def from_openspiel(game: Any) -> MatrixGame:
    """An OpenSpiel game by its string, as "matrix_rps" or "blotto(coins=5,fields=3,players=2)", or as a pyspiel object.

    Games played in one shot keep their actions. Other finite ones become their full normal form: an action is then a
    plan, what to do at each information state, and only small games fit (`kuhn_poker` has 64 plans for each player).
    """
    try:
        import pyspiel
    except ImportError:
        raise MissingExtra("from_openspiel() needs OpenSpiel: pip install open_spiel") from None
    try:
        game = pyspiel.load_game(game) if isinstance(game, str) else game
        if not isinstance(game, pyspiel.Game):
            raise refuse("game", type(game).__name__, "the string of an OpenSpiel game, or a game of pyspiel")
        title = str(game)
        if not isinstance(game, pyspiel.MatrixGame | pyspiel.TensorGame):
            game = _in_one_shot(game, title, pyspiel)
    except pyspiel.SpielError as error:
        said = str(error).splitlines()[0].partition("Available games")[0].strip()
        raise refuse("game", str(game), f"a game of OpenSpiel that has a normal form; it says: {said}") from None
    if isinstance(game, pyspiel.MatrixGame):
        names = (map(game.row_action_name, range(game.num_rows())), map(game.col_action_name, range(game.num_cols())))
        actions = tuple(map(tuple, names))
        return MatrixGame.bimatrix(game.row_utilities(), game.col_utilities(), actions=actions, title=title)
    counts = tuple(game.shape())
    payoffs = [torch.as_tensor(game.player_utilities(i), dtype=torch.float64) for i in range(len(counts))]
    actions = tuple(tuple(_in_one_line(game.action_name(i, a)) for a in range(k)) for i, k in enumerate(counts))
    tensor = torch.stack([u.reshape(counts) for u in payoffs])
    return MatrixGame(tensor, actions=actions, player_count=len(counts), title=title)


def _in_one_shot(game: Any, title: str, pyspiel: Any) -> Any:
    """The tensor game of any finite game, refused before it is built where it would not fit."""
    if game.get_type().information == pyspiel.GameType.Information.ONE_SHOT:
        return pyspiel.load_tensor_game(title)
    courses = game.max_game_length() * log10(max(2, game.num_distinct_actions()))
    if courses > COURSES:  # OpenSpiel would count the plans of chess for ever
        shown = f"{title}, up to {game.num_distinct_actions()} actions in {game.max_game_length()} moves"
        raise refuse("game", shown, f"about 10^{COURSES} courses of play at most")
    players = range(game.num_players())
    plans = [pyspiel.num_deterministic_policies(game, i) for i in players]
    if min(plans) < 0 or len(plans) * prod(plans) > LARGEST:  # below 0: more than 64 bits can count
        shown = " x ".join("too many" if count < 0 else f"{count:,}" for count in plans)
        raise refuse("game", f"{title}, {shown} plans", f"at most {LARGEST:,} payoffs")
    return pyspiel.extensive_to_tensor_game(game)


def _in_one_line(name: str) -> str:
    return "; ".join(" ".join(line.split()) for line in name.splitlines() if line.strip())

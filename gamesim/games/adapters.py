"""Games of other libraries as normal-form games and as stochastic games."""

from collections import deque
from functools import reduce
from itertools import product
from math import isqrt, log10, prod
from typing import Any

import numpy as np
import torch

from gamesim.errors import missing_extra, refuse
from gamesim.games.matrix import LARGEST, MatrixGame
from gamesim.games.stochastic import StochasticGame
from gamesim.games.transitions import Sparse
from gamesim.parameters import Count, Fraction, convert

COURSES = 7
"""Digits of the number of courses of play, actions to the power of moves, of a game in many moves, at most."""


def from_openspiel(game: Any) -> MatrixGame:
    """An OpenSpiel game by its string, as "matrix_rps" or "blotto(coins=5,fields=3,players=2)", or as a pyspiel object.

    Games played in one shot keep their actions. Other finite ones become their full normal form: an action is then a
    plan, what to do at each information state, and only small games fit (`kuhn_poker` has 64 plans for each player).
    """
    pyspiel = _pyspiel("from_openspiel")
    try:
        game = _loaded(game, pyspiel)
        title = str(game)
        if not isinstance(game, pyspiel.MatrixGame | pyspiel.TensorGame):
            game = _in_one_shot(game, title, pyspiel)
    except pyspiel.SpielError as error:
        raise refuse(
            "game", str(game), f"a game of OpenSpiel that has a normal form; it says: {_said(error)}"
        ) from None
    if isinstance(game, pyspiel.MatrixGame):
        names = (map(game.row_action_name, range(game.num_rows())), map(game.col_action_name, range(game.num_cols())))
        actions = tuple(map(tuple, names))
        return MatrixGame.bimatrix(game.row_utilities(), game.col_utilities(), actions=actions, title=title)
    counts = tuple(game.shape())
    payoffs = [torch.as_tensor(game.player_utilities(i), dtype=torch.float64) for i in range(len(counts))]
    actions = tuple(tuple(_in_one_line(game.action_name(i, a)) for a in range(k)) for i, k in enumerate(counts))
    tensor = torch.stack([u.reshape(counts) for u in payoffs])
    return MatrixGame(tensor, actions=actions, player_count=len(counts), title=title)


def stochastic_from_openspiel(game: Any, discount: float = 0.99, states: int = 10_000) -> StochasticGame:
    """An OpenSpiel game of perfect information, in turns or at once, as a stochastic game of at most so many states.

    A state is what the game prints of itself and whose turn it is; chance is averaged out. Who has no turn chooses
    without effect, and an action that is illegal stands for the next legal one, from the last on for the first. Play
    stops where the game ends; everywhere a stochastic game wants to stop with positive probability, hence the discount.
    A horizon that is not printed is not seen: such a game goes on for ever.

    `stochastic_from_openspiel("tic_tac_toe")` has 4,520 states.
    """
    pyspiel = _pyspiel("stochastic_from_openspiel")
    if discount != 1:
        discount = convert(discount, Fraction, "discount")
    limit, most = convert(states, Count, "states"), isqrt(LARGEST)
    if limit > most:
        raise refuse("states", f"{limit:,}", f"at most {most:,}: values take a system of S x S numbers")
    try:
        game = _loaded(game, pyspiel)
        kind, title = game.get_type(), str(game)
        Kind = pyspiel.GameType
        if kind.information == Kind.Information.IMPERFECT_INFORMATION:
            raise refuse("game", f"{title}, of imperfect information", "one where all see the state; or from_openspiel")
        if kind.dynamics == Kind.Dynamics.MEAN_FIELD or kind.chance_mode == Kind.ChanceMode.SAMPLED_STOCHASTIC:
            raise refuse(
                "game",
                f"{title}, {kind.dynamics}, {kind.chance_mode}",
                "turns or simultaneous moves, and known chances",
            )
        counts = (game.num_distinct_actions(),) * game.num_players()
        return _states_of(game, counts, discount, limit, title)
    except pyspiel.SpielError as error:
        raise refuse(
            "game", str(game), f"a game of OpenSpiel whose states can be told; it says: {_said(error)}"
        ) from None


def _states_of(game: Any, counts: tuple[int, ...], discount: float, limit: int, title: str) -> StochasticGame:
    """Breadth first through the states of a game."""
    players, joint = len(counts), prod(counts)
    places, rows, waiting = dict[Any, int](), list[Any](), deque[Any]()

    def place(state: Any) -> int:
        key = (int(state.current_player()), state.to_string())
        if key not in places:
            if len(places) == limit:
                raise refuse("game", f"{title}, more than {limit:,} states", "fewer; `states` says how many at most")
            if (len(places) + 1) * joint * (players + 2) > LARGEST:
                shown = f"{title}, {len(places) + 1:,} states and more x {joint:,} joint actions"
                raise refuse("game", shown, f"at most {LARGEST:,} numbers")
            places[key] = len(places)
            waiting.append(state)
        return places[key]

    initial = [(p, place(state)) for p, state in _outcomes(game.new_initial_state()) if not state.is_terminal()]
    while waiting:
        rows.append(_row(waiting.popleft(), counts, place))
    width = max(1, *(len(after) for row in rows for after, _ in row[1]))
    reward = np.zeros((players, len(rows), *counts))
    successors = np.zeros((len(rows), *counts, width), dtype=np.int64)
    probabilities = np.zeros((len(rows), *counts, width))
    for s, (which, answers) in enumerate(rows):  # which[a1, ..., an] of the answers a joint action gets
        laws, chances = np.zeros((len(answers), width), dtype=np.int64), np.zeros((len(answers), width))
        for k, (after, _) in enumerate(answers):
            for j, (p, t) in enumerate(after):
                laws[k, j], chances[k, j] = t, p
        successors[s], probabilities[s] = laws[which], chances[which]
        reward[:, s] = np.moveaxis(np.array([paid for _, paid in answers])[which], -1, 0)
    rho = np.zeros(len(rows))
    for p, s in initial:
        rho[s] += p
    return StochasticGame(
        torch.from_numpy(reward),
        Sparse(torch.from_numpy(successors), torch.from_numpy(probabilities)),
        torch.from_numpy(rho),
        discount,
        states=tuple(_in_one_line(text) for _, text in places),
        player_count=players,
        title=title,
    )


def _row(state: Any, counts: tuple[int, ...], place: Any) -> tuple[Any, list[tuple[list[tuple[float, int]], Any]]]:
    """What joint actions lead to: which[a1, ..., an] of the answers, each the next states and everybody's rewards."""
    together, before = state.is_simultaneous_node(), np.array(state.returns())
    movers = range(len(counts)) if together else [state.current_player()]
    legal = {i: state.legal_actions(i) or [0] for i in movers}
    instead = [np.zeros(count, dtype=np.int64) for count in counts]
    for i in movers:
        instead[i] = np.searchsorted(legal[i], np.arange(counts[i])) % len(legal[i])
    answers = []
    for chosen in product(*(legal[i] for i in movers)):
        child = state.clone()
        if together:
            child.apply_actions(list(chosen))
        else:
            child.apply_action(chosen[0])
        after, paid = list[tuple[float, int]](), -before
        for p, end in _outcomes(child):
            paid = paid + p * np.array(end.returns())
            if not end.is_terminal():
                after.append((p, place(end)))
        answers.append((after, paid))
    sizes = [len(legal[i]) if i in legal else 1 for i in range(len(counts))]
    which = reduce(
        lambda found, i: found[..., None] * sizes[i] + instead[i], range(len(counts)), np.zeros((), dtype=np.int64)
    )
    return which, answers


def _outcomes(state: Any) -> list[tuple[float, Any]]:
    """The states that chance may leave one in, with their probabilities, where somebody moves or the game is over."""
    found, waiting = list[tuple[float, Any]](), [(1.0, state)]
    while waiting:
        p, here = waiting.pop()
        if not here.is_chance_node():
            found.append((p, here))
            continue
        for outcome, chance in here.chance_outcomes():
            waiting.append((p * chance, here.child(outcome)))
    return found


def _pyspiel(asking: str) -> Any:
    try:
        import pyspiel
    except ImportError:
        raise missing_extra(f"{asking}()", "OpenSpiel", "gamesim[peers]") from None
    return pyspiel


def _loaded(game: Any, pyspiel: Any) -> Any:
    game = pyspiel.load_game(game) if isinstance(game, str) else game
    if not isinstance(game, pyspiel.Game):
        raise refuse("game", type(game).__name__, "the string of an OpenSpiel game, or a game of pyspiel")
    return game


def _said(error: Exception) -> str:
    return str(error).splitlines()[0].partition("Available games")[0].strip()


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

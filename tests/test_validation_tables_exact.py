"""What games are made of, to the boundary and to the letter: the line names the first bad place in payoffs, tables of
states, and the steps of a crowd."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, nan
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gamesim.games import GraphonGame, MatrixGame, StochasticGame
from gamesim.games.matrix import action_counts, as_payoffs, as_tensor
from gamesim.games.tables import action_counts as counts_of_rewards
from gamesim.games.tables import require_kinds
from gamesim.games.transitions import Sparse
from gamesim.parameters import Count
from refusals import f64, said

# --- payoffs --------------------------------------------------------------------------------------------------------


def test_payoffs_are_checked_to_the_first_bad_place() -> None:
    assert as_payoffs([[[1, 2]]], player_count=1).dtype == torch.float64
    assert as_payoffs(torch.zeros(2, 1, 1)).shape == (2, 1, 1)
    u = torch.zeros(2, 2, 2)
    u[1, 0, 1], u[1, 1, 0] = nan, inf
    assert said(lambda: as_payoffs(u)) == "payoffs[1, 0, 1]: got nan, expected a finite payoff"
    u[0, 1, 1] = -inf
    assert said(lambda: as_payoffs(u, "u")) == "u[0, 1, 1]: got -inf, expected a finite payoff"
    assert said(lambda: as_payoffs(torch.zeros(2, 0, 3))) == (
        "payoffs: got a player without actions: shape [2, 0, 3], expected at least one action for each player"
    )
    assert said(lambda: as_payoffs(torch.zeros(0, 2, 3, 3), player_count=2)) == (
        "payoffs: got an empty batch: shape [0, 2, 3, 3], expected at least one game"
    )
    large = torch.zeros(1, dtype=torch.float64).expand(2, 10**8 // 2 + 1, 1)
    assert said(lambda: as_payoffs(large)) == (
        "payoffs: got 100,000,002 numbers, expected at most 100,000,000; a larger game needs a structured class"
    )


def test_payoffs_are_at_most_as_many_as_memory_should_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gamesim.games.matrix.LARGEST", 8)
    assert as_payoffs(torch.zeros(2, 2, 2)).shape == (2, 2, 2)
    assert said(lambda: as_payoffs(torch.zeros(1, 9))).startswith("payoffs: got 9 numbers, expected at most 8;")


def test_the_number_of_players_is_the_largest_that_fits() -> None:
    assert action_counts(torch.zeros(1, 4)) == (4,)
    assert action_counts(torch.zeros(2, 3, 4)) == (3, 4)
    assert action_counts(torch.zeros(3, 2, 3, 3)) == (2, 3, 3)  # three players, not three games of two
    assert action_counts(torch.zeros(3, 2, 3, 3), 2) == (3, 3)
    assert action_counts(torch.zeros(5, 1, 4)) == (4,)
    for shape, n, players in (
        ((4, 4), None, "as many players as"),
        ((4,), None, "as many players as"),
        ((2, 3, 4), 3, "3 players and"),
        ((2, 3, 4), 1, "1 players and"),
        ((2, 3, 4), 0, "0 players and"),
        ((2, 0), 0, "0 players and"),
        ((2, 3, 4), 4, "4 players and"),
    ):
        assert said(lambda s=shape, n=n: action_counts(torch.zeros(s), n)) == (
            f"payoffs: got shape {list(shape)}, expected [..., player, a1, ..., an]: {players} dimensions of actions"
        )


def test_numbers_become_tensors_and_nothing_else_does() -> None:
    whole = torch.tensor([1, 2])
    assert as_tensor(whole, "x").dtype == torch.float64
    single = torch.tensor([1.0])
    assert as_tensor(single, "x") is single
    assert as_tensor(np.array([1, 2], dtype=np.int8), "x").tolist() == [1.0, 2.0]
    assert as_tensor([True, False], "x").tolist() == [1.0, 0.0]
    assert as_tensor(np.array([1, 2.5], dtype=object).reshape(2, 1), "x").tolist() == [[1.0], [2.5]]
    assert as_tensor(["1", "2.5"], "x").tolist() == [1.0, 2.5]
    for odd in (torch.zeros(1, dtype=torch.complex64), torch.eye(2).to_sparse(), torch.zeros(2, device="meta")):
        assert said(lambda x=odd: as_tensor(x, "x")).startswith(
            f"x: got dtype {odd.dtype}, {odd.layout} on {odd.device}"
        )
    for bad in ([[1, 2], [3]], [None], [1j], ["a"], object()):
        assert said(lambda bad=bad: as_tensor(bad, "x")) == (
            f"x: got {type(bad).__name__}, expected a tensor, an array or nested lists of numbers"
        )


def test_names_of_a_matrix_game_are_one_for_each() -> None:
    game = MatrixGame(torch.zeros(2, 2, 3), players=("a", "b"), actions=(("x", "y"), ("p", "q", "r")))
    assert (game.players, game.actions) == (("a", "b"), (("x", "y"), ("p", "q", "r")))
    plain = MatrixGame(torch.zeros(2, 2, 3))
    assert (plain.players, plain.actions) == (("1", "2"), (("1", "2"), ("1", "2", "3")))
    assert said(lambda: MatrixGame(torch.zeros(2, 2, 3), players=("a",))) == (
        "players: got 1 names, expected 2, one per player"
    )
    assert said(lambda: MatrixGame(torch.zeros(2, 2, 3), actions=(("x", "y"), ("p", "q")))) == (
        "actions: got [2, 2] names, expected [2, 3], one per action of each player"
    )
    assert MatrixGame(torch.zeros(3, 2, 3, 3), player_count=2).batch == (3,)
    assert "3 players" not in said(lambda: MatrixGame(torch.zeros(3, 2, 3, 3), player_count=4))


def test_two_matrices_must_fit() -> None:
    game = MatrixGame.bimatrix([[1, 2, 3]], torch.zeros(5, 1, 3))
    assert (game.batch, game.action_counts) == ((5,), (1, 3))
    assert MatrixGame.bimatrix(torch.zeros(5, 1, 3), [[1, 2, 3]]).batch == (5,)
    assert said(lambda: MatrixGame.bimatrix([1, 2], [[1, 2]])) == "first: got shape [2], expected a matrix [a1, a2]"
    assert said(lambda: MatrixGame.bimatrix([[1, 2]], [1, 2])) == "second: got shape [2], expected a matrix [a1, a2]"
    assert said(lambda: MatrixGame.bimatrix(torch.zeros(3, 1, 2), torch.zeros(2, 1, 2))) == (
        "second: got shape [2, 1, 2], expected as many games as in [3, 1, 2]"
    )
    for other in ([[1, 2, 3]], [[1, 2], [3, 4]]):
        assert said(lambda b=other: MatrixGame.bimatrix([[1, 2]], b)) == (
            f"second: got shape {[len(other), len(other[0])]}, expected the shape of the first, [1, 2]"
        )


def test_exact_payoffs_are_of_one_game() -> None:
    game = MatrixGame.bimatrix([[0.5, 2]], [[3, 0.1]])
    assert game.rational(0, (0, 0)) * 2 == 1
    assert game.rational(1, (0, 1)) == 0.1
    exact = MatrixGame(torch.zeros(1, 2), exact=lambda player, profile: (player + 1, profile)[0])
    assert exact.rational(0, [1]) == 1
    assert said(lambda: MatrixGame(torch.zeros(4, 2, 1, 1), player_count=2).rational(0, (0, 0))) == (
        "game: got a batch of games of shape [4], expected one game"
    )


@dataclass(frozen=True, eq=False)
class Own(MatrixGame):
    """A user's class that checks nothing."""

    def __post_init__(self) -> None: ...


def test_payoffs_of_a_users_class_are_checked_before_a_run() -> None:
    Own(torch.zeros(2, 2, 2)).validate()
    assert said(Own(torch.full((2, 1, 1), nan)).validate) == "payoffs[0, 0, 0]: got nan, expected a finite payoff"
    assert "3 players and" in said(Own(torch.zeros(2, 2, 2), player_count=3).validate)


# --- stochastic games -----------------------------------------------------------------------------------------------


def tables(**changes: Any) -> StochasticGame:
    """One player, two states, two actions; half of the play stops in each step."""
    given = {"reward": torch.ones(1, 2, 2), "transition": torch.full((2, 2, 2), 0.25)} | changes
    return StochasticGame(**given)


def test_tables_are_checked_to_the_first_bad_place() -> None:
    assert tables().initial.tolist() == [0.5, 0.5]
    reward = torch.ones(1, 2, 2)
    reward[0, 1, 0], reward[0, 1, 1] = inf, nan
    assert said(lambda: tables(reward=reward)) == "reward[0, 1, 0]: got inf, expected a finite reward"
    assert said(lambda: tables(transition=torch.full((2, 2, 2), 0.5))) == (
        "stopping[0, 0]: got 0, expected a positive probability that play stops: "
        "rows of transition below 1, or a discount below 1"
    )
    row = torch.full((2, 2, 2), 0.25)
    row[1, 0] = 0.5
    assert said(lambda: tables(transition=row)).startswith("stopping[1, 0]: got 0, expected a positive")
    tables(transition=torch.full((2, 2, 2), 0.5), discount=0.999)
    for discount in (0.0, -0.5, 1.0001, nan, "0.5", None):
        assert said(lambda d=discount: tables(discount=d)) == (
            f"discount: got {discount}, expected a number above 0 and at most 1"
        )
    assert said(lambda: tables(initial=[1.0])) == (
        "initial: got shape [1], expected [..., 2], one number for each state"
    )
    assert said(lambda: tables(initial=[0.5, 0.6])) == (
        "initial: got a row that sums to 1.1, expected rows that sum to one"
    )
    largest = torch.finfo(torch.float64).max / 8  # over two steps on average
    tables(reward=torch.full((1, 2, 2), largest, dtype=torch.float64))
    uneven = torch.tensor([[[1.0, -1.5 * largest], [2.0, 3.0]]], dtype=torch.float64)
    wanted = "expected rewards whose sums over an episode are finite: count them in a larger unit"
    assert said(lambda: tables(reward=uneven)) == f"reward: got 3.37e+307, {wanted}"
    once = torch.full((2, 2, 2), 0.25)
    once[0] = 0.0  # where a step is the last, and where it is not: the longest episodes count
    assert said(lambda: tables(reward=uneven, transition=once)) == f"reward: got 3.37e+307, {wanted}"
    tables(reward=uneven / 1.5, transition=once)
    assert said(lambda: tables(reward=torch.full((1, 2, 2), -largest * 1.001, dtype=torch.float64))) == (
        "reward: got 2.25e+307, expected rewards whose sums over an episode are finite: count them in a larger unit"
    )
    assert said(lambda: tables(initial=torch.full((3, 2), 0.5), reward=torch.ones(4, 1, 2, 2), player_count=1)) == (
        "batch: got reward [4, 1, 2, 2], transition [2, 2] over joint actions, "
        "expected leading dimensions that broadcast"
    )
    assert said(lambda: tables(reward=torch.ones(1, 2, 0), transition=torch.ones(2, 0, 2))) == (
        "reward: got shape [1, 2, 0], expected at least one state, and one action for each player"
    )


def test_play_stops_with_more_than_rounding() -> None:
    least = 2.0**-19  # 16 units in the last place of float32
    StochasticGame(torch.ones(1, 1, 1), torch.full((1, 1, 1), 1 - least))
    law = torch.tensor([[[1 - least], [1 - least / 2]]])
    assert said(lambda: StochasticGame(torch.ones(1, 1, 2), law)).startswith("stopping[0, 1]: got 0, expected")


def test_states_are_no_more_than_their_systems_can_be() -> None:
    S = 10_000  # S x S is the limit
    following = torch.zeros(S + 1, 1, 1, dtype=torch.long)
    weights = torch.full((S + 1, 1, 1), 0.5, dtype=torch.float64)
    assert said(lambda: StochasticGame(torch.ones(1, S + 1, 1), Sparse(following, weights))) == (
        "reward: got 10,001 states, expected at most 10,000: values take a system of S x S"
    )
    StochasticGame(torch.ones(1, S, 1), Sparse(following[:S], weights[:S]))


class Bent:
    """Tables of a user's class."""

    def __init__(self, **changes: Any) -> None:
        self.reward, self.transition = torch.ones(1, 2, 2), torch.full((2, 2, 2), 0.25)
        self.initial, self.discount, self.action_counts, self.state_count = torch.full((2,), 0.5), 1, (2,), 2
        vars(self).update(changes)


def test_tables_are_tensors_of_numbers() -> None:
    require_kinds(Bent())
    require_kinds(Bent(discount=0.5, initial=torch.ones(2, dtype=torch.float64)))
    for name, bad, shown, shape in (
        ("reward", [1.0], "a list", "player, s, a1, ..., an"),
        ("reward", torch.ones(1, 2, 2, dtype=torch.long), "torch.int64 [1, 2, 2]", "player, s, a1, ..., an"),
        ("reward", torch.ones(2, 2), "torch.float32 [2, 2]", "player, s, a1, ..., an"),
        ("transition", None, "a NoneType", "s, a1, ..., an, t"),
        ("transition", torch.ones(2, 2), "torch.float32 [2, 2]", "s, a1, ..., an, t"),
        ("initial", torch.ones(2, dtype=torch.float16), "torch.float16 [2]", "s"),
        ("initial", torch.tensor(1.0), "torch.float32 []", "s"),
    ):
        wanted = f"{name}: got {shown}, expected a tensor [..., {shape}] of float32 or float64"
        assert said(lambda n=name, b=bad: require_kinds(Bent(**{n: b}))) == wanted
    assert said(lambda: require_kinds(Bent(initial=Sparse(torch.zeros(2, 2, 1).long(), torch.ones(2, 2, 1))))) == (
        "initial: got a Sparse, expected a tensor [..., s] of float32 or float64"
    )
    assert "transition" in said(lambda: require_kinds(Bent(transition=torch.full((2, 2, 3), 0.25))))
    listed = Sparse(torch.zeros(2, 2, 1).long(), torch.full((2, 2, 1), 0.5))
    require_kinds(Bent(transition=listed))
    assert said(lambda: require_kinds(Bent(transition=listed, initial=None))).startswith("initial: got a NoneType")


def test_the_players_of_rewards_are_as_many_as_fit() -> None:
    assert counts_of_rewards(torch.ones(1, 5, 3), None) == (3,)
    assert counts_of_rewards(torch.ones(2, 5, 3, 4), None) == (3, 4)
    assert counts_of_rewards(torch.ones(7, 1, 5, 3), 1) == (3,)
    assert counts_of_rewards(torch.ones(7, 1, 5, 3), None) == (3,)
    for shape, n, players in (
        ((3, 5, 3), None, "as many players as"),
        ((2, 5, 3, 4), 1, "1 players and"),
        ((2, 5, 3, 4), 3, "3 players and"),
        ((2, 5, 3, 4), 0, "0 players and"),
        ((1, 0, 3), 0, "0 players and"),
    ):
        assert said(lambda s=shape, n=n: counts_of_rewards(torch.ones(s), n)) == (
            f"reward: got shape {list(shape)}, expected [..., player, s, a1, ..., an]: {players} dimensions of actions"
        )


def test_names_of_a_stochastic_game_are_texts_and_one_for_each() -> None:
    assert tables(states=["a", "b"]).states == ("a", "b")
    for name, value, line in (
        ("states", ("a",), "states: got [1] names, expected [2]"),
        ("players", ("a", "b"), "players: got [2] names, expected [1]"),
        ("actions", (("a",),), "actions: got [1] names, expected [2]"),
        ("states", "ab", "states: got ab, expected names, as a tuple of text"),
        ("states", ("a", 2), "states: got ('a', 2), expected names, as a tuple of text"),
        ("actions", (("a", 2),), "actions[0]: got ('a', 2), expected names, as a tuple of text"),
    ):
        assert said(lambda n=name, v=value: tables(**{n: v})) == line


# --- graphon games --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Crowd(GraphonGame):
    """Two states, three actions; `bad` says what is wrong, at which step and how."""

    horizon: Count = 3
    positions: Count | None = 2
    bad: Any = None

    def bent(self, name: str, h: int, x: Tensor) -> Tensor:
        return self.bad[2](x.clone()) if self.bad is not None and self.bad[:2] == (name, h) else x

    @property
    def initial(self) -> Tensor:
        return self.bent("initial", 0, f64(0.5, 0.5))

    def reward(self, h: int, z: Tensor) -> Tensor:
        return self.bent("reward", h, z.new_zeros(*z.shape, 3))

    def transition(self, h: int, z: Tensor) -> Tensor:
        return self.bent("transition", h, z.new_full((2, 3, 2), 0.5))


@dataclass(frozen=True, kw_only=True)
class Pushed(Crowd):
    """The same without tables of transitions."""

    transition = GraphonGame.transition

    def expect(self, h: int, value: Tensor, z: Tensor) -> Tensor:
        return self.bent("expect", h, value.mean(-1)[..., None, None].expand(*value.shape, 3))

    def push(self, h: int, mass: Tensor, policy: Tensor, z: Tensor) -> Tensor:
        return self.bent("push", h, mass.mean(-1, keepdim=True).expand(mass.shape))


def put(place: tuple[int, ...], value: float) -> Callable[[Tensor], Tensor]:
    def bend(x: Tensor) -> Tensor:
        x = x.clone(memory_format=torch.contiguous_format)
        x[place] = value
        return x

    return bend


def test_a_crowd_is_checked_step_by_step() -> None:
    Crowd().validate()
    Pushed().validate()
    for cls, bad, line in (
        (
            Crowd,
            ("initial", 0, lambda x: x * 1.5),
            "initial: got a row that sums to 1.5, expected rows that sum to one",
        ),
        (Crowd, ("reward", 2, put((1, 0, 2), inf)), "reward(h=2)[1, 0, 2]: got inf, expected finite rewards"),
        (Crowd, ("reward", 0, put((0, 1, 0), nan)), "reward(h=0)[0, 1, 0]: got nan, expected finite rewards"),
        (
            Crowd,
            ("transition", 1, lambda x: x[:, :2]),
            "transition(h=1): got shape (2, 2, 2), expected [..., s, a, t] = [..., 2, 3, 2]",
        ),
        (
            Crowd,
            ("transition", 1, lambda x: x[0]),
            "transition(h=1): got shape (3, 2), expected [..., s, a, t] = [..., 2, 3, 2]",
        ),
        (
            Crowd,
            ("transition", 2, put((1, 2, 0), 0.6)),
            "transition(h=2)[1, 2]: got a row that sums to 1.1, expected rows that sum to one",
        ),
        (
            Pushed,
            ("expect", 1, put((1, 1, 2), 1.001)),
            "expect(h=1): got rows of P that do not sum to one, expected expect(h, 1, z) = 1",
        ),
        (Pushed, ("push", 1, lambda x: 2 * x), "push(h=1)[0]: got a row that sums to 2, expected rows that sum to one"),
    ):
        assert said(cls(bad=bad).validate) == line  # type: ignore[operator]
    Pushed(bad=("expect", 1, lambda x: x + 0.9e-6)).validate()
    assert "rows of P" in said(Pushed(bad=("expect", 1, lambda x: x + 1.1e-6)).validate)


def test_large_crowds_are_checked_at_the_first_step() -> None:
    def late(positions: int, h: int) -> Crowd:
        return Crowd(positions=positions, bad=("reward", h, put((0, 0, 0), nan)))

    assert said(late(1000, 2).validate).startswith("reward(h=2)")
    late(1001, 1).validate()
    assert said(late(1001, 0).validate).startswith("reward(h=0)")


def test_a_crowd_is_no_larger_than_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gamesim.games.graphon.LARGEST", 12)
    Crowd(positions=4, horizon=3)
    Crowd(positions=None, horizon=12)
    assert said(lambda: Crowd(positions=5, horizon=3)) == (
        "positions: got 5, expected at most 4 with horizon 3: no memory holds more"
    )

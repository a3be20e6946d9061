"""Figures of games with states: rows that are means, names that fit, returns of everyone, and zeros on a log axis."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes

import gamesim as gs
from gamesim import cli
from gamesim.figures.by_state import MOST, mean_rows, shortened
from gamesim.figures.style import FLOOR
from gamesim.loop import Result
from gamesim.traces import Trace


def traced(**metrics: list[float]) -> Result:
    """A result that says no more than what was measured."""
    trace = Trace()
    for k, row in enumerate(zip(*metrics.values(), strict=True)):
        trace.add(k, {name: torch.tensor([x]) for name, x in zip(metrics, row, strict=True)})
    solved = gs.solve(gs.make("stochastic/two-state"), gs.make_solver("policy-gradient"), iterations=1)
    return replace(solved, trace=trace)


def axes_of(result: Result) -> Axes:
    (axes,) = gs.draw(result).axes
    return axes


def test_many_states_are_averaged_and_none_is_left_out() -> None:
    policy = np.random.default_rng(0).dirichlet(np.ones(3), size=4 * MOST)
    np.testing.assert_allclose(mean_rows(policy), policy.reshape(MOST, 4, 3).mean(1))
    uneven = policy[: 3 * MOST + 7]
    rows = mean_rows(uneven)
    assert rows.shape == (MOST, 3)
    np.testing.assert_allclose(rows.sum(1), 1.0)
    first = np.linspace(0, len(uneven), MOST, endpoint=False).astype(int)
    np.testing.assert_allclose((rows * np.diff([*first, len(uneven)])[:, None]).sum(0), uneven.sum(0))


def test_the_picture_says_what_it_is_a_mean_of(tmp_path: Path) -> None:
    for seeds, label in (("1", "probability"), ("3", "probability, mean of 3 runs")):
        folder = tmp_path / seeds
        run = ["run", "stochastic/two-state", "policy-gradient", "--iterations", "3", "--seeds", seeds]
        assert cli.main([*run, "--out", str(folder)]) == 0
        figure = gs.draw(folder)
        assert [axes.get_title(loc="left") for axes in figure.axes[1:3]] == ["Player 1", "Player 2"]
        assert figure.axes[3].get_ylabel() == label


def test_everyones_return_is_drawn_since_their_mean_may_be_0_for_ever() -> None:
    both = {"return": [0.0, 0.0], "return_1": [0.5, 1.0], "return_2": [-0.5, -1.0]}
    lines = axes_of(traced(**both)).get_lines()
    assert [line.get_label() for line in lines] == ["return of player 1", "return of player 2"]
    (line,) = axes_of(traced(**{"return": [0.0, 1.0]})).get_lines()
    assert line.get_label() == "mean return"


def test_exact_zeros_have_a_line_that_says_so() -> None:
    axes = axes_of(traced(exploitability=[1.0, 1e-3, 0.0]))
    assert [text.get_text() for text in axes.texts] == ["0"]
    assert axes.texts[0].get_position()[1] == FLOOR
    assert not axes_of(traced(exploitability=[1.0, 1e-3, 1e-6])).texts


@pytest.mark.parametrize("last", [1.5, 0.3])
def test_close_values_have_plain_numbers(last: float) -> None:
    axes = axes_of(traced(exploitability=[2.0, last]))
    axes.get_figure().canvas.draw()  # type: ignore[union-attr]
    written = [label.get_text() for label in axes.get_yticklabels(which="both")]
    assert any(written)
    assert not any("times" in text or "^" in text for text in written)


def test_long_names_are_cut() -> None:
    assert shortened("short", 8) == "short"
    assert shortened("cooperate always", 8) == "coopera…"

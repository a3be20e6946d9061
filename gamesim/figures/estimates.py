"""Figures of what was learned from sampled agents."""

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gamesim.data import AgentData
from gamesim.estimation import Estimate, FittedGame
from gamesim.figures.style import COLOURS, INK, QUIET, STYLE, bar, names_or_numbers


def draw_estimate(estimate: Estimate, data: AgentData) -> Figure:
    """A learned game: its graphon, its parameters with their intervals, and the population it predicts.

    The prediction is that of the learned game when everyone plays as the agents did, on average over them.
    """
    game = FittedGame(data=estimate, positions=50)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 3.7), layout="constrained")
        figure.suptitle(f"learned from {data}", x=0.01, ha="left", fontsize=11, color=INK)
        one, two, three = figure.subplots(1, 3, width_ratios=[1, 1, 1.1])
        x = (torch.arange(200, dtype=torch.float64) + 0.5) / 200
        values = estimate.graphon(x[:, None], x).numpy()
        image = one.imshow(values, origin="lower", extent=(0, 1, 0, 1), cmap="viridis", vmin=0, interpolation="nearest")
        if len(estimate.positions) <= 200:
            at = estimate.positions.numpy()
            one.plot(at, np.full_like(at, -0.02), "|", color=INK, ms=5, clip_on=False)
        one.set(xlabel="position", ylabel="position")
        one.set_title(f"Graphon: {estimate.graphon}")
        bar(one, image, "W")
        _intervals(two, estimate)
        _predicted(three, game, data)
        return figure


def _intervals(axes: Axes, estimate: Estimate) -> None:
    """Each parameter with its interval, in units of its own estimate."""
    shown = [(name, n) for name, n in estimate.numbers.items() if n.value][:12]
    axes.set_title("Parameters, 95% intervals")
    if not shown:
        axes.text(0.5, 0.5, "the graphon was given", transform=axes.transAxes, ha="center", color=QUIET)
        axes.set(xticks=[], yticks=[])
        return
    axes.set(ylim=(len(shown) - 0.5, -0.5), xlabel="relative to the estimate", yticks=range(len(shown)))
    axes.set_yticklabels([f"{name} = {n.value:.3g}" for name, n in shown], color=INK)
    for i, (_, n) in enumerate(shown):
        axes.plot([n.low / n.value, n.high / n.value], [i, i], color=COLOURS[0], lw=2)
        axes.plot([1], [i], "o", color=COLOURS[0], ms=4)
    axes.axvline(1, color=QUIET, lw=0.6)


def _predicted(axes: Axes, game: FittedGame, data: AgentData) -> None:
    """The mean population that was seen, and the one that the learned game predicts for the same behaviour."""
    horizon, states, actions = data.horizon, game.shape[-2], game.shape[-1]
    cell = data.states.long() * actions + data.actions.long()
    step = torch.arange(horizon)[:, None] * states * actions
    played = torch.bincount((step + cell).flatten(), minlength=horizon * states * actions).double()
    played = played.reshape(horizon, 1, states, actions)
    seen = played.sum(-1, keepdim=True)
    policy = torch.where(seen > 0, played / seen.clamp(min=1), 1 / actions).expand(-1, len(game.grid), -1, -1)
    flow = game.flow((policy,))
    predicted, observed = (flow * game.grid.weights[:, None]).sum(-2).numpy(), data.flow.mean(1).numpy()
    names = names_or_numbers(list(data.state_names), states, "state")
    for s in (-observed.var(0)).argsort()[:4]:
        (line,) = axes.plot(predicted[:, s], lw=1.5, label=names[s])
        axes.plot(observed[:, s], ".", ms=4, color=line.get_color())
    axes.set(xlabel="step of the game", ylabel="share of the population", ylim=(0, None))
    axes.set_title("Seen (dots) and predicted")
    axes.legend(fontsize=8)

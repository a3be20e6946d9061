"""Figures of runs, drawn from their files alone (or from a Result in memory)."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from safetensors import SafetensorError, safe_open

from gamesim.errors import InvalidInput, refuse
from gamesim.figures.by_state import draw_policies
from gamesim.figures.normal_form import draw_ends
from gamesim.figures.style import COLOURS, FLOOR, GROWING, INK, STYLE, WORDS, bar, log_scale, names_or_numbers
from gamesim.files import read_json
from gamesim.loop import Result
from gamesim.records import read_trace
from gamesim.traces import Trace, rises

LONGEST = 105
"""Letters of a title, at most."""


@dataclass(frozen=True)
class Line:
    """One run on a convergence plot."""

    name: str
    trace: Trace


def draw(*runs: Result | Path | str, metric: str | None = None) -> Figure:
    """The figure of one run (convergence and what the population does), or several runs in one convergence plot.

    >>> import gamesim as gs
    >>> result = gs.solve(gs.make("graphon/sis", positions=5, horizon=5), gs.make_solver("fixed-point"), iterations=3)
    >>> type(draw(result)).__name__
    'Figure'
    """
    if not runs:
        raise InvalidInput("draw: give at least one run (a folder or a Result)")
    with matplotlib.rc_context(STYLE):
        play = _play(Path(runs[0])) if len(runs) == 1 and isinstance(runs[0], str | Path) else None
        lines = [_line(run, i) for i, run in enumerate(runs)]
        if play is None:
            figure = Figure(figsize=(5.6, 3.6), layout="constrained")
            convergence(figure.subplots(), lines, metric)
            if len(runs) == 1 and isinstance(runs[0], str | Path) and (Path(runs[0]) / "config.json").is_file():
                figure.suptitle(_title(Path(runs[0])), x=0.01, ha="left", fontsize=9, color=INK)
            return figure
        title = _title(Path(runs[0]))  # type: ignore[arg-type]
        if "states.0" in play[0]:
            return _of_states(title, lines, metric, *play)
        if "policy.0" in play[0]:
            return _of_normal_form(title, lines, metric, *play)
        network = "edges" in play[0]
        figure = Figure(figsize=(12.5 if network else 10.5, 3.9), layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK)
        axes = figure.subplots(1, 4 if network else 3, width_ratios=[1.1, 1, 1, 1.35] if network else [1.1, 1, 1])
        convergence(axes[0], lines, metric)
        population(axes[1], *play)
        action = behaviour(axes[2], *play)
        if network:
            draw_network(axes[3], *play, action)
        return figure


def _of_normal_form(
    title: str, lines: Sequence[Line], metric: str | None, parts: dict[str, Any], words: dict[str, list[str]]
) -> Figure:
    figure = Figure(figsize=(8.6, 3.9), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK)
    left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
    convergence(left, lines, metric)
    players = words["players"]
    policies = [parts[f"policy.{i}"] for i in range(len(players))]
    draw_ends(right, policies, players, [words[f"actions.{i}"] for i in range(len(players))])
    return figure


def _of_states(
    title: str, lines: Sequence[Line], metric: str | None, parts: dict[str, Any], words: dict[str, list[str]]
) -> Figure:
    """Convergence, and what each player plays in every state."""
    players = words["players"]
    figure = Figure(figsize=(4.6 + 2.2 * len(players), 3.9), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK)
    left, *places = figure.subplots(1, 1 + len(players), width_ratios=[2.0, *[1.0] * len(players)])
    convergence(left, lines, metric)
    first = next(iter(lines[0].trace.metrics.values()))
    draw_policies(places, parts, words, runs=first[0].numel())
    return figure


def _title(folder: Path) -> str:
    config = read_json(folder / "config.json")
    game, solver = config.get("game", {}), config.get("solver", {})
    named, given = game.get("id", "?"), game.get("given", {}) | solver.get("given", {})
    if given.get("file") == named:  # a game in a file, without its folders
        named = Path(given.pop("file")).name
    settings = ", ".join(f"{k}={v}" for k, v in given.items())
    title = f"{named} · {solver.get('id', '?')}" + (f"   ({settings})" if settings else "")
    return title if len(title) <= LONGEST else f"{title[: LONGEST - 3]}..."


def _line(run: Result | Path | str, index: int) -> Line:
    if isinstance(run, Result):
        return Line(f"run {index + 1}", run.trace)
    folder = Path(run)
    if not folder.is_dir():
        raise refuse("run", str(run), "the folder of a run")
    trace = read_trace(folder)
    if not trace.iterations:
        raise refuse("run", str(run), "the folder of a run that has measured something; this trace is empty")
    return Line(folder.resolve().name, trace)


def _play(folder: Path) -> tuple[dict[str, Any], dict[str, list[str]]] | None:
    """The final policy and flow that a run left, with the words for states and actions."""
    path = folder / "play.safetensors"
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as f:
            parts = {key: f.get_tensor(key).double().numpy() for key in f.keys()}  # noqa: SIM118
            words = json.loads((f.metadata() or {}).get("words", "{}"))
    except (SafetensorError, ValueError) as error:
        raise InvalidInput(f"{path}: not a file that gamesim wrote ({error}); remove it to draw the rest") from None
    return parts, words


def _worth_drawing(metrics: Iterable[str], adding: bool, alone: bool) -> list[str]:
    """The metrics that are drawn where none is asked for: a few of a run alone, one where runs are compared."""
    known = list(metrics)
    if rises(known[0]) and "score" in known:
        return ["score"]
    among = [] if rises(known[0]) and not adding else [m for m in (GROWING if adding else WORDS) if m in known]
    among = among or known[:1]
    if not alone:
        return among[:1]
    if rises(among[0]):  # what one player wins another may lose, and the mean does not show it
        return [m for m in known if m.startswith("return_")] or among
    return among[:3]


def convergence(axes: Axes, lines: Sequence[Line], metric: str | None = None) -> None:
    """Median over seeds and the interquartile band; several metrics only for a single run.

    What falls is drawn on a log scale. Where a trace has a regret, that is what is drawn unless a metric is named.
    """
    words = WORDS | GROWING | {"return": "mean return", "score": "score (0: random play, 100: the expert)"}
    known = list(lines[0].trace.metrics)
    adding = metric in GROWING or (metric is None and any(name in GROWING for name in known))
    logarithmic = False
    for line in lines:
        metrics = line.trace.metrics
        if metric is not None and metric not in metrics:
            raise refuse("metric", metric, f"one of {', '.join(metrics)}")
        for name in [metric] if metric else _worth_drawing(metrics, adding, alone=len(lines) == 1):
            values = np.stack([v.reshape(-1).numpy() for v in metrics[name]])
            values = np.where(np.isfinite(values), values, np.nan)  # a run that diverged ends where its curve ends
            positive = (
                not adding and not rises(name) and bool((values > FLOOR).any())
            )  # what is zero all along has no place on a log scale
            logarithmic |= positive
            if positive:  # nor has what is zero until something happens
                begun = np.maximum.accumulate(np.nan_to_num(values) > FLOOR, axis=0).mean(axis=1) > 0.75
                values[: int(begun.argmax())] = np.nan
            gone = np.isnan(values).all(axis=1)  # nothing is left to take a median of
            there = np.where(gone[:, None], FLOOR, values.clip(FLOOR) if positive else values)
            low, middle, high = np.where(gone, np.nan, np.nanpercentile(there, (25, 50, 75), axis=1))
            label = words.get(name, name.replace("return_", "return of player ")) if len(lines) == 1 else line.name
            lost = int(np.isnan(values[-1]).sum())
            if lost:
                label += " (diverged)" if lost == values.shape[1] else f" ({lost} of {values.shape[1]} diverged)"
            point = "o" if len(values) == 1 else None
            (drawn,) = axes.plot(line.trace.iterations, middle, label=label, lw=1.8, marker=point)
            if values.shape[1] > 1:
                axes.fill_between(line.trace.iterations, low, high, color=drawn.get_color(), alpha=0.2, lw=0)
    if logarithmic:
        log_scale(axes)
    steps = np.diff(lines[0].trace.iterations)
    if len(steps) > 2 and steps[-2] > 5 * steps[0]:  # measured at log-spaced iterations
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xlim(left=0)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlabel("iteration")
    distance = "Distance from equilibrium" if "exploitability" in known else "Distance from the solution"
    single = "Regret" if adding else "What play pays" if rises(known[0]) else distance
    shown = metric or _worth_drawing(known, adding, alone=False)[0]
    axes.set_title(single if len(lines) == 1 else words.get(shown, shown))
    axes.grid(axis="y", color="#e6e8eb", lw=0.6)
    axes.legend(fontsize=8)


def population(axes: Axes, parts: dict[str, Any], words: dict[str, list[str]]) -> None:
    """The law of the whole population over time: stacked for a few states, a map for many."""
    law = parts["mean_flow"]
    steps, states = law.shape
    names = names_or_numbers(words.get("states", []), states, "state")
    axes.set_xlabel("step of the game")
    axes.set_title("The population")
    if states <= 4:
        axes.stackplot(range(steps), law.T, labels=names, colors=COLOURS[:states], alpha=0.85, lw=0)
        axes.set(ylim=(0, 1), xlim=(0, max(steps - 1, 1)), ylabel="share")
        axes.legend(fontsize=8, loc="lower right", frameon=True, facecolor="white", edgecolor="none", framealpha=0.8)
        return
    image = axes.imshow(law.T, aspect="auto", origin="lower", cmap="viridis", interpolation="nearest")
    axes.set_ylabel("state")
    bar(axes, image, "share")


def behaviour(axes: Axes, parts: dict[str, Any], words: dict[str, list[str]]) -> int:
    """How often each position plays the action that varies most, over time; returns that action."""
    play = np.einsum("hks,hksa->hka", parts["flow"], parts["policy"])
    actions = play.shape[-1]
    action = int(play.reshape(-1, actions).var(0).argmax())
    if actions == 2:
        action = 1
    name = names_or_numbers(words.get("actions", []), actions, "action")[action]
    steps, positions = play.shape[:2]
    axes.set_title(f"Who plays “{name}”")
    if positions == 1:
        for a, label in enumerate(names_or_numbers(words.get("actions", []), actions, "action")):
            axes.plot(range(steps), play[:, 0, a], label=label)
        axes.set(xlabel="step of the game", ylabel="probability", ylim=(0, 1))
        axes.set_title("What is played")
        axes.legend(fontsize=8)
        return action
    extent = (0, steps, 0, 1)
    image = axes.imshow(
        play[:, :, action].T,
        aspect="auto",
        origin="lower",
        cmap="magma_r",
        extent=extent,
        vmin=0,
        interpolation="nearest",
    )
    axes.set(
        xlabel="step of the game",
        ylabel="position" if "edges" not in parts else "node, by degree (most connected at 0)",
    )
    bar(axes, image, "probability")
    return action


def draw_network(axes: Axes, parts: dict[str, Any], words: dict[str, list[str]], action: int) -> None:
    """The network itself: each node coloured by how often it plays the action, sized by its degree."""
    import networkx

    play = np.einsum("hks,hksa->hka", parts["flow"], parts["policy"])[:, :, action].mean(0)
    edges = parts["edges"].astype(int)
    graph = networkx.Graph()
    graph.add_nodes_from(range(len(play)))
    graph.add_edges_from(edges.tolist())
    where = networkx.kamada_kawai_layout(graph) if len(play) <= 150 else networkx.spring_layout(graph, seed=0)
    points = np.array([where[i] for i in range(len(play))])
    degree = np.bincount(edges.ravel(), minlength=len(play))
    axes.add_collection(LineCollection(points[edges].tolist(), colors="#c9cdd3", linewidths=0.6, zorder=1))
    size = 18 + 160 * degree / max(degree.max(), 1)
    dots = axes.scatter(
        points[:, 0], points[:, 1], c=play, s=size, cmap="magma_r", edgecolors="white", linewidths=0.7, zorder=2, vmin=0
    )
    axes.set_axis_off()
    graph_name = (words.get("graph") or ["the network"])[0]
    axes.set_title(f"{Path(graph_name).name}: mean over the game")
    bar(axes, dots, "probability")

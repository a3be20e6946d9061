"""Figures, drawn from the files of runs alone (or from a Result in memory). The only importer of matplotlib."""

import html
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from safetensors import SafetensorError, safe_open

from gamesim.charts import Chart, Panel
from gamesim.data import AgentData
from gamesim.errors import InvalidInput, refuse
from gamesim.estimation import Estimate, FittedGame
from gamesim.files import read_json, write_with
from gamesim.loop import Result
from gamesim.records import read_trace
from gamesim.traces import Trace

INK, QUIET = "#1b1b1e", "#8a8f98"
COLOURS = ("#0b6e99", "#d1603d", "#3d8b5f", "#8452a8", "#b8860b", "#5b6770", "#c2416b")
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.prop_cycle": cycler(color=COLOURS),
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "legend.frameon": False,
    "svg.hashsalt": "gamesim",
}
WORDS = {
    "exploitability": "exploitability",
    "regularized_exploitability": "regularized exploitability",
    "distance": "distance to equilibrium",
}
REPORT_STYLE = (
    "body{font:16px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1b1e}"
    "svg{max-width:100%;height:auto}.claim{border-left:4px solid #b8860b;padding-left:.8rem;margin:.4rem 0}"
    ".claim.holds{border-color:#3d8b5f}.claim.fails{border-color:#c0392b}"
)
FLOOR = 1e-17  # what is drawn where a measure is exactly zero


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
            return figure
        title = _title(Path(runs[0]))  # type: ignore[arg-type]
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


def _title(folder: Path) -> str:
    config = read_json(folder / "config.json")
    game, solver = config.get("game", {}), config.get("solver", {})
    given = game.get("given", {}) | solver.get("given", {})
    settings = ", ".join(f"{k}={v}" for k, v in given.items())
    return f"{game.get('id', '?')} · {solver.get('id', '?')}" + (f"   ({settings})" if settings else "")


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


def convergence(axes: Axes, lines: Sequence[Line], metric: str | None = None) -> None:
    """Median over seeds and the interquartile band, on a log scale; several metrics only for a single run."""
    for line in lines:
        metrics = line.trace.metrics
        if metric is not None and metric not in metrics:
            raise refuse("metric", metric, f"one of {', '.join(metrics)}")
        shown = [metric] if metric else [m for m in WORDS if m in metrics][: 3 if len(lines) == 1 else 1]
        for name in shown:
            values = np.stack([v.reshape(-1).numpy() for v in metrics[name]]).clip(FLOOR)
            values = np.where(np.isfinite(values), values, np.nan)  # a run that diverged ends where its curve ends
            low, middle, high = np.percentile(values, (25, 50, 75), axis=1)
            label = WORDS.get(name, name) if len(lines) == 1 else line.name
            (drawn,) = axes.plot(line.trace.iterations, middle, label=label, lw=1.8)
            if values.shape[1] > 1:
                axes.fill_between(line.trace.iterations, low, high, color=drawn.get_color(), alpha=0.2, lw=0)
    axes.set_yscale("log")
    axes.set_xlabel("iteration")
    axes.set_title(
        "Distance from equilibrium" if len(lines) == 1 else WORDS.get(metric or "exploitability", str(metric))
    )
    axes.grid(axis="y", color="#e6e8eb", lw=0.6)
    axes.legend(fontsize=8)


def _names(words: list[str], count: int, what: str) -> list[str]:
    return words if len(words) == count else [f"{what} {i}" for i in range(count)]


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
        _bar(one, image, "W")
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
    names = _names(list(data.state_names), states, "state")
    for s in (-observed.var(0)).argsort()[:4]:
        (line,) = axes.plot(predicted[:, s], lw=1.5, label=names[s])
        axes.plot(observed[:, s], ".", ms=4, color=line.get_color())
    axes.set(xlabel="step of the game", ylabel="share of the population", ylim=(0, None))
    axes.set_title("Seen (dots) and predicted")
    axes.legend(fontsize=8)


def population(axes: Axes, parts: dict[str, Any], words: dict[str, list[str]]) -> None:
    """The law of the whole population over time: stacked for a few states, a map for many."""
    law = parts["mean_flow"]
    steps, states = law.shape
    names = _names(words.get("states", []), states, "state")
    axes.set_xlabel("step of the game")
    axes.set_title("The population")
    if states <= 4:
        axes.stackplot(range(steps), law.T, labels=names, colors=COLOURS[:states], alpha=0.85, lw=0)
        axes.set(ylim=(0, 1), xlim=(0, max(steps - 1, 1)), ylabel="share")
        axes.legend(fontsize=8, loc="lower right", frameon=True, facecolor="white", edgecolor="none", framealpha=0.8)
        return
    image = axes.imshow(law.T, aspect="auto", origin="lower", cmap="viridis", interpolation="nearest")
    axes.set_ylabel("state")
    _bar(axes, image, "share")


def behaviour(axes: Axes, parts: dict[str, Any], words: dict[str, list[str]]) -> int:
    """How often each position plays the action that varies most, over time; returns that action."""
    play = np.einsum("hks,hksa->hka", parts["flow"], parts["policy"])
    actions = play.shape[-1]
    action = int(play.reshape(-1, actions).var(0).argmax())
    if actions == 2:
        action = 1
    name = _names(words.get("actions", []), actions, "action")[action]
    steps, positions = play.shape[:2]
    axes.set_title(f"Who plays “{name}”")
    if positions == 1:
        for a, label in enumerate(_names(words.get("actions", []), actions, "action")):
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
    _bar(axes, image, "probability")
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
    _bar(axes, dots, "probability")


def _bar(axes: Axes, mappable: Any, label: str) -> None:
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    bar = figure.colorbar(mappable, ax=axes, shrink=0.85, pad=0.02)
    bar.set_label(label)
    bar.outline.set_visible(False)


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as PNG and PDF, whole or not at all, with the same bytes for the same data."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for kind, metadata in (("png", {"Software": None}), ("pdf", {"CreationDate": None})):
        path = folder / f"{name}.{kind}"
        with matplotlib.rc_context(STYLE):
            write_with(path, partial(figure.savefig, format=kind, dpi=160, metadata=metadata))
        paths.append(path)
    return paths


def to_svg(figure: Figure) -> str:
    """A figure as an inline SVG element."""
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def report(title: str, sections: Sequence[tuple[str, str, Sequence[tuple[str, str]], Sequence[Figure]]]) -> str:
    """A self-contained HTML page: heading, paragraphs, (verdict, text) of claims, and figures of each section."""
    body = []
    for heading, text, claims, figures in sections:
        body.append(f"<h2>{html.escape(heading)}</h2>")
        body += [f"<p>{html.escape(' '.join(part.split()))}</p>" for part in text.split("\n\n")]
        for verdict, words in claims:
            kind = verdict if verdict in ("holds", "fails") else "undecided"
            body.append(f"<p class='claim {kind}'><b>{html.escape(verdict)}</b> {html.escape(words)}</p>")
        body += [f"<figure>{to_svg(figure)}</figure>" for figure in figures]
    name = html.escape(title)
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{name}</title><style>{REPORT_STYLE}</style>"
    return f"{head}<h1>{name}</h1>{''.join(body)}</html>\n"


def draw_chart(chart: Chart) -> Figure:
    """A chart of an experiment: its curves, bands, and the slopes that the theory gives."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.2 * len(chart.panels), 3.8), layout="constrained")
        for axes, panel in zip(np.atleast_1d(figure.subplots(1, len(chart.panels))), chart.panels, strict=True):
            _draw_panel(axes, panel)
        return figure


def _draw_panel(axes: Axes, panel: Panel) -> None:
    for curve in panel.curves:
        y = np.asarray(curve.y, float)
        y = y.clip(FLOOR) if panel.log_y else y
        style: dict[str, Any] = {"ls": "--" if curve.dashed else "-", "marker": "o" if curve.dots else None, "ms": 4}
        (line,) = axes.plot(curve.x, y, label=curve.label, lw=1.6, **style)
        if curve.low is not None and curve.high is not None:
            axes.fill_between(curve.x, curve.low, curve.high, color=line.get_color(), alpha=0.2, lw=0)
    first = panel.curves[0] if panel.curves else None
    for i, (label, slope) in enumerate(panel.theory.items()):
        assert first is not None
        x = np.asarray(first.x, float)
        axes.plot(x, first.y[0] * (x / x[0]) ** slope, color=QUIET, ls=(":", "-.", "--")[i % 3], lw=1.4, label=label)
    axes.set(xlabel=panel.x, ylabel=panel.y, title=panel.title)
    if panel.log_x:
        axes.set_xscale("log")
        if first is not None and len(first.x) <= 8:  # few points: their own values are the best ticks
            axes.set_xticks(list(first.x), [f"{x:g}" for x in first.x])
            axes.minorticks_off()
    if panel.log_y:
        axes.set_yscale("log")
    axes.grid(axis="y", color="#e6e8eb", lw=0.6)
    if any(curve.label for curve in panel.curves):
        axes.legend(fontsize=8)

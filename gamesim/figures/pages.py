"""Figures on disk and on pages: PNG, PDF and SVG, charts of experiments, and self-contained reports."""

import html
import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gamesim.charts import Chart, Panel
from gamesim.errors import refuse
from gamesim.figures.style import FLOOR, QUIET, STYLE
from gamesim.files import write_with

REPORT_STYLE = (
    "body{font:16px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1b1e}"
    "svg{max-width:100%;height:auto}.claim{border-left:4px solid #b8860b;padding-left:.8rem;margin:.4rem 0}"
    ".claim.holds{border-color:#3d8b5f}.claim.fails{border-color:#c0392b}"
)
METADATA: dict[str, dict[str, Any]] = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
"""What is left out of files, so that the same data give the same bytes."""


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as PNG and PDF, whole or not at all, with the same bytes for the same data."""
    folder.mkdir(parents=True, exist_ok=True)
    return [save_as(figure, folder / f"{name}.{kind}") for kind in ("png", "pdf")]


def save_as(figure: Figure, path: Path) -> Path:
    """Write a figure to a file whose ending says what it is."""
    kind = require_figure(path)
    with matplotlib.rc_context(STYLE):
        write_with(path, partial(figure.savefig, format=kind, dpi=160, metadata=METADATA[kind]))
    return path


def require_figure(path: Path) -> str:
    """The kind of picture that a path asks for; refused where none can be written there."""
    kind = path.suffix.lower().lstrip(".")
    if kind not in METADATA:
        raise refuse("figure", str(path), f"a file that ends in {', '.join('.' + k for k in METADATA)}")
    if not path.parent.is_dir():
        raise refuse("figure", str(path), f"a file in a folder that exists; {path.parent} does not")
    return kind


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
        shared = _share_labels(chart.panels)
        figure = Figure(figsize=(5.2 * len(chart.panels) + 1.6 * shared, 3.8), layout="constrained")
        for axes, panel in zip(np.atleast_1d(figure.subplots(1, len(chart.panels))), chart.panels, strict=True):
            _draw_panel(axes, panel, legend=not shared)
        if shared:
            figure.legend(*axes.get_legend_handles_labels(), fontsize=8, loc="outside right center")
        return figure


def _share_labels(panels: Sequence[Panel]) -> bool:
    """Whether one legend beside all panels does: several panels of the same many curves, that would hide behind it."""
    labels = [(*(curve.label for curve in panel.curves), *panel.theory) for panel in panels]
    return len(labels) > 1 and len(labels[0]) > 3 and len(set(labels)) == 1


def _draw_panel(axes: Axes, panel: Panel, legend: bool = True) -> None:
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
    if legend and any(curve.label for curve in panel.curves):
        axes.legend(fontsize=8)

"""The main job: run a solver on a game, and draw what runs left."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from gamesim import catalog
from gamesim.cli import shell
from gamesim.cli.shell import GAME_OPTIONS, JSON, THREADS, cli, game_named, pairs, print_json
from gamesim.errors import refuse


@cli.command(short_help="Solve GAME with SOLVER; leave a run and a figure.")
@click.argument("game")
@click.argument("solver")
@GAME_OPTIONS
@click.option(
    "-s", "solver_options", multiple=True, metavar="NAME=VALUE", help="A parameter of the solver; may be repeated."
)
@click.option("--iterations", type=click.IntRange(0), default=100, show_default=True, help="Iterations of the solver.")
@click.option("--tolerance", type=float, help="Stop when the (regularized) exploitability is at most this.")
@click.option(
    "--seeds", type=click.IntRange(1, 10**6), default=1, show_default=True, help="Independent seeds, run as one batch."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="The first seed.")
@click.option(
    "--every",
    default="1",
    show_default=True,
    metavar="N|log",
    help="Measure each so many iterations; log: 12 a decade.",
)
@click.option(
    "--start",
    type=click.Choice(["game", "random"]),
    default="game",
    show_default=True,
    help="Begin at the game's own policy, or each seed at a random one.",
)
@click.option(
    "--log", multiple=True, metavar="TOOL", help="Tell the run to tensorboard, mlflow or wandb, too; may be repeated."
)
@click.option("--average", is_flag=True, help="Report the mean of the iterates instead of the last one.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, ...")
@THREADS
@click.option("--fused/--no-fused", default=True, show_default=True, help="Allow fused CPU kernels.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="The run's folder, absent or empty  [default: runs/GAME-SOLVER-HASH]"
)
@click.option("--name", help="The run's folder under runs/, instead of --out.")
@click.option("--resume", is_flag=True, help="Continue the run in that folder, bit for bit.")
@JSON
def run(game: str, solver: str, **options: Any) -> None:
    """Solve GAME with SOLVER, show the exploitability falling, and leave a run with its figure on disk.

    \b
    gamesim run graphon/sis gmfg-ppo -g graphon=power-law -g graphon.a=0.3 -g normalize=true
    gamesim run graphon/sis policy-mirror-descent -s "step_size=power(1, 0.5)" --seeds 3
    gamesim run graphon/sis gmfg-ppo -g graph=karate-club -g normalize=true --iterations 200 --tolerance 1e-8
    gamesim run path/to/game.nfg ftrl -s regularizer=euclidean -s "feedback=bandit(power(0.5, 0.4))" --seeds 1000
    gamesim run graphon/sis gmfg-ppo --log tensorboard --log "mlflow(uri=sqlite:///mlflow.db)"
    gamesim run mymodule:MyGame online-mirror-descent
    """
    raise SystemExit(_run(game, solver, **options))


def _run(
    game_id: str, solver_id: str, *, game_options: Sequence[str], solver_options: Sequence[str], threads: int,
    out: Path | None, name: str | None, as_json: bool, **options: Any,
) -> int:  # fmt: skip
    from gamesim.files import require_name

    given = pairs("-g", game_options), pairs("-s", solver_options)
    options["every"] = _every(options["every"])
    if name is not None:
        require_name(name, "name")
        if out is not None:
            raise refuse("name", name, "no --out beside it: give one of the two")
        out = Path("runs") / name
    kind, of_game = game_named(game_id, given[0])
    classes, given = (kind, catalog.find("solvers", solver_id)), (of_game, given[1])
    shell.limit_threads(threads)

    from gamesim.running import run_on_disk

    command = shlex.join(["gamesim", *sys.argv[1:]])
    outcome = run_on_disk(classes, (game_id, solver_id), given, out=out, show=not as_json, command=command, **options)
    if outcome.summary is None:
        click.echo("stopped at once; the last checkpoint stays, --resume continues from it", err=True)
    elif as_json:
        print_json(outcome.summary)
    else:
        _print_summary(outcome.summary, outcome.figures)
    return outcome.code


def _every(text: str) -> int | str:
    if text == "log" or (text.isdecimal() and text.isascii() and 0 < int(text) < 10**12):
        return text if text == "log" else int(text)
    raise refuse("every", text, "a whole number of at least 1, or log")


def _print_summary(summary: dict[str, Any], figures: list[Path]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=f"{summary['game']} · {summary['solver']} · {summary['iterations']} iterations", title_justify="left"
    )
    for heading in ("metric", "first", "last", "best"):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for metric, row in summary["metrics"].items():
        table.add_row(metric.replace("_", " "), *(f"{row[k]:.6g}" for k in ("first", "last", "best")))
    console = Console(soft_wrap=True)
    console.print(table)
    console.print(f"{summary['status']}: {summary['message']} ({summary['seconds']:.2f} s)", highlight=False)
    console.print(f"run     {summary['run']}", highlight=False)
    console.print(f"figure  {figures[0]}", highlight=False)
    if "usage" in summary:
        from gamesim.cli.llm import usage_lines

        for line in usage_lines(summary["usage"]):
            console.print(line, highlight=False)


@cli.command(short_help="Figures from runs and sweeps on disk.")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option("--metric", help="Which metric to compare  [default: exploitability]")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for the figure  [default: RUN/figures, or figures for several runs]",
)
@JSON
def draw(runs: tuple[Path, ...], metric: str | None, out: Path | None, as_json: bool) -> None:
    """Figures from runs on disk, without running anything; several runs go into one picture, sweeps into several.

    Example: gamesim draw runs/graphon-sis-*
    """
    from gamesim.figures import draw as figure_of
    from gamesim.figures import save
    from gamesim.files import own_folder

    if out is not None and out.suffix in (".png", ".pdf", ".svg"):
        raise refuse("out", str(out), "a folder: the figure has a name of its own in it")
    folder = out or (runs[0] / "figures" if len(runs) == 1 else Path("figures"))
    if any((run / "plan.json").is_file() for run in runs):
        from gamesim.comparison import draw_table

        return _say_figures(draw_table(*runs, out=folder, metric=metric), as_json)
    figure = figure_of(*runs, metric=metric)
    paths = save(figure, own_folder(folder), "convergence" if len(runs) == 1 else "comparison")
    _say_figures(paths, as_json)


def _say_figures(paths: Sequence[Path], as_json: bool) -> None:
    if as_json:
        return print_json({"figures": [str(p) for p in paths]})
    for path in paths:
        click.echo(str(path))

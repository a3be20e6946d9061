"""Many runs from one file: sweep."""

import sys
from pathlib import Path
from typing import Any

import click

from gamesim.cli.shell import JSON, cli, here_on_path, print_json

LISTED = 8
"""Failures that are printed, at most."""


@cli.command(short_help="Do every run that FILE.toml asks for.")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.toml")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Processes of this machine, or a Ray cluster.",
)
@click.option("--workers", type=click.IntRange(1, 1024), help="Batches at once  [default: processors / threads]")
@click.option("--threads", type=click.IntRange(1, 1024), default=1, show_default=True, help="Threads of each worker.")
@click.option(
    "--patience",
    type=float,
    metavar="SECONDS",
    help="Kill a batch that measures nothing for so long, and do its runs each alone  [default: wait for ever]",
)
@click.option("--address", help="A Ray cluster that is there, as 127.0.0.1:6379  [default: one is started here]")
@click.option(
    "--gpus",
    type=click.FloatRange(0, 64),
    default=0.0,
    show_default=True,
    help="GPUs that Ray reserves for each batch on cuda; 0 means one.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="The sweep's folder, absent or empty  [default: runs/FILE]"
)
@click.option("--resume", is_flag=True, help="Continue the sweep in that folder: exactly what is missing is done.")
@click.option(
    "--allow", multiple=True, metavar="MODULE:CLASS", help="A class of yours that the file may name; may be repeated."
)
@click.option(
    "--log",
    multiple=True,
    metavar="TOOL",
    help="Tell each batch to tensorboard, mlflow or wandb, too; may be repeated.",
)
@click.option("--plan", "only_plan", is_flag=True, help="Check the file and say what would be done, and do nothing.")
@JSON
def sweep(file: Path, only_plan: bool, as_json: bool, **options: Any) -> None:
    """Do every run that FILE.toml asks for, and collect them in one table.

    \b
    iterations = 200
    seeds = 10
    [[runs]]
    game = ["matrix/shapley", "matrix/chicken"]        a list is crossed with all others
    solver = "ftrl"
    s = { step_size = { log = [0.01, 1.0], count = 5 } }

    Runs that differ only in seed or in continuous parameters of the solver are done together, as one tensor batch.
    A sweep that was killed goes on with --resume, and leaves the same results.

    \b
    gamesim sweep study.toml --plan                    what would be done
    gamesim sweep study.toml --workers 2               runs/study/results.csv, and figures
    gamesim sweep study.toml --resume                  after a crash
    gamesim compare runs/study --by s.step_size
    """
    raise SystemExit(_sweep(file, only_plan=only_plan, as_json=as_json, **options))


def _sweep(
    file: Path, *, engine: str, workers: int | None, threads: int, patience: float | None, address: str | None,
    gpus: float, out: Path | None, resume: bool, allow: tuple[str, ...], log: tuple[str, ...], only_plan: bool,
    as_json: bool,
) -> int:  # fmt: skip
    from gamesim.errors import refuse
    from gamesim.files import require_name

    here_on_path()
    if file.is_dir():
        raise refuse("file", str(file), "a TOML file; this is a folder")
    out = out or Path("runs") / require_name(file.stem, "file (its name, for the folder; or give --out)")
    from gamesim.reporting import reporter_named
    from gamesim.sweeps.batches import batched
    from gamesim.sweeps.design import read_plan
    from gamesim.sweeps.engines import engine_named
    from gamesim.sweeps.scheduler import require_patience, sweep

    for text in log:
        reporter_named(text)
    patience = require_patience(patience)
    who = engine_named(engine, workers=workers, threads=threads, address=address, gpus=gpus)
    plan = read_plan(file, allow)
    if only_plan:
        batches = batched(plan.runs)
        if as_json:
            rows = [row | {"command": run.command} for row, run in zip(plan.plain(), plan.runs, strict=True)]
            print_json({"runs": rows, "batches": {b.name: [r.name for r in b.runs] for b in batches}})
        else:
            if plan.tune is not None:
                names = ", ".join(a.name for a in plan.axes)
                click.echo(f"{plan.tune['trials']} trials of {len(plan.runs)} runs; chosen: {names}; in the middle:")
            else:
                click.echo(f"{len(plan.runs)} runs in {_batches(len(batches))}")
            for batch in batches:
                first = batch.runs[0]
                more = f"  and {len(batch.runs) - 1} more" if len(batch.runs) > 1 else ""
                click.echo(f"{batch.name}  {first.command}{more}")
        return 0
    summary, code = sweep(plan, out, who, threads=threads, patience=patience, resume=resume, show=not as_json, log=log)
    if as_json:
        print_json(summary)
    else:
        _print_summary(summary)
    return code


def _batches(count: int) -> str:
    return f"{count} batch{'' if count == 1 else 'es'}"


def _print_summary(summary: dict[str, Any]) -> None:
    from rich.console import Console

    from gamesim.sweeps.board import best_table

    console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 200)
    if summary["best"]:
        console.print(best_table(summary["best"]))
    words = f"{summary['done']} of {summary['runs']} runs in {_batches(summary['batches'])}"
    for key in ("diverged", "failed", "missing"):
        words += f", {summary[key]} {key}" if summary[key] else ""
    console.print(f"{summary['status']}: {words} ({summary['seconds']:.1f} s)", highlight=False)
    for note in summary["notes"][:LISTED]:
        click.echo(f"note: {note}", err=True)
    for failure in summary["failures"][:LISTED]:
        click.echo(f"run {failure['run']}: {failure['error']}\n    {failure['command']}", err=True)
    if len(summary["failures"]) > LISTED:
        click.echo(f"... and {len(summary['failures']) - LISTED} more in failures.json", err=True)
    console.print(f"results {summary['results']}", highlight=False)
    for path in summary.get("figures", []):
        console.print(f"figure  {path}", highlight=False)
    if summary["status"] == "interrupted":
        click.echo("stopped; the same command with --resume continues it", err=True)

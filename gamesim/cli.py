"""The command line: it parses, imports late, and calls the rest.

Exit codes: 0 done, 1 the run diverged or a claim, check or bar fails, 2 bad input, 130 and 143 interrupted.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

import gamesim
from gamesim import catalog
from gamesim.errors import InvalidInput, refuse, unknown

JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout and nothing else there.")
KINDS = ("games", "solvers", "experiments")


class Suggesting(click.Group):
    """A group whose unknown commands are answered with the nearest ones."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise unknown("command", args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # `gamesim list | head`: nothing is wrong; click would exit with 1
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(0) from None


@click.group(
    cls=Suggesting,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(gamesim.__version__, prog_name="gamesim")
@click.pass_context
def cli(context: click.Context) -> None:
    """Simulate games and the agents that learn in them, and measure how far they are from equilibrium.

    \b
    gamesim list games                                  what there is
    gamesim describe graphon/sis                        its parameters, equations and source
    gamesim run graphon/sis gmfg-ppo                    solve it; the run and its figure stay on disk
    gamesim reproduce graphon-monotone                  check a paper's claim
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@cli.command("list")
@click.argument("kind", required=False, type=click.Choice(KINDS))
@JSON
def list_command(kind: str | None, as_json: bool) -> None:
    """What there is: games, solvers and experiments, with a line each.

    Example: gamesim list solvers
    """
    kinds = [kind] if kind else list(KINDS)
    rows = [
        {"id": name, "kind": k[:-1], "summary": summary}
        for k in kinds
        for name, (_, summary) in sorted(catalog.entries(k).items())
    ]
    if as_json:
        return _print_json(rows)
    width = max((len(row["id"]) for row in rows), default=0)
    for k in kinds:
        if len(kinds) > 1:
            click.echo(f"{k}:")
        for row in rows:
            if row["kind"] == k[:-1]:
                click.echo(f"  {row['id']:<{width}}  {row['summary']}")


@cli.command()
@click.argument("name", metavar="ID")
@JSON
def describe(name: str, as_json: bool) -> None:
    """Parameters of a game, solver or experiment: types, defaults, meaning; its equations and source.

    Example: gamesim describe graphon/sis
    """
    from gamesim.parameters import describe as parameters_of

    kind, found = _find_any(name)
    rows = parameters_of(found)
    text = (sys.modules[found.__module__].__doc__ or found.__doc__ or "").strip()
    summary = catalog.entries(kind).get(name, ("", text.partition("\n")[0]))[1]
    if as_json:
        data = [{"name": p.name, "type": p.type, "default": p.default, "help": p.help} for p in rows]
        return _print_json({"id": name, "kind": kind[:-1], "summary": summary, "parameters": data, "source": text})
    click.echo(f"{name}: {summary}\n\n{text}\n")
    if rows:
        flag = {"games": "-g", "solvers": "-s"}.get(kind, "")
        click.echo("Parameters" + (f" ({flag} name=value):" if flag else ":"))
    for p in rows:
        default = "required" if p.default is None else f"default {p.default}"
        click.echo(f"  {p.name}  ({p.type}; {default})\n      {p.help}")


def _find_any(name: str) -> tuple[str, Any]:
    for kind in KINDS:
        if name in catalog.entries(kind):
            return kind, catalog.find(kind, name)
    if ":" in name:
        _here_on_path()
        found = catalog.find("games", name)
        return ("solvers" if hasattr(found, "step") and hasattr(found, "init") else "games"), found
    raise unknown("id", name, [n for kind in KINDS for n in catalog.entries(kind)])


@cli.command()
@click.argument("game")
@click.argument("solver")
@click.option(
    "-g", "game_options", multiple=True, metavar="NAME=VALUE", help="A parameter of the game; may be repeated."
)
@click.option(
    "-s", "solver_options", multiple=True, metavar="NAME=VALUE", help="A parameter of the solver; may be repeated."
)
@click.option("--iterations", type=click.IntRange(0), default=100, show_default=True, help="Iterations of the solver.")
@click.option("--tolerance", type=float, help="Stop when the (regularized) exploitability is at most this.")
@click.option(
    "--seeds", type=click.IntRange(1, 10**6), default=1, show_default=True, help="Independent seeds, run as one batch."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="The first seed.")
@click.option("--every", type=click.IntRange(1), default=1, show_default=True, help="Measure each so many iterations.")
@click.option("--average", is_flag=True, help="Report the mean of the iterates instead of the last one.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, ...")
@click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    default=1,
    show_default=True,
    help="Threads; results are bit-identical at a fixed number.",
)
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
    gamesim run mymodule:MyGame online-mirror-descent
    """
    raise SystemExit(_run(game, solver, **options))


def _run(
    game_id: str, solver_id: str, *, game_options: Sequence[str], solver_options: Sequence[str], threads: int,
    out: Path | None, name: str | None, as_json: bool, **options: Any,
) -> int:  # fmt: skip
    from gamesim.files import require_name

    given = _pairs("-g", game_options), _pairs("-s", solver_options)
    if name is not None:
        require_name(name, "name")
        if out is not None:
            raise refuse("name", name, "no --out beside it: give one of the two")
        out = Path("runs") / name
    _here_on_path()
    classes = catalog.find("games", game_id), catalog.find("solvers", solver_id)
    _limit_threads(threads)

    from gamesim.running import run_on_disk

    command = shlex.join(["gamesim", *sys.argv[1:]])
    outcome = run_on_disk(classes, (game_id, solver_id), given, out=out, show=not as_json, command=command, **options)
    if outcome.summary is None:
        click.echo("stopped at once; the last checkpoint stays, --resume continues from it", err=True)
    elif as_json:
        _print_json(outcome.summary)
    else:
        _print_summary(outcome.summary, outcome.figures)
    return outcome.code


def _pairs(flag: str, options: Sequence[str]) -> dict[str, str]:
    found = dict[str, str]()
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or not name.strip():
            raise refuse(flag, option, "name=value")
        if name.strip() in found:
            raise refuse(flag, option, f"each name once; {name.strip()} stands twice")
        found[name.strip()] = value.strip()
    return found


def _here_on_path() -> None:
    """`mymodule:MyGame` means a module of the folder that the user stands in."""
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)


def _limit_threads(threads: int) -> None:
    import torch
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads)
    torch.set_num_threads(threads)


def _print_json(data: Any) -> None:
    import json

    try:
        text = json.dumps(data, indent=2, allow_nan=False)
    except ValueError:  # a number that is not finite becomes null; listing never needs this import
        from gamesim.files import to_json

        text = to_json(data)
    click.echo(text)


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


@cli.command()
@click.argument("experiments", nargs=-1, required=True, metavar="EXPERIMENT...")
@click.option(
    "--scale",
    type=click.Choice(["quick", "full"]),
    default="quick",
    show_default=True,
    help="quick: minutes; full: what the claim is about.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("reports"),
    show_default=True,
    help="Folder for the report, data and figures.",
)
@click.option("--threads", type=click.IntRange(1, 1024), default=1, show_default=True, help="Threads.")
@JSON
def reproduce(experiments: tuple[str, ...], scale: Any, out: Path, threads: int, as_json: bool) -> None:
    """Run experiments and judge their claims: holds, fails or undecided, with statistics, figures and report.html.

    Example: gamesim reproduce graphon-monotone graphon-rate --scale quick
    """
    _here_on_path()
    found = [catalog.find("experiments", name) for name in experiments]
    _limit_threads(threads)
    from gamesim.study import reproduce as judge

    say = (lambda text: None) if as_json else (lambda text: click.echo(text, err=True))
    results = judge(dict(zip(experiments, found, strict=True)), scale, out, say)
    if as_json:
        _print_json(results)
    else:
        for result in results:
            for claim in result["claims"]:
                interval = claim["interval"] and f" [{claim['interval'][0]:.4g}, {claim['interval'][1]:.4g}]"
                click.echo(
                    f"{claim['verdict'].upper():<10} {result['experiment']}/{claim['id']}: {claim['statement']} "
                    f"({claim['statistic']:.4g}{interval or ''})"
                )
        click.echo(f"report  {out / 'report.html'}")
    raise SystemExit(int(any(c["verdict"] == "fails" for r in results for c in r["claims"])))


@cli.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option("--metric", help="Which metric to compare  [default: exploitability]")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for the figure  [default: RUN/figures, or figures for several runs]",
)
@JSON
def draw(runs: tuple[Path, ...], metric: str | None, out: Path | None, as_json: bool) -> None:
    """Figures from runs on disk, without running anything; several runs go into one picture.

    Example: gamesim draw runs/graphon-sis-*
    """
    from gamesim.figures import draw as figure_of
    from gamesim.figures import save
    from gamesim.files import own_folder

    folder = out or (runs[0] / "figures" if len(runs) == 1 else Path("figures"))
    figure = figure_of(*runs, metric=metric)
    paths = save(figure, own_folder(folder), "convergence" if len(runs) == 1 else "comparison")
    if as_json:
        return _print_json({"figures": [str(p) for p in paths]})
    for path in paths:
        click.echo(str(path))


@cli.command()
@click.argument("suite", required=False)
@JSON
def bench(suite: str | None, as_json: bool) -> None:
    """Measure ratios against a plain twin and, where installed, against peers, interleaved in one process.

    Example: gamesim bench graphon
    """
    table = catalog.table("benchmarks")
    if suite is not None and suite not in table:
        raise unknown("suite", suite, table)
    _limit_threads(1)
    rows = []
    for name in [suite] if suite else sorted(table):
        for row in catalog.load(table[name][0])():
            rows.append(row)
            if not as_json:
                bar = _or_dash(row["bar"])
                verdict = {True: "holds", False: "misses", None: "-"}[row["holds"]]
                click.echo(
                    f"{row['id']:<34} ours {_or_dash(row['ours'])}  peer {_or_dash(row['peer'])}  "
                    f"ratio {_or_dash(row['ratio'])}  bar {bar}  {verdict}  {row['note']}"
                )
    if as_json:
        _print_json(rows)
    raise SystemExit(int(any(row["holds"] is False for row in rows)))


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


@cli.command()
@JSON
def doctor(as_json: bool) -> None:
    """Versions, devices, threads, what is missing and the command that would fix it.

    Example: gamesim doctor
    """
    from gamesim.diagnosis import diagnose

    report = diagnose()
    if as_json:
        _print_json(report)
    else:
        for name, found in report["versions"].items():
            click.echo(f"  {name:<14} {found or 'missing'}")
        click.echo(f"  {'devices':<14} {', '.join(report['devices']) or 'none'}")
        click.echo(f"  {'processors':<14} {report['processors']}")
        for problem in report["problems"]:
            click.echo(f"  fix: {problem['problem']} -> {problem['fix']}")
        click.echo(
            "everything that gamesim needs is here"
            if report["healthy"]
            else "something is missing; see the lines marked 'fix'"
        )
    raise SystemExit(0 if report["healthy"] else 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        cli.main(args=None if arguments is None else list(arguments), prog_name="gamesim", standalone_mode=False)
    except InvalidInput as error:
        return _refused(str(error), 2)
    except click.exceptions.Abort:
        return 130
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as error:
        return _refused(error.format_message(), 2)
    except KeyboardInterrupt:
        return 130
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    except (MemoryError, OSError, RuntimeError) as error:
        words = _shortage(error)
        if words is None:
            raise
        return _refused(words, 1)
    return 0


def _shortage(error: Exception) -> str | None:
    """What the machine could not give, in words; None for a defect of a program."""
    if isinstance(error, MemoryError) or "allocate memory" in str(error):
        return "memory: there is too little for this; lower positions, horizon, states or seeds"
    return f"file: {error}" if isinstance(error, OSError) and error.errno is not None else None


def _refused(text: str, code: int) -> int:
    """One line on stderr."""
    click.echo(f"error: {' '.join(text.split())}", err=True)
    return code


def entry() -> NoReturn:
    raise SystemExit(main())

"""Learning from agents: sample them, and fit a game to what they did."""

from pathlib import Path
from typing import Any

import click

from gamesim import catalog
from gamesim.cli import shell
from gamesim.cli.shell import GAME_OPTIONS, JSON, THREADS, cli, here_on_path, pairs, print_json
from gamesim.errors import refuse

SUFFIX = ".fit.json"


@cli.command(short_help="Sample agents of GAME: states, actions, rewards.")
@click.argument("game")
@GAME_OPTIONS
@click.option("--agents", type=click.IntRange(1), help="How many  [default: 50; one per node of a network]")
@click.option("--episodes", type=click.IntRange(1), default=1000, show_default=True, help="Independent episodes.")
@click.option(
    "--positions",
    type=click.Choice(["grid", "random", "unknown"]),
    default="grid",
    show_default=True,
    help="Where they sit: evenly, anywhere, or anywhere and not written down.",
)
@click.option(
    "--policy",
    default="uniform",
    show_default=True,
    help="What they play: uniform, roam (random desires that move the population about), or the folder of a run.",
)
@click.option(
    "--population",
    type=click.Choice(["continuum", "finite"]),
    default="continuum",
    show_default=True,
    help="Agents feel the mean field, or one another on a random network.",
)
@click.option("--density", type=float, help="rho of the network of a finite population  [default: 1]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of everything random.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("agents.npz"), show_default=True, help="The file, .npz."
)
@THREADS
@JSON
def sample(
    game: str, game_options: tuple[str, ...], policy: str, out: Path, threads: int, as_json: bool, **options: Any
) -> None:
    """Sample agents of GAME and write what they did: states, actions, rewards, next states, positions.

    Example: gamesim sample graphon/sis -g graphon=stochastic-block --positions unknown --out agents.npz
    """
    given = pairs("-g", game_options)
    if options["density"] is None:
        options["density"] = 1.0
    elif options["population"] == "continuum":
        raise refuse("density", options["density"], "nothing without --population finite: the continuum has no network")
    _absent(out, ".npz")
    here_on_path()
    kind, own = catalog.named("games", game)
    shell.limit_threads(threads)
    from gamesim.parameters import build
    from gamesim.populations import sample_agents
    from gamesim.running import policy_named

    played = build(kind, own | given, what=game)
    data = sample_agents(played, policy_named(played, policy, options["seed"]), **options)
    data.save(out)
    if as_json:
        return print_json({"data": str(out), "game": game} | data.plain())
    click.echo(f"{data}\nwritten to {out}; now: gamesim fit {out}")


@cli.command(short_help="Learn a game from sampled agents.")
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--graphon",
    default="blocks(2)",
    show_default=True,
    help="blocks(K), low-rank(rank, degree), a family to learn (exp, stochastic-block, ...) or a fixed one (exp(3)).",
)
@click.option(
    "--law",
    default="mixture",
    show_default=True,
    help="How agents respond: mixture, linear, polynomial(degree), kernel(bandwidth), or a game's own equations.",
)
@click.option(
    "--positions",
    type=click.Choice(["auto", "known", "sorted", "labels"]),
    default="auto",
    show_default=True,
    help="As the data say, by the order of responses, or blocks found by who responds alike.",
)
@click.option("--normalize", is_flag=True, help="Agents feel the law of a random neighbour.")
@click.option("--mean", type=float, help="Mean of the graphon, where it is known; else its largest value is 1.")
@click.option("--restarts", type=click.IntRange(1, 1000), default=8, show_default=True, help="Starts of the search.")
@click.option(
    "--bootstrap",
    type=click.IntRange(0, 10000),
    default=100,
    show_default=True,
    help="Resamples of the episodes for intervals; 0 takes the curvature of the likelihood.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of starts and resamples.")
@click.option("--out", type=click.Path(path_type=Path), help="Where to write the estimate  [default: DATA.fit.json]")
@THREADS
@JSON
def fit(data: Path, out: Path | None, threads: int, as_json: bool, **assumptions: Any) -> None:
    """Learn a game from sampled agents: its graphon, how agents respond, and what the data leave open.

    DATA is a table (.csv) or arrays (.npz) of states, actions, rewards and next states; see docs/data.md. The estimate
    and its picture are written beside it, and the learned game is played by any solver:

    \b
    gamesim fit agents.npz --graphon "blocks(2)"
    gamesim run graphon/fitted policy-mirror-descent -g data=agents.fit.json
    gamesim run graphon/fitted gmfg-ppo -g data=agents.npz -g learn.graphon=exp     both in one
    """
    if not data.name:
        raise refuse("data", str(data), "a table (.csv) or arrays (.npz) of sampled agents")
    out = out or data.with_name(data.name.partition(".")[0] + SUFFIX)
    _absent(out, ".json")
    here_on_path()
    shell.limit_threads(threads)
    from gamesim.estimation import Learner
    from gamesim.figures import draw_estimate, save
    from gamesim.formats.agents import read_agents
    from gamesim.parameters import build
    from gamesim.progress import announced

    learner = build(Learner, {name: value for name, value in assumptions.items() if value is not None}, what="fit")
    agents = read_agents(data)
    with announced("learning; intervals of many resamples take a while (--bootstrap 0 does without)", after=5.0):
        found = learner.learn(agents)
    found.save(out)
    figures = save(draw_estimate(found, agents), out.parent, out.name.removesuffix(".json"))
    if as_json:
        return print_json({"estimate": str(out), "figures": [str(p) for p in figures]} | found.written)
    click.echo(f"{data}: {agents}")
    _print_estimate(found)
    click.echo(f"estimate  {out}\nfigure    {figures[0]}")
    click.echo(f"now: gamesim run graphon/fitted policy-mirror-descent -g data={out}")


def _print_estimate(found: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(soft_wrap=True)
    table = Table(title=f"{found.graphon} from {found.placed} positions", title_justify="left")
    for heading in ("parameter", "estimate", "95% from", "to"):
        table.add_column(heading, justify="left" if heading == "parameter" else "right")
    for name, number in found.numbers.items():
        table.add_row(name, *(f"{x:.4g}" for x in number[:3]))
    if found.numbers:
        console.print(table)
        source = next(iter(found.numbers.values())).source
        console.print(f"intervals: {source}; scale: {found.scale}", highlight=False)
    else:
        console.print(f"{found.graphon} from {found.placed} positions; scale: {found.scale}", highlight=False)
    for warning in found.warnings:
        click.echo(f"note: {warning}", err=True)


def _absent(path: Path, suffix: str) -> None:
    if path.suffix != suffix:
        raise refuse("out", str(path), f"a file that ends in {suffix}")
    if path.exists():
        raise refuse("out", str(path), "a file that is not there yet; name another with --out")
    if not path.parent.is_dir():
        raise refuse("out", str(path), f"a file in a folder that exists; {path.parent} does not")

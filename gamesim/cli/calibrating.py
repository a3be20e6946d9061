"""How near a planner's laws are to the Bayes mixture of experts that it should be, decision by decision."""

from pathlib import Path
from typing import Any

import click

from gamesim.cli import shell
from gamesim.cli.shell import GAME_OPTIONS, JSON, THREADS, cli, game_named, pairs, print_json
from gamesim.errors import refuse


@cli.command(short_help="Hold a planner against the exact Bayes mixture.")
@click.argument("world")
@GAME_OPTIONS
@click.option(
    "-s", "solver_options", multiple=True, metavar="NAME=VALUE", help="A parameter of bail, as planner; repeated."
)
@click.option("--episodes", type=click.IntRange(1, 10**6), default=24, show_default=True, help="Of each run.")
@click.option("--seeds", type=click.IntRange(1, 10**6), default=64, show_default=True, help="Runs, side by side.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="The first seed.")
@click.option("--bins", type=click.IntRange(1, 1000), default=10, show_default=True, help="Of confidence.")
@click.option("--out", type=click.Path(path_type=Path), help="A picture: .png, .pdf or .svg.")
@THREADS
@JSON
def calibrate(
    world: str,
    game_options: tuple[str, ...],
    solver_options: tuple[str, ...],
    episodes: int,
    seeds: int,
    seed: int,
    bins: int,
    out: Path | None,
    threads: int,
    as_json: bool,
) -> None:
    """Hold a planner's laws in latent WORLD against the exact mixture of experts, after the same words.

    Total variation by episode; and whether it is as often right as it is sure. A language model has laws in
    mode=logprobs.

    \b
    gamesim calibrate latent/needle -s planner=transformer --out calibration.png
    gamesim calibrate latent/trap -s "planner=bail(delusion=1)" -s exploration=0.1
    """
    if out is not None and (out.suffix.lower() not in (".png", ".pdf", ".svg") or not out.absolute().parent.is_dir()):
        raise refuse("out", str(out), "a file that ends in .png, .pdf or .svg, in a folder that exists")
    shell.limit_threads(threads)
    from gamesim import catalog
    from gamesim.games.latent import LatentWorld
    from gamesim.parameters import build
    from gamesim.planning.calibration import calibrate as measured

    kind, given = game_named(world, pairs("-g", game_options))
    solver = build(catalog.find("solvers", "bail"), pairs("-s", solver_options), what="bail")
    game = build(kind, given, what=world)
    if not isinstance(game, LatentWorld):
        raise refuse("world", world, "a latent world: gamesim list games has them as latent/...")
    found = measured(
        game, solver.decoded, episodes=episodes, runs=seeds, seed=seed, exploration=solver.exploration, bins=bins
    )
    by_episode = found.total_variation.mean((0, 2, 3))
    sure = [
        {"share": s, "confidence": c, "chance": p}
        for s, c, p in zip(found.share.tolist(), found.confidence.tolist(), found.chance.tolist(), strict=True)
        if s > 0
    ]
    data = {
        "world": world,
        "planner": str(solver.decoded),
        "total_variation": {"mean": float(by_episode.mean()), "largest": float(found.total_variation.max())},
        "by_episode": by_episode.tolist(),
        "expected_error": found.expected_error,
        "overconfidence": found.overconfidence,
        "bins": sure,
    }
    if out is not None:
        _draw(out, data)
    if as_json:
        return print_json(data)
    _print(data)
    if out is not None:
        click.echo(f"figure  {out}")


def _print(data: dict[str, Any]) -> None:
    variation = data["total_variation"]
    click.echo(f"{data['planner']} in {data['world']}, against the exact mixture of experts")
    click.echo(f"total variation     {variation['mean']:.4f}, at most {variation['largest']:.4f}")
    click.echo(f"calibration error   {data['expected_error']:.4f}")
    click.echo(f"overconfidence      {data['overconfidence']:+.4f}")
    click.echo("how sure   exact    of decisions")
    for each in data["bins"]:
        click.echo(f"{each['confidence']:8.3f}{each['chance']:8.3f}{each['share']:12.1%}")


def _draw(out: Path, data: dict[str, Any]) -> None:
    from gamesim.charts import Chart, Curve, Panel
    from gamesim.figures import draw_chart, save_as

    episodes = [t + 1.0 for t in range(len(data["by_episode"]))]
    sure = [each["confidence"] for each in data["bins"]]
    panels = [
        Panel("From the exact mixture", "episode", "total variation",
              [Curve("", episodes, data["by_episode"], dots=len(episodes) <= 40)], log_y=False),
        Panel("Is it as sure as it may be?", "probability of its likeliest subgoal", "exact probability of that",
              [Curve("planner", sure, [each["chance"] for each in data["bins"]], dots=True),
               Curve("exact", [0.0, 1.0], [0.0, 1.0], dashed=True)], log_y=False),
    ]  # fmt: skip
    save_as(draw_chart(Chart("calibration", panels)), out)

"""Certificates: of a graphon game as a whole, of a normal-form game's equilibria, of a stochastic game's policies."""

from typing import Any

import click

from gamesim.cli.equilibria import build_game, profiles_named
from gamesim.cli.shell import GAME_OPTIONS, JSON, THREADS, cli, pairs, print_json
from gamesim.errors import refuse

OF_GRAPHONS = ("temperature", "pairs")
OF_EQUILIBRIA = (
    "equilibrium",
    "solver",
    "solver_options",
    "radius",
    "within",
    "closeness",
    "runs",
    "iterations",
    "level",
)
OF_POLICIES = ("policy", "tolerance")


@cli.command(short_help="What is proved or known of GAME, and how.")
@click.argument("game")
@GAME_OPTIONS
@click.option("--temperature", type=float, help="Graphon games: of the regularised game  [default: 0.1]")
@click.option("--pairs", type=click.IntRange(1, 10**6), help="Graphon games: pairs that are tried  [default: 4096]")
@click.option(
    "--equilibrium", help="Normal-form games: all, actions such as 0,1, or [[0.5, 0.5], [1, 0]]  [default: all]"
)
@click.option("--solver", help="How its learners learn  [default: ftrl with bandit feedback]")
@click.option("-s", "solver_options", multiple=True, metavar="NAME=VALUE", help="A parameter of the solver.")
@click.option("--radius", type=float, help="Runs begin at this total variation from it  [default: 0.1]")
@click.option("--within", type=float, help="How far a run that stays may go  [default: three times the radius]")
@click.option("--closeness", type=float, help="How near a run that converges ends  [default: half the radius]")
@click.option("--runs", type=click.IntRange(1, 10**6), help="Independent runs  [default: 1000]")
@click.option("--iterations", type=click.IntRange(0), help="Iterations of each  [default: 10000]")
@click.option("--level", type=float, help="Probability that is asked for  [default: 0.95]")
@click.option(
    "--policy", help="Stochastic games: a run's folder, actions such as 0,1;0,0, or JSON  [default: equilibria found]"
)
@click.option("--tolerance", type=float, help="Stochastic games: relative to the span of payoffs  [default: 1e-9]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of everything random.")
@THREADS
@JSON
def certify(game: str, game_options: tuple[str, ...], seed: int, threads: int, as_json: bool, **options: Any) -> None:
    """What is known of GAME, and how it is known.

    A graphon game: is it weakly monotone, does it contract, and which step sizes follow? A normal-form game: do
    learners that start near an equilibrium stay there, and with which probability (Clopper-Pearson, 99%)? A stochastic
    game: is a policy a Nash equilibrium, is it strict, and is it second-order stationary for policy gradient? Players,
    states and actions count from 0.

    \b
    gamesim certify graphon/beach -g crowd=8 -g horizon=15 --temperature 1
    gamesim certify graphon/beach -g graphon=exp         not monotone: with a pair of populations that shows it
    gamesim certify matrix/battle-of-the-sexes           every equilibrium: the strict ones hold, the mixed one fails
    gamesim certify game.nfg --equilibrium 0,1 -s regularizer=euclidean -s feedback=realised
    gamesim certify stochastic/two-state                 every pure equilibrium, with its margin and modulus
    gamesim certify stochastic/two-state --policy runs/stochastic-two-state-policy-gradient-1a2b3c4d
    """
    given = {name: value for name, value in options.items() if value not in (None, ())}
    played = build_game(game, game_options, threads)
    from gamesim.games import GraphonGame, NormalFormGame, TabularGame

    families = {
        NormalFormGame: ("a normal-form game", OF_EQUILIBRIA),
        TabularGame: ("a stochastic game", OF_POLICIES),
        GraphonGame: ("a graphon game", OF_GRAPHONS),
    }
    family = next((kind for kind in families if isinstance(played, kind)), None)
    if family is None:
        wanted = "a normal-form, a stochastic or a graphon game; there are no certificates of other families"
        raise refuse("game", game, wanted)
    what, own = families[family]
    for name in given:
        if name not in own:
            said = ", ".join(own).replace("solver_options", "-s")
            raise refuse(name, given[name], f"nothing: {game} is {what}, whose options are {said}")
    if family is TabularGame:
        from gamesim.cli.policies import certify_policies_of

        return certify_policies_of(game, played, given, seed, as_json)
    if isinstance(played, NormalFormGame):
        return _certify_equilibria(game, played, given, seed, as_json)
    from gamesim.certificates import certify as certificate_of

    found = certificate_of(played, seed=seed, **given)
    if as_json:
        return print_json(found.to_json() | {"game": game})
    for name, verdict, number, words in found.rows():
        click.echo(f"{name:<22} {verdict:<10} {number:<12} {words}")


def _certify_equilibria(game: str, played: Any, given: dict[str, Any], seed: int, as_json: bool) -> None:
    from gamesim.certificates.learners import learner
    from gamesim.certificates.stability import certify_equilibrium
    from gamesim.making import make_solver

    name, typed = given.pop("solver", "ftrl"), pairs("-s", given.pop("solver_options", ()))
    solver = learner(played, given.get("radius", 0.1), **typed) if name == "ftrl" else make_solver(name, **typed)
    profiles = profiles_named(played, given.pop("equilibrium", "all"))
    found = []
    for profile in profiles:
        found.append(certify_equilibrium(played, profile, solver, seed=seed, **given))
        if not as_json:
            _print_stability(played, found[-1])
    cautions = dict.fromkeys(words for each in found for words in each.cautions)
    if not as_json:
        for words in cautions:
            click.echo(f"note: {words}", err=True)
    if as_json:
        return print_json({"game": game, "solver": str(solver), "equilibria": [each.plain() for each in found]})


def _print_stability(game: Any, found: Any) -> None:
    if found.pure is None:
        shown = "; ".join(" ".join(f"{p:.4g}" for p in x) for x in found.profile)
    else:
        names = ", ".join(game.actions[i][a] for i, a in enumerate(found.pure))
        shown = f"{','.join(map(str, found.pure))}: {names}"
    kind = f"strict, margin {float(found.margin):.4g}" if found.strict else "not strict"
    near = f"from {found.radius:g} away, within {found.within:g}, to {found.closeness:g}"
    click.echo(f"({shown})  {kind}; {near}")
    for what, p in (("stays", found.stays), ("stays and converges", found.converges)):
        click.echo(f"  {what:<20} {p.value:.4f}  [{p.interval[0]:.4f}, {p.interval[1]:.4f}]")
    click.echo(f"  {found.verdict:<20} {found.reason}")

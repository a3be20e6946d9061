"""Policies of stochastic games: where a command takes them from, and what is certified of them."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import click

from gamesim.cli.shell import print_json
from gamesim.errors import refuse

SHOWN = 24
"""Policies on a terminal, at most."""
WIDE, FEW = 24, 4
"""States of a pure and of a mixed policy that are shown, at most."""


def certify_policies_of(game: str, played: Any, given: dict[str, Any], seed: int, as_json: bool) -> None:
    """What `gamesim certify` does for a stochastic game."""
    import torch

    from gamesim.certificates.second_order import Tolerance, certify_policies
    from gamesim.parameters import convert

    if played.batch:
        raise refuse("game", f"a batch of games {list(played.batch)}", "one game")
    tolerance = convert(given.get("tolerance", 1e-9), Tolerance, "tolerance")
    policies, notes = policies_named(played, given["policy"]) if "policy" in given else found_in(played, seed)
    batch = tuple(torch.stack(parts) for parts in zip(*policies, strict=True))
    found = certify_policies(played, batch, tolerance=tolerance) if policies else []
    for words in notes:
        click.echo(f"note: {words}", err=True)
    if as_json:
        return print_json({"game": game, "policies": [each.plain() for each in found], "notes": notes})
    blocks = Counter(map(_words, found))  # many seeds may have ended at one policy
    for block, count in list(blocks.items())[:SHOWN]:
        head, _, rest = block.partition("\n")
        click.echo(f"{head}{f', {count} of {len(found)} policies' if count > 1 else ''}\n{rest}")
    if len(blocks) > SHOWN:
        click.echo(f"{len(blocks) - SHOWN} more policies: --json has all")


def policies_named(game: Any, text: str) -> tuple[list[Any], list[str]]:
    """What --policy may say: the folder of a run, actions such as 0,1;0,0, or a JSON list of tables per player."""
    from gamesim.certificates.second_order import as_policy

    if text.lstrip().startswith("["):
        try:
            tables = json.loads(text)
        except (ValueError, RecursionError):
            wanted = "a table of states for each player, such as [[[0.5, 0.5], [1, 0]], [[1, 0], [1, 0]]]"
            raise refuse("policy", text, wanted) from None
        return [as_policy(game, tables)], []
    if Path(text).is_dir():
        return of_run(game, Path(text))
    parts = [part.split(",") for part in text.split(";")]
    if len(parts) != len(game.action_counts) or any(len(part) != game.state_count for part in parts):
        wanted = "the folder of a run, a JSON list, or actions of each player in each state such as "
        sample = ";".join([",".join(["0"] * min(game.state_count, 4))] * len(game.action_counts))
        raise refuse("policy", text, wanted + sample)
    return [as_policy(game, [[_action(game, i, a.strip()) for a in part] for i, part in enumerate(parts)])], []


def _action(game: Any, player: int, part: str) -> int:
    names = game.actions[player]
    if part.isdecimal() and part.isascii() and int(part) < len(names):
        return int(part)
    if part in names and names.count(part) == 1 and not part.isdecimal():
        return int(names.index(part))
    raise refuse(f"policy[{player}]", part, f"an action from 0 to {len(names) - 1}, or its name")


def of_run(game: Any, folder: Path) -> tuple[list[Any], list[str]]:
    """The last policies of a run on disk, one for each seed, through the solver that the run names."""
    from gamesim import catalog
    from gamesim.averaging import Averaged
    from gamesim.errors import InvalidInput
    from gamesim.files import read_json
    from gamesim.parameters import build, plain
    from gamesim.records import first_difference, load_snapshot
    from gamesim.states import mapped, tensors

    if not (folder / "config.json").is_file():
        raise refuse("policy", str(folder), "the folder of a run, with its config.json")
    config = read_json(folder / "config.json")
    try:
        written, solver_id, given = (
            config["game"]["parameters"],
            config["solver"]["id"],
            dict(config["solver"]["given"]),
        )
        every = config["every"] if config["every"] == "log" else max(1, int(config["every"]))
    except (KeyError, TypeError, ValueError):
        raise refuse("policy", str(folder), "the folder of a run, with the config.json that gamesim wrote") from None
    if solver_id not in catalog.entries("solvers"):  # a file does not say what is imported
        raise refuse("policy", str(folder), f"a run of a solver of `gamesim list`, not {solver_id}; or tables as JSON")
    other = first_difference("game.parameters", written, plain(game))
    if other:
        raise refuse("policy", str(folder), f"a run of the same game; {other}")
    snapshot = load_snapshot(folder, every)
    if snapshot is None:
        raise refuse("policy", str(folder), "a run that has saved its state")
    solver = build(catalog.find("solvers", solver_id), given, what="solver")
    like = (Averaged(solver) if config.get("average") else solver).init(game)
    if tensors(like).keys() != snapshot.tensors.keys():
        raise InvalidInput(f"policy: the state in {folder} is of another version of {solver_id}")
    policy = mapped(like, lambda name, _: snapshot.tensors[name]).policy
    count = max(x[..., 0, 0].numel() for x in policy)
    rows = [x.reshape(-1, *x.shape[-2:]).to(**game.like).expand(count, -1, -1) for x in policy]
    notes = [f"policy: the state after {snapshot.iteration} iterations"]
    return [tuple(x[k] for x in rows) for k in range(count)], notes


def found_in(game: Any, seed: int) -> tuple[list[Any], list[str]]:
    """Equilibria of the game itself."""
    from gamesim.certificates.candidates import candidates
    from gamesim.progress import announced

    with announced("looking for equilibria; a large game takes a while, --policy names one", after=5.0):
        found = candidates(game, seed)
    return found.policies, found.notes


def _words(found: Any) -> str:
    """A certificate in a few lines."""
    lines = list[str]()
    say = lines.append
    say(f"({_rows(found)})  {found.verdict}")
    say(f"  {found.reason}")
    if found.dropped > 0:
        say(f"  probabilities of at most {found.dropped:.2g} were taken as 0")
    if found.modulus is not None:
        c, mu, ball = found.weighted_margin, found.modulus, found.radius
        say(f"  {'margin':<20} {found.margin:.6g}; weighted by visits {c:.6g}")
        say(f"  {'modulus':<20} {mu:.6g} within a total variation of {ball:.3g} in each state")
    if found.direction is not None and any(found.direction.ratios):  # where nobody ever comes, all of it is 0
        tried = zip(found.direction.steps, found.direction.ratios, strict=True)
        ratios = ", ".join(f"{q:.1e} at h = {h:.1g}" for h, q in tried)
        say(f"  {'along it':<20} <v, pi - pi*> / |pi - pi*|^2 = {ratios}")
        own, high = found.direction.own_block, found.direction.eigenvalue
        say(f"  {'derivative':<20} own blocks on the face {own:.1e}, largest eigenvalue {high:.4g}")
    if found.deviation is not None and found.exploitability > 0:
        say(f"  {'exploitability':<20} {found.exploitability:.6g}")
    return "\n".join(lines)


def _rows(found: Any) -> str:
    """A policy, player by player, cut off where there are many states."""
    if found.pure is not None:
        return ";".join(",".join(map(str, x[:WIDE])) + (",..." if len(x) > WIDE else "") for x in found.pure)
    tables = [[" ".join(f"{p:.4g}" for p in row) for row in x[:FEW]] for x in found.policy]
    return "; ".join(", ".join(rows) + (", ..." if len(found.policy[0]) > FEW else "") for rows in tables)

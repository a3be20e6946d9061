"""What a dataset says about itself: worlds, behaviours, what tokens and actions mean, and scores to compare with.

    format            "gamesim-sets-1"
    worlds            [{"id": "sets/spread", "parameters": {"variant": "mpe2", "agents": 3, ...}}, ...]
    behaviours        names of the policies that acted, ["random", "medium", ...]
    kinds_of_entity   names of the kinds of entity, ["agent", "landmark"]
    features          names of the numbers of a token, ["x", "y", "vx", "vy"]
    actions           ["discrete", 5], how many there are; or ["continuous", 2], numbers in [-1, 1] of one action
    references        {"0": {"random": mean return, "expert": mean return}}, a world by its place in `worlds`
    versions, notes   what wrote it, and what was repaired on the way, each in a sentence with its count

A return is the mean over agents of the undiscounted return of an episode.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gamesim.data.agents import require_names
from gamesim.errors import InvalidInput, refuse, unknown
from gamesim.parameters import plain

SETS_FORMAT = "gamesim-sets-1"
"""What `SetData.save` writes into its files, so that a later form can be told apart."""
FIELDS = {"format", "worlds", "behaviours", "kinds_of_entity", "features", "actions", "references", "versions", "notes"}
MANY = 256
"""Worlds, behaviours, kinds and discrete actions that data may tell apart: each is stored in a byte."""

Header = dict[str, Any]


def make_header(
    *,
    worlds: Sequence[Mapping[str, Any]],
    behaviours: Sequence[str],
    kinds_of_entity: Sequence[str],
    features: Sequence[str],
    actions: Sequence[Any],
    references: Mapping[Any, Mapping[str, float]] | None = None,
    notes: Sequence[str] = (),
    versions: Mapping[str, str] | None = None,
) -> Header:
    """A header, checked; versions are those of this process where they are left out."""
    return checked_header(
        {
            "format": SETS_FORMAT,
            "worlds": worlds,
            "behaviours": behaviours,
            "kinds_of_entity": kinds_of_entity,
            "features": features,
            "actions": actions,
            "references": references,
            "versions": _versions() if versions is None else versions,
            "notes": notes,
        }
    )


def checked_header(given: Any) -> Header:
    """The header as plain data; refused by the field that is wrong."""
    if not isinstance(given, Mapping):
        raise refuse("header", type(given).__name__, "a dictionary; `make_header` makes one")
    if given.get("format", SETS_FORMAT) != SETS_FORMAT:
        raise refuse("header.format", given["format"], f"{SETS_FORMAT}, which this version of gamesim reads")
    for name in given:
        if name not in FIELDS:
            raise unknown("header", str(name), FIELDS)
    missing = sorted(FIELDS - {"format", "references", "versions", "notes"} - set(given))
    if missing:
        raise InvalidInput(f"header.{missing[0]}: a dataset needs it")
    found: Header = {"format": SETS_FORMAT, "worlds": [_world(i, w) for i, w in enumerate(_some(given, "worlds"))]}
    for name in ("behaviours", "kinds_of_entity", "features"):
        found[name] = list(require_names(_some(given, name), f"header.{name}"))
    found["actions"] = _actions(given["actions"])
    found["references"] = _references(given.get("references") or {}, len(found["worlds"]))
    versions = given.get("versions") or {}
    if not isinstance(versions, Mapping):
        raise refuse("header.versions", versions, "a dictionary of names and versions")
    found["versions"] = {str(name): str(version) for name, version in versions.items()}
    notes = given.get("notes") or []
    if isinstance(notes, str) or not isinstance(notes, Iterable):
        raise refuse("header.notes", notes, "a list of sentences")
    found["notes"] = [" ".join(str(note).split()) for note in notes]
    return found


def merged(headers: Sequence[Header]) -> tuple[Header, list[dict[str, list[int]]]]:
    """One header for several, and where the worlds, behaviours and kinds of each are found in it."""
    first = headers[0]
    for other in headers[1:]:
        for name in ("features", "actions"):
            if other[name] != first[name]:
                raise refuse(f"header.{name}", other[name], f"{first[name]}, as in the data it is joined to")
    notes = list(dict.fromkeys(note for header in headers for note in header["notes"]))
    found: Header = {**first, "worlds": [], "behaviours": [], "kinds_of_entity": [], "references": {}, "notes": notes}
    found["versions"] = {name: version for header in reversed(headers) for name, version in header["versions"].items()}
    places = list[dict[str, list[int]]]()
    for header in headers:
        places.append({})
        for name in ("worlds", "behaviours", "kinds_of_entity"):
            found[name] += [entry for entry in header[name] if entry not in found[name]]
            if len(found[name]) > MANY:
                raise refuse(f"header.{name}", len(found[name]), f"at most {MANY} in one dataset")
            places[-1][name] = [found[name].index(entry) for entry in header[name]]
        for i, scores in header["references"].items():
            world = str(places[-1]["worlds"][int(i)])
            if not _close(found["references"].setdefault(world, scores), scores):
                note = f"references of world {world} differ between the parts; those of the first one are kept"
                found["notes"] += [note] * (note not in found["notes"])
    return found, places


def _close(x: Mapping[str, float], y: Mapping[str, float]) -> bool:
    """The same numbers, but for the last digits that another machine computes."""
    return x.keys() == y.keys() and all(math.isclose(x[name], y[name], rel_tol=1e-5, abs_tol=1e-9) for name in x)


def _some(given: Mapping[str, Any], name: str) -> list[Any]:
    value = given[name]
    if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
        raise refuse(f"header.{name}", value, "a list")
    entries = list(value)
    if not 1 <= len(entries) <= MANY:
        raise refuse(f"header.{name}", f"{len(entries)} entries", f"1 to {MANY}")
    return entries


def _world(place: int, world: Any) -> dict[str, Any]:
    if not isinstance(world, Mapping) or not isinstance(world.get("id"), str):
        raise refuse(f"header.worlds[{place}]", world, 'a world: {"id": "sets/spread", "parameters": {...}}')
    parameters = world.get("parameters") or {}
    if not isinstance(parameters, Mapping):
        raise refuse(f"header.worlds[{place}].parameters", parameters, "a dictionary of names and values")
    return {"id": world["id"], "parameters": plain(parameters)}


def _actions(given: Any) -> list[Any]:
    kind, count = given if isinstance(given, list | tuple) and len(given) == 2 else (None, None)
    if kind not in ("discrete", "continuous") or isinstance(count, bool) or not isinstance(count, int):
        raise refuse("header.actions", given, '["discrete", how many] or ["continuous", numbers of one action]')
    if not 1 <= count <= MANY:
        raise refuse("header.actions", given, f"a count from 1 to {MANY}")
    return [kind, count]


def _references(given: Any, worlds: int) -> dict[str, dict[str, float]]:
    if not isinstance(given, Mapping):
        raise refuse("header.references", given, '{"0": {"random": return, "expert": return}}')
    found = dict[str, dict[str, float]]()
    for key, scores in given.items():
        place = int(key) if str(key).isdecimal() else -1
        if not 0 <= place < worlds:
            raise refuse("header.references", key, f"the place of a world, 0 to {worlds - 1}")
        if not isinstance(scores, Mapping) or not all(
            isinstance(x, int | float) and math.isfinite(x) for x in scores.values()
        ):
            raise refuse(f"header.references.{place}", scores, "names and finite returns")
        found[str(place)] = {str(name): float(x) for name, x in scores.items()}
    return found


def _versions() -> dict[str, str]:
    import numpy
    import torch

    import gamesim

    return {"gamesim": gamesim.__version__, "torch": str(torch.__version__), "numpy": numpy.__version__}

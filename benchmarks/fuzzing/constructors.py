"""Games, solvers, choices and public classes, made with good and bad values of their fields.

Classes of the catalogue are made as `gamesim.make` makes them, which checks the types of fields; the others are called.
"""

import dataclasses
import typing
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from gamesim import catalog
from gamesim.benchmarks.fuzzing.trials import Outcome, tried
from gamesim.benchmarks.fuzzing.values import arrays, objects, passed
from gamesim.parameters import build, hints_of

Made = tuple[str, Callable[[], object]]

COSTLY = ("latent/grid",)  # its actors and reporters are learned when it is made
PUBLIC = {
    "MatrixGame": ("gamesim.games:MatrixGame", ("payoffs",)),
    "MatrixGame.zero_sum": ("gamesim.games:MatrixGame.zero_sum", ("payoffs",)),
    "MatrixGame.bimatrix": ("gamesim.games:MatrixGame.bimatrix", ("a", "b")),
    "StochasticGame": ("gamesim.games:StochasticGame", ("reward", "transition", "initial")),
    "SymmetricGame": ("gamesim.games.symmetric:SymmetricGame", ("table", "action_count")),
    "Empirical": ("gamesim.graphons.empirical:Empirical", ("adjacency",)),
    "BlockGraphon": ("gamesim.graphons.families:BlockGraphon", ("values",)),
    "FunctionGraphon": ("gamesim.graphons.graphon:FunctionGraphon", ("function",)),
    "AgentData": ("gamesim.data:AgentData", ("states", "actions", "rewards", "next_states")),
    "Stream": ("gamesim.randomness:Stream", ("seed",)),
    "Acceptance.of": ("gamesim.formats.acceptance:Acceptance.of", ("table",)),
    "read_graph": ("gamesim.formats.graphs:read_graph", ("source",)),
    "read_agents": ("gamesim.formats.agents:read_agents", ("source",)),
    "make": ("gamesim.making:make", ("game",)),
    "make_solver": ("gamesim.making:make_solver", ("solver",)),
}


def families() -> dict[str, Any]:
    """The kinds of every choice that a game or a solver has."""
    found = dict[str, Any]()

    def walk(hint: Any) -> None:
        if hasattr(hint, "kinds"):
            new = {f"{kind.__module__}:{kind.__qualname__}": kind for kind in hint.kinds.values()}
            fresh = new.keys() - found.keys()
            found.update(new)
            for name in sorted(fresh):
                for inner in hints_of(new[name]).values():
                    walk(inner)
        for inner in typing.get_args(hint):
            walk(inner)

    for kind in ("games", "solvers"):
        for id in sorted(catalog.table(kind)):
            for hint in hints_of(catalog.find(kind, id)).values():
                walk(hint)
    return found


def catalogued() -> SearchStrategy[Made]:
    """A game, a solver or a choice, with some of its fields given."""
    classes = {id: catalog.find(kind, id) for kind in ("games", "solvers") for id in sorted(catalog.table(kind))}
    classes |= families()
    names = [name for name in sorted(classes) if name not in COSTLY]
    return st.sampled_from(names).flatmap(lambda name: _fields_of(name, classes[name]))


def _fields_of(name: str, cls: type) -> SearchStrategy[Made]:
    hints = hints_of(cls)
    fields = [f for f in dataclasses.fields(cls) if f.init and not f.name.startswith("_")] if hints else []
    if not fields:
        return st.just((f"{name}()", lambda: build(cls, {})))
    needed = [f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING]
    some = st.lists(st.sampled_from([f.name for f in fields]), unique=True, min_size=1, max_size=3)
    given = some.flatmap(lambda names: st.fixed_dictionaries({n: passed(hints[n]) for n in {*names, *needed}}))
    return given.map(lambda values: (f"{name}({values!r:.300})", lambda: build(typing.cast(Any, cls), values)))


def public() -> SearchStrategy[Made]:
    """A public class or function, with arrays and objects of any kind."""
    return st.sampled_from(sorted(PUBLIC)).flatmap(_call)


def _call(name: str) -> SearchStrategy[Made]:
    path, arguments = PUBLIC[name]
    values = st.tuples(*(st.one_of(arrays(), arrays(), objects()) for _ in arguments))

    def made(given: tuple[Any, ...]) -> Made:
        module, _, rest = path.partition(":")
        head, _, method = rest.partition(".")
        found = catalog.load(f"{module}:{head}")
        call = getattr(found, method) if method else found
        return f"{name}({', '.join(f'{x!r:.120}' for x in given)})", lambda: call(*given)

    return values.map(made)


def meet(made: Made) -> Outcome:
    """Make it."""
    return tried(made[1])

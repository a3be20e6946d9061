"""Command lines of every command, from the options and arguments that it declares itself.

What makes a command quick comes first (CHEAP); of an option that is given twice the last value counts. Commands whose
work is long, or that serve or ask others (OUT_OF_REACH), are met with arguments that begin no work.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from gamesim import catalog
from gamesim.benchmarks.fuzzing.values import ODD_TEXTS, texts, typed
from gamesim.parameters import hints_of

FILES = (
    "game.nfg", "outcomes.nfg", "game.gam", "game.efg", "graph.csv", "graph.graphml", "graph.gml", "graph.npz",
    "agents.csv", "agents.npz", "sets.npz", "log.csv", "log.jsonl", "agents.fit.json", "transcript.jsonl",
    "sweep.toml", "run", "run/config.json", "run/trace.csv", "run/state.safetensors", "bandit-run", "folder", "link",
    "absent", "absent.nfg",
)  # fmt: skip

CHEAP: dict[str, tuple[str, ...]] = {
    "run": ("--iterations", "1"),
    "calibrate": ("--episodes", "2", "--seeds", "2"),
    "certify": ("--pairs", "8", "--runs", "8", "--iterations", "4"),
    "fit": ("--restarts", "1", "--bootstrap", "0"),
    "sample": ("--agents", "3", "--episodes", "2"),
    "tournament": ("--rounds", "4", "--match", "2", "--seeds", "2"),
    "data make": ("--episodes", "2", "--no-references"),
    "llm check": ("--timeout", "0.1"),
    "llm estimate": ("--iterations", "2", "--seeds", "2"),
}
OUT_OF_REACH = {"bench", "reproduce", "llm serve", "llm pretrain", "llm check", "sweep"}
"""Their arguments are none that would begin work."""
SMALL = ("0", "1", "2", "3")


def commands() -> dict[str, Any]:
    """Every command by its name, `data make` for one within a group."""
    group: Any = catalog.load("gamesim.cli:cli")
    found = dict[str, Any]()
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        found |= {f"{name} {each}": one for each, one in inner.items()} if inner else {name: command}
    return found


def command_lines(names: Sequence[str] = ()) -> SearchStrategy[list[str]]:
    """The arguments of `gamesim`, of these commands or of any."""
    known = commands()
    lines = [_line(name, known[name]) for name in names or sorted(known)]
    if names:
        return st.one_of(*lines).map(_sayable)
    runs = [_line(name, known[name]) for name in ("run", "run", "certify", "sample", "equilibria", "data make")]
    return st.one_of(*lines, *runs, st.lists(texts(), max_size=3)).map(_sayable)


def _sayable(line: list[str]) -> list[str]:
    """What a system can pass on to a program: texts without NUL."""
    return [text.replace("\0", "") for text in line]


def _line(name: str, command: Any) -> SearchStrategy[list[str]]:
    import click

    arguments = [p for p in command.params if isinstance(p, click.Argument)]
    options = [p for p in command.params if isinstance(p, click.Option)]
    chosen = st.lists(st.sampled_from(options), max_size=3) if options else st.just([])
    parts = [_argument(name, p) for p in arguments]

    def whole(picked: list[Any]) -> SearchStrategy[list[str]]:
        said = [_option(name, p) for p in picked if p.opts[0] not in ("-g", "-s")]
        return st.tuples(st.tuples(*parts), _parameters(name, command), *said).map(
            lambda found: [*name.split(), *CHEAP.get(name, ()), *chain(*found[2:]), *found[1], *chain(*found[0])]
        )

    return chosen.flatmap(whole)


def _argument(name: str, argument: Any) -> SearchStrategy[list[str]]:
    if name in OUT_OF_REACH:
        wrong = st.sampled_from([x for x in (*ODD_TEXTS, *FILES) if x not in ("sweep.toml",)])
        return wrong.map(lambda text: [text])
    kinds = {"game": "games", "world": "games", "file": "games", "solver": "solvers"}
    if argument.name in kinds:
        ids = sorted(catalog.table(kinds[argument.name]))
        if argument.name == "world":
            ids = [x for x in ids if x.startswith(("latent/", "sets/"))]
        usual = st.sampled_from(ids).map(lambda text: [text])
        files = st.sampled_from(FILES).map(lambda text: [text])
        return st.one_of(usual, usual, usual, files, st.just([]), texts().map(lambda text: [text]))
    if argument.name == "name":
        every = [id for kind in ("games", "solvers", "experiments") for id in sorted(catalog.table(kind))]
        return st.one_of(st.sampled_from(every), texts()).map(lambda text: [text])
    return st.lists(st.one_of(st.sampled_from(FILES), texts()), max_size=2)


def _option(name: str, option: Any) -> SearchStrategy[list[str]]:
    import click

    flag = option.opts[0]
    if option.is_flag:
        return st.sampled_from([*option.opts, *option.secondary_opts]).map(lambda text: [text])
    values: SearchStrategy[str]
    if isinstance(option.type, click.Choice):
        values = st.one_of(st.sampled_from(option.type.choices).map(str), texts())
    elif isinstance(option.type, click.Path):
        values = st.one_of(st.sampled_from((*FILES, "new", "new.png", "new.npz", "new.json", "run/x/y")), texts())
    else:
        known = (
            "ftrl",
            "fixed-policy",
            "bail",
            "tit-for-tat",
            "uniform",
            "expert",
            "medium(2)",
            "0,1",
            "[[0.5, 0.5], [1, 0]]",
        )
        values = st.one_of(st.sampled_from((*SMALL, "0.5", "1e-3", "log", *known)), texts())
    if flag in (
        "--iterations",
        "--seeds",
        "--episodes",
        "--agents",
        "--rounds",
        "--pairs",
        "--runs",
        "--bootstrap",
        "--restarts",
        "--match",
        "--every",
        "--timeout",
    ):
        values = st.one_of(st.sampled_from(SMALL), texts())
        values = values.filter(lambda text: not (text.strip().isdecimal() and 3 < int(text[:4300].strip()) < 10**9))
    return values.map(lambda text: [flag, text])


def _parameters(name: str, command: Any) -> SearchStrategy[list[str]]:
    """`-g name=value` and `-s name=value` of a game and a solver: mostly of any, so mostly refused."""
    flags = [p.opts[0] for p in command.params if p.opts[0] in ("-g", "-s")]
    if not flags:
        return st.just([])
    each = [_parameter(flag) for flag in flags]
    return st.lists(st.one_of(*each), max_size=1).map(lambda pairs: list(chain(*pairs)))


def _parameter(flag: str) -> SearchStrategy[list[str]]:
    kind = {"-g": "games", "-s": "solvers"}[flag]
    fields = {name: hint for id in sorted(catalog.table(kind)) for name, hint in _fields(kind, id).items()}
    known = st.sampled_from(sorted(fields)).flatmap(lambda name: typed(fields[name]).map(lambda text: f"{name}={text}"))
    return st.one_of(known, known, known, texts()).map(lambda text: [flag, text])


def _fields(kind: str, id: str) -> dict[str, Any]:
    import dataclasses

    cls = catalog.find(kind, id)
    hints = hints_of(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.init} if dataclasses.is_dataclass(cls) else {}


SOLVERS = {
    "bandits": ("exp3", "exp3-spec", "fixed-policy", "hedge-spec", "sparse-bandit", "thompson", "ucb", "ucb-spec"),
    "graphon": ("fictitious-play", "fixed-point", "gmfg-ppo", "online-mirror-descent", "policy-mirror-descent"),
    "latent": ("bail",),
    "matrix": (
        "best-response-dynamics",
        "exp3",
        "extragradient",
        "fictitious-play",
        "ftrl",
        "gradient-descent-ascent",
        "online-mirror-descent",
        "replicator",
        "policy-mirror-descent",
    ),
    "mean-field": ("fictitious-play", "fixed-point", "online-mirror-descent", "policy-mirror-descent"),
    "sets": (
        "atac",
        "bc",
        "bellman-consistent-pessimism",
        "cql",
        "iql",
        "ma-cql",
        "model-based-pessimism",
        "omar",
        "pspi",
        "td3-bc",
    ),
    "simulator": ("independent-ppo", "independent-q-learning", "policy-gradient"),
    "stochastic": ("independent-ppo", "independent-q-learning", "nash-q", "policy-gradient", "shapley-iteration"),
    "variational": ("extragradient", "gradient-descent-ascent"),
}
"""Who plays what, so that a run is not refused by its pair alone."""
NEEDED = {
    "sets/offline": ("-g", "data=sets.npz", "-s", "network=mlp", "-s", "batch_size=2"),
    "bandits/acceptance-log": ("-g", "data=log.csv"),
    "graphon/fitted": ("-g", "data=agents.fit.json"),
    "matrix/file": ("-g", "file=game.nfg"),
    "simulator/gymnasium": ("-g", "environment=FrozenLake-v1"),
}


def game_and_solver() -> SearchStrategy[list[str]]:
    """A run of a game by a solver of its family, with at most two parameters of these, good and bad."""
    games = sorted(catalog.table("games"))
    pairs = [(game, solver) for game in games for solver in SOLVERS[game.partition("/")[0]]]

    def options(pair: tuple[str, str]) -> SearchStrategy[list[str]]:
        named = set(NEEDED.get(pair[0], ()))
        taken = {text.partition("=")[0] for text in named}
        said = []
        for flag, kind, id in zip(("-g", "-s"), ("games", "solvers"), pair, strict=True):
            fields = {name: hint for name, hint in _fields(kind, id).items() if name not in taken}
            if fields:
                said.append(st.lists(_one_of(flag, fields), max_size=1).map(lambda x: list(chain(*x))))
        extra = st.sampled_from(
            (
                [],
                [],
                ["--json"],
                ["--seeds", "2"],
                ["--iterations", "2"],
                ["--iterations", "0"],
                ["--start", "random"],
                ["--average"],
                ["--every", "log"],
                ["--no-fused"],
            )
        )
        return st.tuples(extra, *said).map(
            lambda parts: _sayable(["run", *pair, "--iterations", "1", *NEEDED.get(pair[0], ()), *chain(*parts)])
        )

    return st.sampled_from(pairs).flatmap(options)


def _one_of(flag: str, fields: dict[str, Any]) -> SearchStrategy[list[str]]:
    return st.sampled_from(sorted(fields)).flatmap(
        lambda name: typed(fields[name]).map(lambda text: [flag, f"{name}={text}"])
    )

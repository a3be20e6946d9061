"""What may import what, what starting up may load, and what stands nowhere in the tree."""

import ast
import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gamesim

ROOT = Path(__file__).resolve().parents[1]
HEAVY = (
    "torch",
    "cvxpy",
    "scipy.stats",
    "matplotlib",
    "gymnasium",
    "pettingzoo",
    "pandas",
    "numba",
    "rich",
    "networkx",
    "ray",
    "optuna",
    "pyarrow",
    "tensorboard",
    "mlflow",
    "wandb",
    "onnx",
)


def fresh(code: str) -> str:
    """What a new interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(code: str) -> set[str]:
    """The heavy modules that a new interpreter holds after the code."""
    ask = f"import json, sys; print(json.dumps([n for n in {HEAVY!r} if n in sys.modules]))"
    return set(json.loads(fresh(f"{code}\n{ask}").splitlines()[-1]))


def test_imports_go_one_way() -> None:
    pytest.importorskip("importlinter", reason="pip install 'gamesim[lint]'")
    fresh("import sys; from importlinter.cli import lint_imports as lint; sys.exit(lint(no_cache=True, no_logo=True))")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["list"],
        ["list", "--json"],
        ["list", "games"],
        ["run", "--help"],
        ["doctor"],
        ["lst"],
    ],
    ids=" ".join,
)
def test_starting_up_loads_nothing_heavy(arguments: list[str]) -> None:
    assert loaded_by(f"from gamesim.cli import main; main({arguments!r})") == set()


def test_importing_gamesim_loads_nothing_heavy() -> None:
    assert loaded_by("import gamesim, gamesim.envs, gamesim.algorithms, gamesim.experiments") == set()
    assert loaded_by("import gamesim; gamesim.InvalidInput; dir(gamesim)") == set()


@pytest.mark.parametrize("name", ["graphon/sis", "gmfg-ppo", "graphon-monotone"])
def test_describing_loads_the_one_module_it_describes(name: str) -> None:
    loaded = loaded_by(f"from gamesim.cli import main; assert main(['describe', {name!r}]) == 0")
    assert loaded <= {"torch"}


def test_no_public_name_is_the_name_of_a_module() -> None:
    """`gamesim.draw` would be a function or a module, depending on what was imported before."""
    assert set(gamesim.__all__).isdisjoint(module.name for module in pkgutil.iter_modules(gamesim.__path__))


UNSAFE = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml"}
CALLS = {"eval", "exec", "torch.load", "torch.save", "torch.hub.load", "pandas.read_pickle"}


def unsafe(source: str) -> Iterator[tuple[int, str]]:
    """Line and name of whatever could run code out of a data file.

    >>> list(unsafe("import torch as t; t.load(f); from numpy import load as l; l(f, allow_pickle=True); model.eval()"))
    [(1, 'torch.load'), (1, 'allow_pickle')]
    """
    tree = ast.parse(source)
    names = dict[str, str]()  # what a name in this file stands for
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {
                a.asname or a.name.partition(".")[0]: a.name if a.asname else a.name.partition(".")[0]
                for a in node.names
            }
            yield from ((node.lineno, a.name) for a in node.names if a.name.partition(".")[0] in UNSAFE)
        elif isinstance(node, ast.ImportFrom):
            names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
            if (node.module or "").partition(".")[0] in UNSAFE:
                yield node.lineno, str(node.module)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            first, dot, rest = ast.unparse(node.func).partition(".")
            called = names.get(first, first) + dot + rest
            if called in CALLS:
                yield node.lineno, called
            for keyword in node.keywords:
                if keyword.arg == "allow_pickle" and ast.unparse(keyword.value) != "False":
                    yield node.lineno, "allow_pickle"


def shipped() -> list[Path]:
    found = []
    for room in ("gamesim", "envs", "algorithms", "experiments", "benchmarks", "docs"):
        for folder, _, files in os.walk(ROOT / room):  # walk does not follow the links
            found += [Path(folder) / name for name in files if name.endswith(".py")]
    return sorted(found)


def test_nothing_runs_code_out_of_a_file() -> None:
    """safetensors, JSON and TOML only: no pickle under any name, no eval. (What tests import, ruff looks at.)"""
    assert len(shipped()) > 40
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in shipped()
        for line, name in unsafe(path.read_text(encoding="utf-8"))
    ]
    assert found == []

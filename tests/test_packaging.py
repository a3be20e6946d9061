"""What is shipped: the rooms, their links and guards, and a wheel that works outside the checkout."""

import configparser
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("envs", "algorithms", "experiments", "benchmarks")


def run(*command: object, cwd: Path = ROOT, **environment: str) -> str:
    """Run a command without this process's PYTHONPATH; its output if it ends well, a failed test otherwise."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=cwd, env=clean | environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def sources() -> dict[str, Path]:
    """Every module that is to be shipped: its path inside an installation -> where it lies here."""
    found = {}
    for room, inside in (("gamesim", "gamesim"), *((room, f"gamesim/{room}") for room in ROOMS)):
        for folder, folders, files in os.walk(ROOT / room):  # walk does not follow the links
            folders[:] = [name for name in folders if name != "__pycache__"]
            for name in files:
                if name.endswith((".py", ".bib")) or name == "py.typed":
                    path = Path(folder) / name
                    found[f"{inside}/{path.relative_to(ROOT / room).as_posix()}"] = path
    return found


def settings() -> configparser.SectionProxy:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser["options"]


def test_setup_cfg_lists_every_package() -> None:
    folders = {path.rpartition("/")[0].replace("/", ".") for path in sources()}
    assert sorted(settings()["packages"].split()) == sorted(folders)
    missing = [f for f in folders if f"{f.replace('.', '/')}/__init__.py" not in sources()]
    assert not missing, "a folder of modules needs an __init__.py"


def test_setup_cfg_says_where_each_room_is() -> None:
    places = dict(line.split(" = ") for line in settings()["package_dir"].strip().splitlines())
    assert places == {"gamesim": "gamesim"} | {f"gamesim.{room}": room for room in ROOMS}


@pytest.mark.parametrize("room", ROOMS)
def test_links(room: str) -> None:
    link = ROOT / "gamesim" / room
    assert link.is_symlink(), f"gamesim/{room} is no link; does git make links here? git config core.symlinks true"
    assert os.readlink(link) == f"../{room}"
    assert link.resolve() == ROOT / room
    if (ROOT / ".git").exists() and shutil.which("git"):
        kept = subprocess.run(["git", "ls-files", "-s", f"gamesim/{room}"], cwd=ROOT, capture_output=True, text=True)
        assert kept.returncode != 0 or kept.stdout.startswith("120000 "), f"gamesim/{room} is not committed as a link"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_refuses_another_name(room: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import {room}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"ImportError: this folder is the package gamesim.{room}" in done.stderr


def test_everything_asked_for_is_at_least_a_version_and_never_capped() -> None:
    """Upper caps and == in a library are what breaks its users; pins stand in constraints/."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + [r for extra in project["optional-dependencies"].values() for r in extra]
    assert [r for r in wanted if "<" in r or "==" in r or "~=" in r] == []
    assert (ROOT / "constraints/cpu.txt").read_text(encoding="utf-8").split() == ["torch==2.13.0"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is built from, so that a build leaves nothing here and finds nothing old."""
    copy = tmp_path_factory.mktemp("checkout")
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for room in ("gamesim", *ROOMS):
        shutil.copytree(ROOT / room, copy / room, symlinks=True, ignore=unwanted)
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    (copy / "tests").mkdir()
    shutil.copy(__file__, copy / "tests")
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path) -> Path:
    pytest.importorskip("build", reason="pip install 'gamesim[test]'")
    run(
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        checkout / "dist",
        checkout,
        cwd=checkout,
    )
    (found,) = (checkout / "dist").glob("*.whl")
    return found


def names_in(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as opened:
        return sorted(opened.namelist())


def test_the_wheel_holds_every_module_and_no_test(wheel: Path) -> None:
    names = names_in(wheel)
    assert [n for n in names if ".dist-info/" not in n] == sorted(sources())
    assert "gamesim/py.typed" in names
    assert any(n.endswith(".dist-info/licenses/LICENSE") for n in names)


def test_the_source_distribution_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    checkout = wheel.parents[1]
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path, checkout, cwd=checkout)
    (archive,) = tmp_path.glob("*.tar.gz")
    flags = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "wheel", *flags, "--wheel-dir", tmp_path, archive, cwd=tmp_path)
    (again,) = tmp_path.glob("*.whl")
    assert names_in(again) == names_in(wheel)


def test_pip_installs_the_checkout(checkout: Path, tmp_path: Path) -> None:
    """`pip install .`, without a download."""
    flags = (
        "--quiet",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
        "--disable-pip-version-check",
        "--no-compile",
    )
    run(sys.executable, "-m", "pip", "install", *flags, "--target", tmp_path / "site", checkout, cwd=tmp_path)
    found = {
        p.relative_to(tmp_path / "site").as_posix() for p in (tmp_path / "site" / "gamesim").rglob("*") if p.is_file()
    }
    assert found == set(sources())


IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
import gamesim
names = [m.name for m in pkgutil.walk_packages(gamesim.__path__, "gamesim.") if not m.name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
for name in gamesim.__all__:
    getattr(gamesim, name)
for room in ("envs", "algorithms", "experiments"):
    found = importlib.import_module(f"gamesim.{room}")
    assert found.TABLE
    for name in found.__all__:
        getattr(found, name)
strangers = [n for n, m in sys.modules.items() if n.startswith("gamesim") and not m.__file__.startswith(sys.prefix)]
assert not strangers, strangers
print(len(names))
"""


def test_the_wheel_works_elsewhere(wheel: Path, tmp_path: Path) -> None:
    """An environment that holds the wheel and, by a path, the dependencies of this one: no checkout."""
    home = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", home)
    folder = "Scripts" if os.name == "nt" else "bin"
    python, gamesim = home / folder / "python", home / folder / "gamesim"
    flags = ("--quiet", "--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "--python", python, "install", *flags, wheel, cwd=tmp_path)
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    paths = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    (site / "dependencies.pth").write_text("\n".join(paths) + "\n", encoding="utf-8")  # its own .pth files do not count

    shipped = [name for name in sources() if name.endswith(".py")]
    assert int(run(python, "-c", IMPORT_EVERYTHING, cwd=tmp_path)) == len(shipped) - 2  # gamesim itself and __main__
    listed = json.loads(run(gamesim, "list", "--json", cwd=tmp_path))
    assert {"game", "solver", "experiment"} == {row["kind"] for row in listed}
    small = ("-g", "positions=3", "-g", "horizon=3", "--iterations", "2")
    found = json.loads(run(gamesim, "run", "graphon/sis", "fixed-point", *small, "--json", cwd=tmp_path))
    assert found["iterations"] == 2
    assert (tmp_path / found["run"] / "figures" / "convergence.png").is_file()


def test_ci_comes_to_the_installation_however_slowly_make_says_its_version(tmp_path: Path) -> None:
    """A `make` that still writes when its reader has left dies of SIGPIPE, and under pipefail CI ends with it."""
    make = tmp_path / "make"
    make.write_text('#!/usr/bin/env bash\n[ "$1" = install ] && exit 7\necho GNU Make; sleep 0.3; echo more\n')
    make.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [ROOT / ".ci/run"], env=os.environ | {"PATH": path}, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 7, done.stdout + done.stderr

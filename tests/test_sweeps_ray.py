"""The engine `ray`: the bits of one process alone, whatever is killed, and nobody left behind."""

import ast
import csv
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gamesim import sweeps
from gamesim.benchmarks.processes import holding, words_of
from gamesim.errors import InvalidInput, MissingExtra
from gamesim.files import Lock, read_json
from gamesim.records import read_trace
from gamesim.sweeps.batches import batched
from gamesim.sweeps.clusters import require_address
from gamesim.sweeps.design import plan_of
from gamesim.sweeps.ray import Ray, last_iteration, note, task
from gamesim.sweeps.work import folder_of, perform, wait_for

FILE = """
iterations = 30000
every = 1000
seeds = 6
seed = 3
start = "random"
batch = 2
[[runs]]
game = "matrix/shapley"
solver = "ftrl"
s = { step_size = 0.1 }
"""
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="needs ray: pip install 'gamesim[ray]'")
needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks for processes in /proc")


def clusters(place: Path) -> dict[int, str]:
    """The processes that hold a file of a Ray cluster of ours, begun in this place: numbers and names."""
    return {pid: " ".join(words_of(pid)).strip() for pid in holding(f"{place}/gamesim-ray-")}


def until(holds: Callable[[], Any], process: subprocess.Popen[str] | None = None, seconds: float = 240) -> Any:
    """What `holds` gives once it gives something; the machine may be busy."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := holds():
            return found
        if process is not None and process.poll() is not None:
            pytest.fail(f"it ended: {process.communicate()}")
        time.sleep(0.02)
    pytest.fail("nothing came of it in time")


def started(file: Path, *words: str, place: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gamesim", "sweep", str(file), "--out", str(file.with_suffix("")), *words]
    return subprocess.Popen(
        [*command, "--engine", "ray", "--workers", "2", "--json"],
        cwd=file.parent, env=os.environ | {"GAMESIM_RAY_FOLDER": str(place), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@needs_ray
@needs_proc
def test_workers_and_the_driver_are_killed_and_every_run_is_there_once_with_its_bits(tmp_path: Path) -> None:
    """A worker in the first batch, the driver in the last; resumed, it is one process alone, bit for bit."""
    place = Path(tempfile.mkdtemp(prefix="g", dir="/tmp" if os.path.isdir("/tmp") else None))  # sockets: short names
    file, out = tmp_path / "study.toml", tmp_path / "study"
    file.write_text(FILE, encoding="utf-8")
    driver = started(file, place=place)
    until(lambda: last_iteration(out / "batches" / "b0" / "trace.csv") > 0, driver)
    workers = until(lambda: [number for number, name in clusters(place).items() if name.startswith("ray::b")], driver)
    os.kill(workers[0], 9)
    until(lambda: last_iteration(out / "batches" / "b2" / "trace.csv") > 0, driver)
    driver.kill()
    driver.communicate()
    assert not (out / "DONE").exists()
    until(lambda: not clusters(place) and not list(place.iterdir()), seconds=30)  # processes, and their files

    again = started(file, "--resume", place=place)
    said, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    assert said.startswith("{")  # nothing that Ray says is among the results
    assert not clusters(place)
    place.rmdir()  # which is empty
    assert not list(out.rglob("*.tmp"))

    plan = plan_of(FILE)
    for batch in batched(plan.runs):
        perform(tmp_path / "alone", batch, 1)
        ours, theirs = folder_of(tmp_path / "alone", batch), folder_of(out, batch)
        for name in ("trace.csv", "state.safetensors"):
            assert (ours / name).read_bytes() == (theirs / name).read_bytes()
    with (out / "results.csv").open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    last = [row["run"] for row in rows if row["iteration"] == "30000" and row["metric"] == "exploitability"]
    assert sorted(last) == [run.name for run in plan.runs]
    assert read_json(out / "failures.json") == []
    assert (out / "DONE").exists()


NODES = """
import sys
from ray.cluster_utils import Cluster

small = {"object_store_memory": 80 * 2**20}
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small})
nodes = [cluster.add_node(num_cpus=1, **small) for _ in range(2)]
print(cluster.address, nodes[0].all_processes["raylet"][0].process.pid, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.mark.slow
@needs_ray
@needs_proc
def test_a_node_dies_and_another_goes_on(tmp_path: Path) -> None:
    """A cluster of three nodes that is joined by its address; the raylet of one at work is killed."""
    told = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "OMP_NUM_THREADS": "1"}
    file, out = tmp_path / "study.toml", tmp_path / "study"
    file.write_text(FILE.replace("30000", "60000"), encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "-c", NODES], env=told, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as nodes:
        assert nodes.stdout is not None
        address, raylet = nodes.stdout.readline().split()
        command = [sys.executable, "-m", "gamesim", "sweep", str(file), "--out", str(out), "--json"]
        with subprocess.Popen(
            [*command, "--engine", "ray", "--address", address], env=told, stdout=subprocess.PIPE, text=True
        ) as driver:
            until(lambda: last_iteration(out / "batches" / "b1" / "trace.csv") > 0, driver)
            os.kill(int(raylet), 9)
            said, _ = driver.communicate(timeout=500)
        nodes.communicate("")
    assert driver.returncode == 0, said
    said = (out / "logs" / "ray.txt").read_text(encoding="utf-8")
    assert "marked dead" in said or "Raylet is terminated" in said, "which, depends on whom Ray asks first"
    for batch in batched(plan_of(file.read_text(encoding="utf-8")).runs):
        perform(tmp_path / "alone", batch, 1)
        ours, theirs = folder_of(tmp_path / "alone", batch), folder_of(out, batch)
        assert (ours / "trace.csv").read_bytes() == (theirs / "trace.csv").read_bytes()


# --- what a task does, without a cluster -----------------------------------------------------------------------------


def test_a_task_sends_back_what_it_measured(tmp_path: Path) -> None:
    (batch, *_) = batched(plan_of(FILE.replace("30000", "2000")).runs)
    (tmp_path / "logs").mkdir()
    end, error, traces = task(str(tmp_path), batch, 1)
    assert (end, error) == ("done", "")
    assert traces["iterations"].tolist() == [0, 1000, 2000]
    kept = read_trace(folder_of(tmp_path, batch))
    assert torch.equal(traces["exploitability"], torch.stack(list(kept.metrics["exploitability"])))
    assert traces["exploitability"].shape == (3, 2)
    before = (folder_of(tmp_path, batch) / "trace.csv").stat().st_mtime_ns
    assert task(str(tmp_path), batch, 1)[0] == "done"  # Ray lost the answer: the work is not done again
    assert (folder_of(tmp_path, batch) / "trace.csv").stat().st_mtime_ns == before


def test_a_node_that_does_not_see_the_folder_says_so(tmp_path: Path) -> None:
    (batch, *_) = batched(plan_of(FILE).runs)
    end, error, _ = task(str(tmp_path / "elsewhere"), batch, 1)
    assert end == "refused"
    assert "every node of the cluster sees" in error
    assert not (tmp_path / "elsewhere").exists()


def test_what_a_task_prints_goes_to_its_log_and_back(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from gamesim.sweeps.ray import saying

    with saying(tmp_path / "log.txt"):
        os.write(1, b"inside\n")
        print("words", flush=True)
    os.write(1, b"after\n")
    assert (tmp_path / "log.txt").read_text(encoding="utf-8").startswith("inside\n")
    assert "inside" not in (said := capfd.readouterr().out)
    assert "after" in said


def test_a_folder_that_a_dying_node_still_holds_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held, waited = Lock(tmp_path), list[float]()

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            held.release()

    monkeypatch.setattr("time.sleep", sleep)
    wait_for(tmp_path)
    assert len(waited) == 3
    Lock(tmp_path).release()


def test_how_far_a_batch_is(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    assert last_iteration(trace) == 0
    trace.write_text("iteration,seed,metric,value\n", encoding="utf-8")
    assert last_iteration(trace) == 0
    trace.write_text("iteration,seed,metric,value\n0,0,regret,1.0\n500,0,regret,0.5\n1000,0,reg", encoding="utf-8")
    assert last_iteration(trace) == 500
    trace.write_text("\n".join(f"{k},0,regret,1.0" for k in range(2000)) + "\n", encoding="utf-8")
    assert last_iteration(trace) == 1999


# --- the engine, with a Ray of our own -------------------------------------------------------------------------------


class Gone(Exception):
    """RayError."""


class Raised(Gone):
    """RayTaskError."""


class Cancelled(Gone):
    """TaskCancelledError."""


def ray_that(get: Callable[[Any], Any]) -> Any:
    known = SimpleNamespace(RayError=Gone, RayTaskError=Raised, TaskCancelledError=Cancelled)
    nodes = [{"Alive": True, "Resources": {"CPU": 4.0, "GPU": 2.0}}, {"Alive": False, "Resources": {"GPU": 8.0}}]
    return SimpleNamespace(
        exceptions=known, get=get, wait=lambda refs, **options: (refs[:1], refs[1:]), nodes=lambda: nodes
    )


def engine(monkeypatch: pytest.MonkeyPatch, get: Callable[[Any], Any] = lambda ref: ref, **given: Any) -> Ray:
    monkeypatch.setitem(sys.modules, "ray", ray_that(get))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    return Ray(**given)


@pytest.mark.parametrize(
    ("error", "end", "words"),
    [
        (Gone("the node died\nat noon"), "lost", "Gone: the node died"),
        (Raised("no such module"), "failed", "Raised: no such module"),
        (Cancelled("stop"), "interrupted", ""),
    ],
    ids=["lost", "raised", "cancelled"],
)
def test_how_a_task_ended(error: Exception, end: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def get(ref: Any) -> Any:
        raise error

    (batch, *_) = batched(plan_of(FILE).runs)
    one = engine(monkeypatch, get)
    one._refs = {"ref": batch}
    (event,) = one.wait(0)
    assert (event.batch, event.end, event.error) == (batch, end, words)
    assert not one._refs


def test_signs_of_life_and_an_end_by_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch has begun when its log grows; from then on it lives when its trace changes, were it to shrink."""
    (batch, other, *_) = batched(plan_of(FILE).runs)
    one = engine(monkeypatch)
    cancelled = list[Any]()
    one._ray.wait = lambda refs, **options: ([], refs)
    one._ray.cancel = lambda ref, **options: cancelled.append((ref, options))
    one._root, one._refs, one._waiting = tmp_path, {"a": batch, "b": other}, {batch.name: 4, other.name: 0}
    log, trace = tmp_path / "logs" / f"{batch.name}.txt", folder_of(tmp_path, batch) / "trace.csv"
    head = "iteration,seed,metric,value\n0,0,regret,1.0\n"
    for path, text in ((log, "died"), (trace, f"{head}700,0,regret,1.0\n")):
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    assert one.wait(0) == [], "it waits for a machine; the log is of an earlier life"
    log.write_text("died\nbegun\n", encoding="utf-8")
    assert [(e.batch, e.iteration, e.end) for e in one.wait(0)] == [(batch, 700, None)]
    log.write_text("died\nbegun\na game that hangs and talks", encoding="utf-8")
    assert one.wait(0) == []
    for reached in (900, 500):
        trace.write_text(f"{head}{reached},0,regret,1.0\n", encoding="utf-8")
        assert [e.iteration for e in one.wait(0)] == [reached]
        assert one.wait(0) == []
    one.end(batch)
    assert cancelled == [("a", {"force": True})]


def test_gpus_that_no_node_has_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    (batch, *_) = batched(plan_of(FILE).runs)
    object.__setattr__(batch.runs[0].settings, "device", "cuda")
    one = engine(monkeypatch, gpus=4)
    one.start(batch)
    (event,) = one.wait(0)
    assert event.end == "refused"
    assert event.error == "gpus: got 4, expected at most 2, as many as a node of Ray has"


@pytest.mark.parametrize("gpus", [-0.1, 1.5, float("nan"), float("inf")])
def test_shares_of_gpus(gpus: float, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="gpus: got"):
        engine(monkeypatch, gpus=gpus)


@pytest.mark.parametrize(
    "address", ["", "nowhere", "host:1", "ray://host:10001", "host:6379/x", "a b:6379", "-:6379\n"]
)
def test_addresses(address: str) -> None:
    with pytest.raises(InvalidInput, match="address: got"):
        require_address(address)
    for fine in ("auto", "127.0.0.1:6379", "head.local:6379", "[::1]:6379"):
        require_address(fine)


def test_an_address_where_nobody_answers_is_one_line_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from gamesim.sweeps.clusters import join

    with pytest.raises(InvalidInput, match=r"address: got '127\.0\.0\.1:1023', expected a Ray cluster that answers"):
        join(None, "127.0.0.1:1023", 1)


def test_without_ray_the_command_that_installs_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with pytest.raises(MissingExtra, match=r"pip install 'gamesim\[ray\]'"):
        Ray()


def test_ray_is_imported_in_one_place_and_only_when_asked_for() -> None:
    for path in Path(sweeps.__file__).resolve().parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named = [
            (node.col_offset, name)
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in ([node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
        ]
        foreign = [(column, name) for column, name in named if name and name.partition(".")[0] in ("ray", "optuna")]
        assert all(column > 0 for column, _ in foreign)
        assert {name for _, name in foreign} <= {path.stem, "optuna" if path.stem == "tuning" else "ray"}


def test_what_ray_says_goes_to_a_file(tmp_path: Path) -> None:
    note(tmp_path / "ray.txt", {"lines": ["a worker died"], "is_err": False}, ignore_prefix=False)
    assert (tmp_path / "ray.txt").read_text(encoding="utf-8") == "a worker died\n"

"""Clusters of Ray: one that is started here and leaves nothing behind, or one that is joined by its address."""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from gamesim.errors import missing_extra, refuse
from gamesim.kernels.threads import THREADS

RETRIES = 3
"""How often Ray begins a task again whose worker or node died, before it says so."""
STORE = 128 * 2**20
"""Bytes of the object store of a cluster started here: traces are small."""
OURS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # for Ray: no other machine joins, so nothing listens to any
    "RAY_AUTH_MODE": "token",
    "RAY_task_oom_retries": str(RETRIES),  # without end otherwise
}
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_DISABLE_IMPORT_WARNING": "1"}


class Cluster:
    """A cluster of this machine, that is gone within seconds of the process that started it, however that ended."""

    def __init__(self) -> None:
        short = os.environ.get("GAMESIM_RAY_FOLDER") or ("/tmp" if os.path.isdir("/tmp") else None)
        # sockets have short names, and those of temporary folders may be long
        self.folder = tempfile.mkdtemp(prefix="gamesim-ray-", dir=short)
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", GUARD, self.folder, str(os.getpid())],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def start(self, ray: Any, processors: int, threads: int) -> None:
        own = {name: os.environ.get(name, str(threads)) for name in THREADS}
        with environment(own):  # read when a library is loaded, which happens in the workers
            ray.init(
                address="local",  # whatever RAY_ADDRESS says
                num_cpus=processors, include_dashboard=False, object_store_memory=STORE, _temp_dir=self.folder,
                log_to_driver=False, logging_level="ERROR",
            )  # fmt: skip

    def end(self) -> None:
        assert self._guard.stdin is not None
        self._guard.stdin.close()  # it looks after what is left
        with suppress(subprocess.TimeoutExpired):
            self._guard.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)


GUARD = """
import glob, os, shutil, signal, sys, time
folder, driver = sys.argv[1], int(sys.argv[2])
sys.stdin.buffer.read()  # ends with the process that holds the other side

def holds(pid):
    for file in glob.glob(f"/proc/{pid}/fd/*"):
        try:
            if os.readlink(file).startswith(folder + os.sep):
                return True
        except OSError:
            pass
    return False

for again in range(3):
    for pid in (int(name) for name in (os.listdir("/proc") if os.path.isdir("/proc") else ()) if name.isdigit()):
        try:
            if pid not in (os.getpid(), driver) and holds(pid):
                os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    shutil.rmtree(folder, ignore_errors=True)
    time.sleep(0.2)
"""
"""A process that only outlives a sweep that was killed, and ends what has a log in the cluster's folder: Ray's agents
would linger for minutes, and have changed their names."""


def join(ray: Any, address: str, threads: int) -> None:
    """Become a driver of the cluster at an address; `auto` is that of this machine."""
    if address != "auto":
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()  # Ray would wait for minutes
        except OSError as error:
            raise refuse("address", address, f"a Ray cluster that answers ({error.strerror or error})") from None
    try:
        ray.init(
            address=address, log_to_driver=False, logging_level="ERROR",
            runtime_env={"env_vars": {name: str(threads) for name in THREADS}},
        )  # fmt: skip
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise refuse("address", address, f"a Ray cluster of this version that answers ({first_line(error)})") from None


def require_address(address: str) -> None:
    """HOST:PORT of a head node, or auto."""
    if address != "auto" and not re.fullmatch(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:]+\]):\d{4,5}", address):
        raise refuse("address", address, "HOST:PORT of the head node of a Ray cluster, or auto")


def imported(own: bool) -> Any:
    """Ray, which reads when it is loaded what it is told in the environment; own: of a cluster that starts here."""
    told = QUIET | OURS | {"RAY_AUTH_TOKEN": secrets.token_hex(32)} if own else QUIET
    for name, value in told.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise missing_extra("engine: ray", "ray", "gamesim[ray]") from None
    return ray


def first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"


@contextmanager
def environment(given: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def signals_kept() -> Iterator[None]:
    """Ray puts a handler of its own in the place of the sweep's."""
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)} if main else {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

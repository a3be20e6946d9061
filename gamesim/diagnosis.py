"""What `gamesim doctor` finds: versions, devices and threads, without importing anything heavy here."""

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

REQUIRED = (
    "torch", "numpy", "scipy", "gymnasium", "pettingzoo", "cvxpy", "matplotlib", "click", "rich", "safetensors",
    "threadpoolctl", "networkx", "numba",
)  # fmt: skip
OPTIONAL = {
    "pandas": "pip install 'gamesim[data]'",
    "pyarrow": "pip install 'gamesim[data]'",
    "minari": "pip install 'gamesim[minari]'",
    "openai": "pip install 'gamesim[llm]'",
    "ray": "pip install 'gamesim[ray]'",
    "optuna": "pip install 'gamesim[tune]'",
    "tensorboard": "pip install 'gamesim[tb]'",
    "mlflow-skinny": "pip install 'gamesim[mlflow]'",
    "wandb": "pip install 'gamesim[wandb]'",
    "onnx": "pip install 'gamesim[onnx]'",
    "open_spiel": "pip install 'gamesim[peers]'",
    "mfglib": "pip install --no-deps mfglib && pip install optuna osqp",
}
PROBE = """
import torch
print("cpu")
for i in range(torch.cuda.device_count()):
    print(f"cuda:{i} {torch.cuda.get_device_name(i)}")
"""


def diagnose() -> dict[str, Any]:
    """Versions, devices (asked in a subprocess: a broken driver cannot hurt us), processors, problems and fixes."""
    versions: dict[str, str | None] = {"python": sys.version.split()[0], "gamesim": _version("gamesim")}
    problems = []
    for name in REQUIRED:
        versions[name] = _version(name)
        if versions[name] is None:
            problems.append({"problem": f"{name} is not installed", "fix": f"pip install {name}"})
    for name, fix in OPTIONAL.items():
        versions[name] = _version(name)
        if versions[name] is None:
            problems.append({"problem": f"{name} is not installed (optional)", "fix": fix})
    devices = _devices()
    if not devices:
        problems.append({"problem": "torch cannot be imported", "fix": "pip install --force-reinstall torch"})
    healthy = bool(devices) and all(versions[name] for name in REQUIRED)
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "healthy": healthy,
        "versions": versions,
        "devices": devices,
        "processors": processors,
        "problems": problems,
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _devices() -> list[str]:
    try:
        asked = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return asked.stdout.split("\n")[:-1] if asked.returncode == 0 else []

"""Weights & Biases: a run in files beside ours, to be sent later with `wandb sync`, or live where that is asked for.

Of the machine and the program nothing is told but the names of installed packages: no arguments, environment, code or
git. Files are read back (which steps are there, when a run is continued) as LevelDB's log of records, in blocks of
32 KiB: checksum (4 bytes), length (2), kind (1: whole; 2, 3, 4: first, middle, last part).
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from gamesim.errors import refuse
from gamesim.parameters import check
from gamesim.reporting.kinds import Place, Point, Reporter, Value, require_text

QUIET = {
    "silent": True, "console": "off", "disable_git": True, "disable_code": True, "save_code": False,
    "disable_job_creation": True, "x_disable_meta": True, "x_disable_stats": True, "x_disable_machine_info": True,
}  # fmt: skip
BLOCK, HEAD = 32768, 7


@dataclass(frozen=True)
class Wandb(Reporter):
    """History, config and summary of a run of Weights & Biases, offline unless asked otherwise."""

    project: str = "gamesim"
    """The project there."""
    mode: Literal["offline", "online"] = "offline"
    """offline: nothing is sent, `wandb sync FOLDER` does it later; online: sent as it goes, with WANDB_API_KEY."""
    folder: str = ""
    """Where the files go, in FOLDER/wandb. Empty: in RUN/wandb."""

    package: ClassVar[str] = "wandb"
    extra: ClassVar[str] = "wandb"

    def __post_init__(self) -> None:
        check(self)
        require_text("project", self.project, "a name")
        if any(letter in self.project for letter in "/\\#?%:"):
            raise refuse("project", self.project, "a name without / \\ # ? % :")

    def where(self, place: Place) -> Path:
        if not self.folder and place.folder is None:
            raise refuse("folder", self.folder, "a folder, as in wandb(folder=logs): this run has none")
        return Path(self.folder) if self.folder else Path(str(place.folder))

    def target(self, place: Place) -> str:
        return f"{self.project} {self.mode}"

    def require(self, place: Place) -> None:
        self.where(place)
        keys = (Path(os.environ.get("NETRC", "~/.netrc")).expanduser(), Path("~/_netrc").expanduser())
        if self.mode == "online" and "WANDB_API_KEY" not in os.environ and not any(p.is_file() for p in keys):
            raise refuse("mode", self.mode, "offline, or WANDB_API_KEY in the environment, or `wandb login` before")

    def open(self, place: Place, parameters: Mapping[str, Value]) -> "History":
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        folder = self.where(place)
        folder.mkdir(parents=True, exist_ok=True)
        return History(self, folder, place, parameters)


class History:
    """One run there."""

    def __init__(self, reporter: Wandb, folder: Path, place: Place, parameters: Mapping[str, Value]) -> None:
        import wandb

        known = {k: v for k, v in QUIET.items() if k in type(wandb.Settings()).model_fields}
        self._run: Any = wandb.init(
            project=reporter.project, mode=reporter.mode, dir=str(folder), id=place.id, name=place.full,
            group=place.group or None, resume="allow", settings=wandb.Settings(**known), reinit="create_new",
        )  # fmt: skip
        self._run.config.update(dict(parameters), allow_val_change=True)
        self.newest: dict[str, int] = {}
        if place.continued:
            for path in sorted((folder / "wandb").glob(f"*-{place.id}*/run-{place.id}.wandb")):
                for step, row in history(path):
                    self.newest |= {name: max(step, self.newest.get(name, -1)) for name in row}

    def write(self, points: Iterable[Point]) -> None:
        rows = dict[int, dict[str, float]]()
        for point in points:
            rows.setdefault(point.iteration, {})[point.name] = point.value
        for step, row in sorted(rows.items()):
            self._run.log(row, step=step)

    def close(self, ending: Mapping[str, Value]) -> None:
        self._run.summary.update({f"end/{name}": value for name, value in ending.items()})
        self._run.finish(exit_code=int(ending["status"] in ("diverged", "running")))


def history(path: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """Step and values of each row of history in a .wandb file; what is torn at its end is left out."""
    import json

    from wandb.proto.wandb_internal_pb2 import Record

    for data in records(path.read_bytes()):
        record = Record()
        record.ParseFromString(data)
        if record.HasField("history"):
            items = {".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item}
            step = int(items.get("_step", record.history.step.num))
            yield step, {k: v for k, v in items.items() if not k.startswith("_")}


def records(data: bytes) -> Iterator[bytes]:
    """The whole records of LevelDB's log after a head of 7 bytes."""
    at, parts = HEAD, list[bytes]()
    while at + HEAD <= len(data):
        left = BLOCK - at % BLOCK
        if left < HEAD:  # zeros up to the next block
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        body = data[at + HEAD : at + HEAD + length]
        if kind not in (1, 2, 3, 4) or len(body) < length:
            return
        parts = [*([] if kind in (1, 2) else parts), body]
        if kind in (1, 4):
            yield b"".join(parts)
        at += HEAD + length

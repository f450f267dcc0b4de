"""A training as files: what is trained on what, for workers in other processes; and the weights they give back."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.backbone.backbone import Backbone
from headstart.cache_folder import write_to_cache
from headstart.errors import MachineError
from headstart.finetune.views import View
from headstart.head.linear import LinearHead
from headstart.scaling.reading import is_remote, read_uri
from headstart.scaling.sameness import same_backbone

if TYPE_CHECKING:
    from headstart.finetune.loop import Course
    from headstart.finetune.schedule import Recipe
    from headstart.finetune.tail import Tail

IntArray = NDArray[np.integer]
JOB, RESULT, CHECKPOINTS = "job.npz", "result.npz", "checkpoints"
VERSION = 1


@dataclass(frozen=True)
class TrainGround:
    """What all trainings of one fit share: the frozen network (by name and hash), n pictures (by URI), their labels.

    `views`: how pictures are seen, the untouched one first. `depths`: positions of those the head reads.
    """

    backbone: str
    backbone_key: str
    weights_hash: str
    preprocessing: dict[str, Any]
    uris: tuple[str, ...]
    labels: IntArray
    views: tuple[View, ...]
    depths: tuple[int, ...]

    def open(self) -> Backbone:
        """The network on this machine; MachineError when it is another one."""
        return same_backbone(self.backbone, self.backbone_key, self.weights_hash, self.preprocessing)


@dataclass(frozen=True)
class TrainTask:
    """One training: amount `train` from `head` by `recipe` on the pictures `rows`, judged on `held` every epoch."""

    train: str
    head: LinearHead
    rows: IntArray
    held: IntArray
    recipe: Recipe

    def tail(self, network: Any, depths: tuple[int, ...]) -> Tail:
        """What is trained, at its start."""
        from headstart.finetune.tail import Tail

        return Tail(network, self.train, depths, self.head, self.recipe.seed)


@dataclass(frozen=True)
class Pictures:
    """Sources for the cut cache: paths where they are files, else bytes that are read when they are asked for."""

    uris: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.uris)

    def __getitem__(self, row: int) -> Path | bytes:
        uri = self.uris[row]
        if not is_remote(uri) and not uri.startswith("file://"):
            return Path(uri)
        return read_uri(uri)


def write_job(folder: Path, ground: TrainGround, task: TrainTask) -> None:
    """Put a job into `folder`. One that is there already, with its checkpoints and result, is gone on with."""
    facts = {
        "version": VERSION,
        "ground": {k: v for k, v in asdict(ground).items() if k != "labels"},
        "train": task.train,
        "recipe": asdict(task.recipe),
    }
    arrays = {"labels": ground.labels, "rows": task.rows, "held": task.held}
    _write(folder / JOB, facts, {**arrays, **{f"head.{k}": v for k, v in vars(task.head).items()}})


def read_job(folder: Path) -> tuple[TrainGround, TrainTask]:
    """What `write_job` wrote; MachineError when it is not there or damaged."""
    from headstart.finetune.schedule import Recipe

    facts, arrays = _read(folder / JOB)
    about = facts["ground"]
    about |= {"uris": tuple(about["uris"]), "depths": tuple(about["depths"])}
    about["views"] = tuple(View(**view) for view in about["views"])
    ground = TrainGround(**about, labels=arrays["labels"])
    head = LinearHead(*(arrays[f"head.{name}"] for name in ("weights", "bias", "mean", "scale")))
    return ground, TrainTask(facts["train"], head, arrays["rows"], arrays["held"], Recipe(**facts["recipe"]))


def fingerprint(folder: Path) -> str:
    """Stands for the job in `folder` and everything it depends on."""
    from headstart.finetune.schedule import VERSION as RECIPE

    facts, arrays = _read(folder / JOB)
    digest = hashlib.sha256(json.dumps([RECIPE, facts], sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def write_result(folder: Path, tail: Tail, course: Course) -> None:
    """Keep the trained weights and how it went, in place of an earlier result."""
    live = {f"weights.{name}": p.detach().cpu().numpy() for name, p in tail.named_parameters() if p.requires_grad}
    arrays = {**live, "logits": course.logits, "seconds": course.seconds}
    if course.blend is not None:
        arrays["blend"] = course.blend
    _write(folder / RESULT, {"version": VERSION, "job": fingerprint(folder), "steps": course.steps}, arrays)


def has_result(folder: Path) -> bool:
    """Whether the job in `folder` is done."""
    try:
        facts, _ = _read(folder / RESULT)
    except MachineError:
        return False
    return bool(facts["job"] == fingerprint(folder))


def read_result(folder: Path, tail: Tail) -> Course:
    """Put the weights that workers left in `folder` into `tail` (as `TrainTask.tail` made it), and how it went."""
    from headstart.finetune.loop import Course

    facts, arrays = _read(folder / RESULT)
    if facts["job"] != fingerprint(folder):
        raise MachineError(f"{folder / RESULT} is of another training: run it again")
    for name, parameter in tail.named_parameters():
        if parameter.requires_grad:
            parameter.data.copy_(parameter.data.new_tensor(arrays[f"weights.{name}"]))
    tail.eval()
    return Course(arrays["logits"], arrays.get("blend"), arrays["seconds"], int(facts["steps"]), tail.trained())


def _write(path: Path, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    content = io.BytesIO()
    stored: dict[str, Any] = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    np.savez(content, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8), **stored)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_to_cache(path, content.getvalue())
    except OSError as error:
        raise MachineError(f"{path} cannot be written ({error.strerror or error}): free some space") from None


def _read(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        facts = json.loads(arrays.pop("facts").tobytes())
        if facts["version"] != VERSION:
            raise ValueError(f"version {facts['version']}")
        return facts, arrays
    except FileNotFoundError:
        raise MachineError(f"{path} is not there: its folder must be on storage that every worker sees") from None
    except (OSError, ValueError, KeyError, EOFError, struct.error, zipfile.BadZipFile) as error:
        raise MachineError(f"{path} cannot be read ({error}): remove it and run again") from None

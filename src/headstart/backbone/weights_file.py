"""NAME@FILE: tensors from a safetensors file, fitted to the module they are said to belong to, with clear refusals."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from headstart.backbone.build import shape_of
from headstart.backbone.source import Facts, Shape, Source
from headstart.cache_folder import write_to_cache
from headstart.errors import MachineError, UsageError

PICKLES = (".pth", ".pt", ".bin", ".ckpt", ".tar", ".pkl")
_MOST_HEADER = 100 << 20  # bytes, as in the safetensors library
_WRAPPERS = ("module.", "model.", "backbone.", "encoder.", "net.")  # names others put in front of every tensor


def source_of(name: str, family: str, architecture: str, file: Path, cache: Path) -> Source:
    """The source NAME@FILE. UsageError for a file that is not there, is a pickle, or does not fit the architecture."""
    _refuse_pickle(file)
    shapes = header(file)
    shape = shape_of(family, architecture, cache)
    with file.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    facts = Facts(f"your file {file.name}")
    shown = f"{name.partition('@')[0]}@{file.name}"
    source = Source(shown, name, family, architecture, "file", file, sha256, shape, facts)
    return replace(source, shape=_checked(source, shapes, cache))


def header(file: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a safetensors file; no tensor is read. UsageError when it is none."""
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            if not 2 <= length <= _MOST_HEADER:
                raise ValueError("no header")
            found = json.loads(opened.read(length))
        return {name: tuple(facts["shape"]) for name, facts in found.items() if name != "__metadata__"}
    except FileNotFoundError:
        raise UsageError(f"there is no weights file {file}") from None
    except OSError as error:
        raise MachineError(f"cannot read the weights {file}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, struct.error):
        raise UsageError(f"{file} is not a safetensors file, or only a part of one: copy or convert it again") from None


def tensors_of(source: Source) -> dict[str, Any] | None:
    """The file's tensors under the module's names; None when they bear these names already."""
    from safetensors.torch import load_file

    if source.family == "torchvision":
        from headstart.backbone.torchvision_body import own_tensors

        return own_tensors(load_file(source.place), source.architecture)[0]
    shapes = header(source.place)
    named = _named(source, shapes)
    if set(named.values()) == set(shapes) and all(name == own for name, own in named.items()):
        return None
    tensors = load_file(source.place)
    return {name: tensors[own] for name, own in named.items()}


def _refuse_pickle(file: Path) -> None:
    if file.suffix.lower() in PICKLES:
        target = file.with_suffix(".safetensors").name
        raise UsageError(
            f"{file} is a pickle, which can run any code when opened; if you trust it, convert it once: python -c "
            f"\"import torch, safetensors.torch as s; d = torch.load({file.name!r}, map_location='cpu', "
            f"weights_only=True); d = d.get('state_dict', d.get('model', d)); "
            f's.save_file({{k: v.contiguous().clone() for k, v in d.items()}}, {target!r})"'
        )


def _checked(source: Source, shapes: Mapping[str, tuple[int, ...]], cache: Path) -> Shape:
    """The source's shape: without classes where the file's own head is another one. The check is remembered."""
    key = hashlib.sha256(f"{source.family} {source.architecture} {source.sha256}".encode()).hexdigest()[:32]
    record = cache / "weights" / f"checked-{key}.json"
    try:
        classes = json.loads(record.read_bytes())["classes"]
    except (OSError, ValueError, KeyError, TypeError):
        classes = _classes(source, shapes)
        with suppress(OSError):  # checked again next time
            write_to_cache(record, json.dumps({"classes": classes}).encode())
    return replace(source.shape, classes=int(classes))


def _named(source: Source, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """{name in the module: name in the file} of everything that fits. UsageError for what is missing or does not."""
    wanted, head = wanted_tensors(source.family, source.architecture)
    given = {_bare(name, shapes): name for name in shapes}
    missing = [name for name in wanted if name not in given and not _optional(name, head)]
    wrong = [n for n in wanted if n in given and shapes[given[n]] != wanted[n] and not n.startswith(head)]
    unexpected = [name for name in given if name not in wanted and not name.startswith(head)]
    say = f"{source.place} does not fit {source.architecture}"
    if wrong:
        name = wrong[0]
        raise UsageError(f"{say}: {name} is {shapes[given[name]]}, {wanted[name]} is needed{_more(wrong)}")
    if missing and unexpected:
        raise UsageError(
            f"{say}: it has no {missing[0]}{_more(missing)}, but {unexpected[0]}{_more(unexpected)}: "
            "name the architecture that the weights belong to"
        )
    if missing:
        raise UsageError(f"{say}: it has no {missing[0]}{_more(missing)}")
    if unexpected:
        raise UsageError(f"{say}: {unexpected[0]}{_more(unexpected)} belongs to another network")
    return {n: given[n] for n in wanted if n in given and shapes[given[n]] == wanted[n]}


def wanted_tensors(family: str, architecture: str) -> tuple[dict[str, tuple[int, ...]], tuple[str, ...]]:
    """Names and shapes that the module has, and how names of its discarded head begin. Imports torch."""
    import torch

    from headstart.backbone.build import build

    with torch.device("meta"):
        body = build(family, architecture)
    named = getattr(body, "default_cfg", {}).get("classifier") or ()
    head = tuple(f"{name}." for name in ((named,) if isinstance(named, str) else named))
    return {name: tuple(t.shape) for name, t in body.state_dict().items()}, head or ("\0",)


def _classes(source: Source, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Outputs of the discarded head: 0 where the file has another head than the module, or none."""
    if source.family == "torchvision":
        import torch

        from headstart.backbone.torchvision_body import own_tensors

        own_tensors({name: torch.empty(shape, device="meta") for name, shape in shapes.items()}, source.architecture)
        return 0
    named = _named(source, shapes)
    wanted, head = wanted_tensors(source.family, source.architecture)
    return source.shape.classes if all(name in named for name in wanted if name.startswith(head)) else 0


def _optional(name: str, head: tuple[str, ...]) -> bool:
    return name.startswith(head) or name.endswith("num_batches_tracked")


def _bare(name: str, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """`name` without what stands in front of every name of the file."""
    for wrapper in _WRAPPERS:
        if name.startswith(wrapper) and all(other.startswith(wrapper) for other in shapes):
            return name.removeprefix(wrapper)
    return name


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""

"""Sources of pretrained weights: from what the user typed to the tensors that are meant, without any network."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from headstart.backbone import own_run
from headstart.backbone.packages import PACKAGES, located
from headstart.backbone.packages import source_of as package_source
from headstart.backbone.sized import at_side, parted
from headstart.backbone.source import Source
from headstart.cache_folder import cache_folder
from headstart.errors import UsageError

DEFAULT = "efficientnet_lite0"


def find_source(name: str, cache: Path | None = None) -> Source:
    """The source that `name` means: NAME@FILE, the folder of a run, torchvision/..., a package's, or a timm model.

    Any of them with @SIDE behind it is shown squares of so many pixels.

    Raises UsageError when it is unknown or not on this machine, saying what is and how to bring it; MachineError for
    altered files.
    """
    folder = cache or cache_folder()
    network = own_run.without_side(name)
    found, side = _own_sized(network, folder), parted(name)[1]
    return found if side is None or network == name else at_side(found, side)


def _own_sized(name: str, folder: Path) -> Source:
    if name in PACKAGES:
        if located(PACKAGES[name]) is None:
            raise UsageError(f"backbone {name} is not installed ({_here()}): pip install '{PACKAGES[name].install}'")
        return package_source(PACKAGES[name])
    if (run := own_run.folder_of(name)) is not None:
        return own_run.source_of(name, run, folder)
    architecture, at, file = name.partition("@")
    if at:
        return _from_file(name, architecture, Path(file), folder)
    if name.startswith("torchvision/"):
        from headstart.backbone import torchvision_files

        return torchvision_files.source_of(name, folder)
    if "/" in name.removeprefix("timm/") or "\\" in name:
        raise UsageError(
            f"{name} is no folder of a run (it holds no classifier.json) and no network's name ({_here()})"
        )
    if close := difflib.get_close_matches(name, PACKAGES, 1, cutoff=0.9):
        raise UsageError(f"unknown backbone {name!r} ({_here()}); did you mean {close[0]}?")
    from headstart.backbone import hub

    return hub.source_of(name, folder)


def available() -> list[dict[str, Any]]:
    """Facts about the networks that packages bring; nothing heavy is imported."""
    return [
        {
            "name": package.name,
            "installed": (place := located(package)) is not None,
            "install": package.install,
            "dataset": package.dataset,
            "parameters": package.shape.parameters,
            "side": package.shape.side,
            "published_top1": package.published_top1,
            "licence": package.licence,
            "bytes": place.stat().st_size if place else None,
            "sha256": package.sha256,
        }
        for package in PACKAGES.values()
    ]


def _from_file(name: str, architecture: str, file: Path, cache: Path) -> Source:
    from headstart.backbone import hub, weights_file

    if architecture in PACKAGES:
        return weights_file.source_of(name, "timm", PACKAGES[architecture].architecture, file, cache)
    if architecture.startswith("torchvision/"):
        from headstart.backbone import torchvision_files

        return weights_file.source_of(name, "torchvision", torchvision_files.architecture_of(architecture), file, cache)
    tagged = architecture.removeprefix("timm/")
    hub.known_architecture(tagged.partition(".")[0])
    return weights_file.source_of(name, "timm", tagged, file, cache)


def _here() -> str:
    here = [package.name for package in PACKAGES.values() if located(package)]
    return f"available: {', '.join(here) or 'none'}"

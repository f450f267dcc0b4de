"""Any timm model: its weights where the Hugging Face hub's cache has them, or fetched there when asked for."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from headstart.backbone.source import Facts, Source
from headstart.backbone.weights_file import source_of as file_source
from headstart.errors import MachineError, UsageError

FILE = "model.safetensors"
# What the part of a name behind the point says about the pictures; the first that is in it counts.
DATASETS = {
    "lvd142m": "LVD-142M", "lvd1689m": "LVD-1689M", "sat493m": "SAT-493M (satellite)", "laion2b": "LAION-2B",
    "laion400m": "LAION-400M", "openai": "OpenAI's 400 M pairs", "webli": "WebLI", "datacompxl": "DataComp-1B",
    "dfn2b": "DFN-2B", "dfn5b": "DFN-5B", "metaclip": "MetaCLIP", "merged2b": "Merged-2B", "cc12m": "CC-12M",
    "in12k_ft_in1k": "ImageNet-12k, then 1k", "in22k_ft_in1k": "ImageNet-22k, then 1k",
    "in21k_ft_in1k": "ImageNet-21k, then 1k", "in22k": "ImageNet-22k", "in21k": "ImageNet-21k", "in12k": "ImageNet-12k",
    "in1k": "ImageNet-1k", "imagenet": "ImageNet-1k", "dino": "ImageNet-1k (without labels)",
}  # fmt: skip


def source_of(name: str, cache: Path) -> Source:
    """The timm model `name` ("resnet18.a1_in1k", with or without "timm/") from the hub's cache on this machine.

    UsageError when timm does not know the name, or its weights are not here: with the ways to bring them.
    """
    tagged = full_name(name)
    architecture = tagged.partition(".")[0]
    place = cached(tagged)
    if place is None:
        from headstart.backbone.listing import usable

        known_architecture(architecture)
        raise UsageError(
            f"the weights of {tagged} are not on this machine and nothing is downloaded unasked: "
            f"headstart backbones --download {tagged}, or {_by_hand(tagged)}; usable now: {usable()}"
        )
    source = file_source(tagged, "timm", tagged, place, cache)  # the tag says how it is shown pictures
    return replace(source, name=tagged, facts=Facts(dataset_of(tagged)))


def full_name(name: str) -> str:
    """`name` with its tag: the one that is in the cache, else timm's default (imports timm)."""
    bare = name.removeprefix("timm/")
    if "." in bare:
        return bare
    here = sorted(
        folder.name.removeprefix("models--timm--") for folder in cache_of_hub().glob(f"models--timm--{bare}.*")
    )
    here = [tagged for tagged in here if cached(tagged)]
    if len(here) == 1:
        return here[0]
    if len(here) > 1:
        raise UsageError(f"{bare} is here with several weights: say which: {', '.join(here)}")
    known_architecture(bare)
    import timm

    config = timm.get_pretrained_cfg(bare, allow_unregistered=False)
    return f"{bare}.{config.tag}" if config is not None and config.tag else bare


def known_architecture(architecture: str) -> None:
    """UsageError with the nearest names unless timm knows `architecture`. Imports timm."""
    import timm

    if timm.is_model(architecture):
        return
    close = difflib.get_close_matches(architecture, timm.list_models(), 3)
    hint = f": did you mean {' or '.join(close)}?" if close else ""
    from headstart.backbone.listing import usable

    raise UsageError(f"unknown backbone {architecture!r}{hint} (usable now: {usable()})")


def cached(tagged: str) -> Path | None:
    """The weights file in the hub's cache, or None. Nothing is looked up outside, nothing heavy is imported."""
    repository = cache_of_hub() / f"models--timm--{tagged}"
    try:
        commit = (repository / "refs" / "main").read_text("utf-8").strip()
        commits = [commit]
    except OSError:
        commits = []
    snapshots = [repository / "snapshots" / c for c in commits] or sorted((repository / "snapshots").glob("*"))
    for snapshot in snapshots:
        if (snapshot / FILE).is_file():
            return snapshot / FILE
    return None


def cache_of_hub() -> Path:
    """Where the hub's cache lies: as its own library decides."""
    return Path(_constants().HF_HUB_CACHE)


def installed() -> list[str]:
    """Names of the timm models whose weights are in the hub's cache."""
    prefix = "models--timm--"
    names = [folder.name.removeprefix(prefix) for folder in sorted(cache_of_hub().glob(f"{prefix}*"))]
    return [name for name in names if "." in name and cached(name) is not None]


def host() -> str:
    """Where downloads come from: huggingface.co, or what HF_ENDPOINT says."""
    return str(_constants().ENDPOINT).partition("://")[2]


def offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids downloads."""
    return bool(_constants().HF_HUB_OFFLINE)


def download(name: str) -> Path:
    """Fetch the weights of a timm model into the hub's cache, where they may lie already. Imports timm.

    UsageError for a name that timm does not know or has no weights for; MachineError when it is offline, fails, or
    what came is not what the hub has.
    """
    tagged = full_name(name)
    if (here := cached(tagged)) is not None:
        return here
    known_architecture(tagged.partition(".")[0])
    if offline():
        raise MachineError(f"HF_HUB_OFFLINE is set: {tagged} is not downloaded; unset it, or {_by_hand(tagged)}")
    _on_the_hub(tagged)
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    try:
        get_hf_file_metadata(hf_hub_url(f"timm/{tagged}", FILE))  # fails at once, where a download tries for long
        place = Path(hf_hub_download(f"timm/{tagged}", FILE))
    except Exception as error:  # whatever the hub's library and its HTTP client raise, which differs between versions
        raise MachineError(f"{tagged} could not be downloaded ({_reason(error)}); {_by_hand(tagged)}") from None
    _refuse_another(place, tagged)
    return place


def _constants() -> Any:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read by the library when it is first imported
    from huggingface_hub import constants

    return constants


def _on_the_hub(tagged: str) -> None:
    """UsageError unless timm says that the weights `tagged` lie under its own name on the hub."""
    import timm

    architecture, _, tag = tagged.partition(".")
    tags = timm.list_pretrained(f"{architecture}.*") or timm.list_pretrained(architecture)
    if tagged not in tags:
        known = ", ".join(tags) or "none"
        raise UsageError(f"timm has no weights {tag or tagged!r} for {architecture}; it has: {known}")
    config = timm.get_pretrained_cfg(tagged)
    if config is None or config.hf_hub_id != f"timm/{tagged}":
        elsewhere = (config and (config.hf_hub_id or config.url)) or "elsewhere"
        raise UsageError(
            f"timm takes the weights of {tagged} from {elsewhere}, not from its own place on the hub: "
            f"fetch them by hand and use --backbone {architecture}@FILE"
        )


def _refuse_another(place: Path, tagged: str) -> None:
    """Remove what was fetched when its sha256 is not the one that the hub names it by; MachineError then."""
    blob = place.resolve()
    if not re.fullmatch("[0-9a-f]{64}", blob.name):
        return  # a system without links, or a hub that names files otherwise
    with blob.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != blob.name:
        place.unlink()
        blob.unlink(missing_ok=True)
        raise MachineError(
            f"what came for {tagged} is not what the hub has (sha256 {found[:12]}, expected {blob.name[:12]}): "
            "it was removed; try again"
        )


def _by_hand(tagged: str) -> str:
    """How to bring the file over."""
    address = f"{_constants().ENDPOINT}/timm/{tagged}/resolve/main/{FILE}"
    return f"bring {address} over from elsewhere and use --backbone {tagged.partition('.')[0]}@FILE"


def _reason(error: Exception) -> str:
    """One line; the innermost cause, because the hub's library wraps refused connections in a page of advice."""
    while (inner := error.__cause__ or error.__context__) is not None and isinstance(inner, Exception):
        error = inner
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:160] if lines else type(error).__name__


def dataset_of(tagged: str) -> str:
    """What the weights saw, as far as their name says it."""
    tag = tagged.partition(".")[2]
    return next((words for key, words in DATASETS.items() if key in tag), tag or "not said")

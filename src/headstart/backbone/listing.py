"""What can be a head start: networks that are here, networks that can be fetched, and what is known about each.

Listing imports nothing heavy and reads no tensors. `measure` and `fetch` do the work that their names say.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from headstart.backbone import hub, own_run, torchvision_files, weights_file
from headstart.backbone.packages import PACKAGES, Package, located
from headstart.backbone.torchvision_entries import ARCHITECTURES, Entry
from headstart.cache_folder import cache_folder
from headstart.errors import HeadstartError, UsageError

TORCHVISION_HOST = "download.pytorch.org"
_NAMES_IN_AN_ERROR = 6


@dataclass(frozen=True)
class Speed:
    """Pictures per second as measured on this machine, by which engine ("openvino cpu fp32"), on which day."""

    images_per_second: float
    engine: str
    day: str
    side: int


@dataclass(frozen=True)
class Row:
    """One network. None and "" stand for what is not known.

    `family`: who brings it ("package", "timm", "torchvision"; "file" and "run": your own). `installed`: whether it is
    on this machine. `install`: what pip needs, for packages. `published_top1`: ImageNet accuracy in 0..1 as published;
    `published`: the published figure with its unit. `bytes`: of the file that is here; `download_bytes`: of what would
    be fetched, roughly.
    """

    name: str
    family: str
    installed: bool
    dataset: str
    licence: str = ""
    install: str = ""
    parameters: int | None = None
    side: int | None = None
    published_top1: float | None = None
    published: str = ""
    bytes: int | None = None
    download_bytes: int | None = None
    sha256: str | None = None
    speed: Speed | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values, `speed` spread out."""
        facts = {**vars(self)}
        speed = facts.pop("speed")
        return {
            **facts,
            "images_per_second": speed and speed.images_per_second,
            "engine": speed.engine if speed else "",
            "measured": speed.day if speed else "",
        }


@dataclass(frozen=True)
class Chosen:
    """A timm network that is worth a look. `top1`: ImageNet, at `side` pixels. `bytes`: of its tensors in float32."""

    name: str
    side: int
    parameters: int
    bytes: int
    licence: str
    top1: float | None = None


# Small and middle-sized, of different kinds; any other timm name works as well. Parameters, bytes, sides and licences:
# timm's own (a test compares them). Accuracy: results/results-imagenet.csv of github.com/huggingface/
# pytorch-image-models, the row with the same number of pixels; the last four have no ImageNet head.
CHOSEN = (
    Chosen("resnet18.a1_in1k", 224, 11_689_512, 46_796_608, "apache-2.0", 0.71504),
    Chosen("resnet50.a1_in1k", 224, 25_557_032, 102_441_032, "apache-2.0", 0.80382),
    Chosen("mobilenetv3_large_100.ra_in1k", 224, 5_483_032, 22_030_096, "apache-2.0", 0.75784),
    Chosen("mobilenetv4_conv_small.e2400_r224_in1k", 224, 3_774_024, 15_196_816, "apache-2.0", 0.73756),
    Chosen("efficientnet_b0.ra_in1k", 224, 5_288_548, 21_322_648, "apache-2.0", 0.77698),
    Chosen("regnety_004.tv2_in1k", 224, 4_344_144, 17_485_608, "bsd-3-clause", 0.75594),
    Chosen("convnext_atto.d2_in1k", 224, 3_695_520, 14_782_080, "apache-2.0", 0.75672),
    Chosen("convnext_tiny.in12k_ft_in1k", 224, 28_589_128, 114_356_512, "apache-2.0", 0.84192),
    Chosen("vit_small_patch14_dinov2.lvd142m", 518, 22_056_192, 88_224_768, "apache-2.0"),
    Chosen("vit_small_patch16_dinov3.lvd1689m", 256, 21_586_944, 86_347_776, "dinov3-license"),
    Chosen("vit_base_patch16_clip_224.openai", 224, 86_193_152, 344_772_608, "apache-2.0"),
    Chosen("vit_base_patch16_siglip_224.webli", 224, 92_884_224, 371_536_896, "apache-2.0"),
)


def listed(cache: Path | None = None) -> list[Row]:
    """Every network that has a line of its own: those on this machine first."""
    folder = cache or cache_folder()
    rows = [*map(_of_package, PACKAGES.values()), *_of_timm()]
    rows += [_of_torchvision(architecture, entry) for architecture, entry in ARCHITECTURES.items()]
    rows = [_with_speed(row, folder) for row in rows]
    return sorted(rows, key=lambda row: not row.installed)


def usable() -> str:
    """Names of what is on this machine, for errors: the first few."""
    names = [row.name for row in listed() if row.installed]
    more = len(names) - _NAMES_IN_AN_ERROR
    told = ", ".join(names[:_NAMES_IN_AN_ERROR]) or "none"
    return f"{told} and {more} more (headstart backbones)" if more > 0 else told


def to_fetch(name: str, cache: Path | None = None) -> dict[str, Any] | None:
    """`{"name", "bytes", "host"}` when `fetch(name)` would download something, else None (here, or no such kind).

    UsageError: a name that nobody knows. MachineError: timm's network cannot be a backbone. May import timm.
    """
    name = own_run.without_side(name)
    if name in PACKAGES or "@" in name or own_run.folder_of(name) is not None:
        return None
    if name.startswith(torchvision_files.PREFIX):
        entry = ARCHITECTURES[torchvision_files.architecture_of(name)]
        if torchvision_files.cached(entry):
            return None
        return {"name": with_tag(name), "bytes": round(entry.mebibytes * 2**20), "host": TORCHVISION_HOST}
    if "/" in name.removeprefix("timm/") or "\\" in name:
        return None
    tagged = hub.full_name(name)
    if hub.cached(tagged) is not None:
        return None
    return {"name": tagged, "bytes": _timm_bytes(tagged, cache or cache_folder()), "host": hub.host()}


def fetch(name: str) -> Path:
    """Download what `name` means into the cache of the library that it comes from; the file, also when it was there.

    UsageError: it is not something to download (then what to do instead), or unknown. MachineError: it fails.
    """
    name = own_run.without_side(name)
    if name in PACKAGES:
        if (place := located(PACKAGES[name])) is not None:
            return place
        raise UsageError(f"{name} comes as a package: pip install '{PACKAGES[name].install}'")
    if "@" in name or own_run.folder_of(name) is not None:
        raise UsageError(f"{name} is a file or a run of your own: there is nothing to download")
    if name.startswith(torchvision_files.PREFIX):
        return torchvision_files.download(name)
    if "/" in name.removeprefix("timm/") or "\\" in name:
        raise UsageError(f"{name} is no network's name: headstart backbones lists what can be fetched")
    return hub.download(name)


def with_tag(name: str) -> str:
    """`torchvision/fcn_resnet50` -> `torchvision/fcn_resnet50.voc_labels`; other names as they are."""
    if not name.startswith(torchvision_files.PREFIX):
        return name
    architecture = torchvision_files.architecture_of(name)
    return f"{torchvision_files.PREFIX}{architecture}.{ARCHITECTURES[architecture].tag}"


def _of_package(package: Package) -> Row:
    place = located(package)
    return Row(
        package.name,
        "package",
        place is not None,
        package.dataset,
        package.licence,
        package.install,
        package.shape.parameters,
        package.shape.side,
        package.published_top1,
        _percent(package.published_top1),
        bytes=place.stat().st_size if place else None,
        sha256=package.sha256,
    )


def _of_timm() -> list[Row]:
    """The chosen ones, then whatever else lies in the hub's cache."""
    here = {name: hub.cached(name) for name in hub.installed()}
    chosen = {one.name for one in CHOSEN}
    rows = [
        Row(
            one.name,
            "timm",
            here.get(one.name) is not None,
            hub.dataset_of(one.name),
            one.licence,
            parameters=one.parameters,
            side=one.side,
            published_top1=one.top1,
            published=_percent(one.top1),
            download_bytes=one.bytes,
        )
        for one in CHOSEN
    ]
    rows += [Row(name, "timm", True, hub.dataset_of(name)) for name in here if name not in chosen]
    return [_on_disk(row, place) if (place := here.get(row.name)) else row for row in rows]


def _on_disk(row: Row, place: Path) -> Row:
    """With what the file itself says: its size, its hash (the hub names files by it), its number of parameters."""
    blob = place.resolve()
    parameters = row.parameters
    if parameters is None:
        with suppress(HeadstartError):  # damaged: said when it is used
            parameters = _parameters(place)
    sha256 = blob.name if re.fullmatch("[0-9a-f]{64}", blob.name) else None
    return replace(row, bytes=place.stat().st_size, sha256=sha256, parameters=parameters)


def _parameters(place: Path) -> int:
    counted = ("running_mean", "running_var", "num_batches_tracked")  # BatchNorm's statistics are not parameters
    return sum(prod(shape) for name, shape in weights_file.header(place).items() if not name.endswith(counted))


def _of_torchvision(architecture: str, entry: Entry) -> Row:
    place = torchvision_files.cached(entry)
    return Row(
        with_tag(torchvision_files.PREFIX + architecture),
        "torchvision",
        place is not None,
        entry.facts.dataset,
        entry.facts.licence,
        parameters=entry.body.parameters,
        side=entry.side,
        published=entry.facts.published,
        bytes=place.stat().st_size if place else None,
        download_bytes=round(entry.mebibytes * 2**20),
    )


def _with_speed(row: Row, cache: Path) -> Row:
    try:
        known = json.loads(speed_file(row.name, cache).read_bytes())
        speed = Speed(float(known["images_per_second"]), str(known["engine"]), str(known["day"]), int(known["side"]))
    except (OSError, ValueError, KeyError, TypeError):
        return row  # not measured, or damaged
    return replace(row, speed=speed, side=row.side or speed.side)


def speed_file(name: str, cache: Path) -> Path:
    """Beside the graphs: what clears them clears the speeds."""
    return cache / "graphs" / f"speed-{re.sub(r'[^A-Za-z0-9_.-]', '_', name)[:120]}.json"


def _timm_bytes(tagged: str, cache: Path) -> int:
    """Of its tensors in float32: known for the chosen ones, elsewhere from the architecture (imports torch once)."""
    for one in CHOSEN:
        if one.name == tagged:
            return one.bytes
    from headstart.backbone.build import shape_of

    return 4 * shape_of("timm", tagged.partition(".")[0], cache).parameters


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{100 * fraction:.1f} % top-1"

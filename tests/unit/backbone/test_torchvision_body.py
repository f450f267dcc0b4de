"""The bodies inside torchvision's detectors and segmenters are torchvision's own: tensor for tensor and map for map."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import detection, get_model_builder, get_model_weights, list_models, segmentation
from torchvision.models._api import WeightsEnum
from torchvision.ops.misc import FrozenBatchNorm2d

from headstart.backbone.source import Shape
from headstart.backbone.stages import stages_of
from headstart.backbone.torchvision_body import ARCHITECTURES, build, own_tensors, shape_of
from headstart.errors import UsageError

# one of every family: frozen or plain BatchNorm, with and without eps, pyramid, split, dilated, none at all
FAMILIES = (
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "maskrcnn_resnet50_fpn_v2",
    "keypointrcnn_resnet50_fpn",
    "keypointrcnn_resnet50_fpn_legacy",
    "retinanet_resnet50_fpn",
    "fcos_resnet50_fpn",
    "ssd300_vgg16",
    "ssdlite320_mobilenet_v3_large",
    "deeplabv3_resnet50",
    "deeplabv3_mobilenet_v3_large",
    "fcn_resnet101",
    "lraspp_mobilenet_v3_large",
)
# the same bodies in models that torchvision makes with frozen BatchNorm
FROZEN = tuple(name for name in FAMILIES if name.endswith("_fpn"))
NORMS = (nn.BatchNorm2d, FrozenBatchNorm2d)


def published(architecture: str) -> WeightsEnum:
    weights = get_model_weights(architecture.removesuffix("_legacy"))
    return weights[ARCHITECTURES[architecture].task.weights]


def as_published(architecture: str, with_weights: bool = True) -> nn.Module:
    """torchvision's own model on the meta device; `with_weights`: as it is when it loads its published weights."""
    make = get_model_builder(architecture.removesuffix("_legacy"))
    aux = {"aux_loss": True} if architecture.startswith(("deeplab", "fcn")) else {}
    with torch.device("meta"), pytest.MonkeyPatch.context() as patch:
        plain = make(weights=None, weights_backbone=None, **aux)
        if not with_weights:
            return plain.eval()
        patch.setattr(WeightsEnum, "get_state_dict", lambda *_, **__: plain.state_dict())
        return make(weights=published(architecture)).eval()


def filled(model: Any) -> Any:
    """`model`, its backbone in memory with random numbers that keep maps in range, BatchNorm's statistics included."""
    torch.manual_seed(3)
    model.backbone.to_empty(device="cpu")
    with torch.no_grad():
        for name, tensor in model.backbone.state_dict().items():
            if name.endswith("num_batches_tracked"):
                tensor.fill_(7)
            elif tensor.ndim > 1:
                tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5)
            elif name.endswith(("running_var", "weight")):
                tensor.uniform_(0.5, 1.5)
            else:
                tensor.normal_(0, 0.1)
    return model


def truth(model: Any, architecture: str, pixels: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """What torchvision's own backbone computes: the maps behind every group, and the one it hands to its head."""
    body = ARCHITECTURES[architecture].body
    maps: dict[str, Tensor] = {}
    if architecture == "ssd300_vgg16":
        del model.backbone.extra[1:]  # these want larger pictures
    hooks = [
        model.get_submodule(body.prefix + group[-1]).register_forward_hook(
            lambda module, given, out, path=group[-1]: maps.__setitem__(path, out.clone())
        )
        for group in body.groups
    ]
    with torch.no_grad():
        out = model.backbone(pixels)
        if body.prefix == "backbone.body.":
            out = model.backbone.body(pixels)
    for hook in hooks:
        hook.remove()
    # SSD: the second of its maps is the body's last; LR-ASPP: "high"; all others: the last, or "out"
    name = next((key for key in ("out", "high") if key in out), None) or ("1" if "ssd" in architecture else [*out][-1])
    return maps, out[name]


@pytest.fixture(scope="module")
def shapes() -> dict[str, Shape]:
    return {architecture: shape_of(architecture) for architecture in ARCHITECTURES}


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_the_table_is_all_that_torchvision_has() -> None:
    theirs = {w.url for name in list_models(detection) + list_models(segmentation) for w in get_model_weights(name)}
    assert {entry.url for entry in ARCHITECTURES.values()} == theirs
    assert set(FAMILIES) <= ARCHITECTURES.keys()


@pytest.mark.parametrize("architecture", FAMILIES)
def test_tensors_and_maps_are_torchvisions_own(architecture: str, shapes: dict[str, Shape]) -> None:
    model = filled(as_published(architecture))
    state = model.state_dict()
    own, discarded = own_tensors(state, architecture)
    prefix = ARCHITECTURES[architecture].body.prefix
    body = build(architecture).eval()
    body.load_state_dict(own, strict=True)
    for name, tensor in body.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(tensor, state[prefix + name]), name
    covered = {n for n in state if any(n == d or n.startswith(f"{d}.") for d in discarded)}
    assert covered == state.keys() - {prefix + name for name in own} and discarded

    frozen = any(isinstance(module, FrozenBatchNorm2d) for module in model.modules())
    assert not any(isinstance(module, FrozenBatchNorm2d) for module in body.modules())
    # Frozen layers compute in another order: the same function, shown in float64.
    dtype, tolerance = (torch.float64, 1e-10) if frozen else (torch.float32, 0.0)
    pixels = torch.randn(2, 3, 64, 64, dtype=dtype, generator=torch.Generator().manual_seed(1))
    model.backbone.to(dtype)
    maps, last = truth(model, architecture, pixels)
    with torch.no_grad():
        whole = x = body.to(dtype)(pixels)
        assert_close(whole, last, tolerance)
        x = pixels
        for stage, group in zip(
            stages_of(body, shapes[architecture].plan), shapes[architecture].plan.groups, strict=True
        ):
            x = stage(x)
            assert_close(x, maps[group[-1]], tolerance)
    assert torch.equal(x, whole)
    assert x.std() > 1e-3 and not torch.allclose(x[0], x[1])  # maps of zeros would agree, too


def assert_close(found: Tensor, wanted: Tensor, tolerance: float) -> None:
    assert found.shape == wanted.shape and wanted.isfinite().all()
    assert (found - wanted).abs().max() <= tolerance * wanted.abs().max()


@pytest.mark.parametrize("architecture", FROZEN)
def test_maps_equal_those_of_a_new_model_bit_by_bit(architecture: str) -> None:
    """With plain BatchNorm, as torchvision makes it without weights, nothing is rounded otherwise."""
    model = filled(as_published(architecture, with_weights=False))
    body = build(architecture).eval()
    body.load_state_dict(own_tensors(model.state_dict(), architecture)[0])
    for module in body.modules():
        if isinstance(module, nn.BatchNorm2d) and module.eps == 0.0:
            module.eps = 1e-5  # torchvision takes it away only with its weights
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert torch.equal(body(pixels), truth(model, architecture, pixels)[1])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_layer_is_set_as_torchvision_sets_it(architecture: str) -> None:
    model = as_published(architecture)
    own, _ = own_tensors(model.state_dict(), architecture)
    with torch.device("meta"):
        body = build(architecture)
    assert body.load_state_dict(own, strict=True, assign=True)
    kinds = set()
    for path, ours in body.named_modules():
        if not path or [*ours.children()]:
            continue
        theirs = model.get_submodule(ARCHITECTURES[architecture].body.prefix + path)
        kinds.add(type(ours).__name__)
        if isinstance(ours, NORMS):
            assert isinstance(theirs, NORMS) and ours.eps == theirs.eps, path
        else:  # stride, dilation, padding, groups, rounding of pooled sizes
            assert type(ours) is type(theirs) and ours.extra_repr() == theirs.extra_repr(), path
    assert "Conv2d" in kinds and ("BatchNorm2d" in kinds) == (architecture != "ssd300_vgg16")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_stages_are_the_body(architecture: str, shapes: dict[str, Shape]) -> None:
    shape = shapes[architecture]
    names = [name for name, _ in shape.depths]
    assert names == [*(f"block{i}" for i in range(len(names) - 1)), "last"] and len(names) - 1 <= 8
    assert shape.classes == 0
    with torch.device("meta"), torch.no_grad():
        body = build(architecture).eval()
        x = torch.empty(2, 3, 64, 64)
        found = [x := stage(x) for stage in stages_of(body, shape.plan)]
        assert body(torch.empty(2, 3, 64, 64)).shape == x.shape
    assert [(m.ndim, m.shape[1]) for m in found] == [(4, dim) for _, dim in shape.depths]
    in_stages = [id(p) for stage in stages_of(body, shape.plan) for p in stage.parameters()]
    assert sorted(in_stages) == sorted(id(p) for p in body.parameters())
    assert shape.parameters == sum(p.numel() for p in body.parameters()) == ARCHITECTURES[architecture].body.parameters
    assert Shape.from_json(shape.to_json()) == shape


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_pictures_are_scaled_as_torchvision_scales_them(architecture: str, shapes: dict[str, Shape]) -> None:
    shape = shapes[architecture]
    if architecture.startswith(("deeplab", "fcn", "lraspp")):
        wanted: Any = published(architecture).transforms()
        mean, std = wanted.mean, wanted.std
        assert wanted.interpolation.value == shape.interpolation
    else:
        wanted = as_published(architecture).transform
        mean, std = wanted.image_mean, wanted.image_std
        assert wanted.fixed_size in (None, (shape.side, shape.side))
    assert list(shape.mean) == pytest.approx(list(mean)) and list(shape.std) == pytest.approx(list(std))
    assert shape.side == (300 if architecture == "ssd300_vgg16" else 320)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_facts_are_those_of_torchvision(architecture: str) -> None:
    entry, weights = ARCHITECTURES[architecture], published(architecture)
    ((where, metrics),) = weights.meta["_metrics"].items()
    assert entry.url == weights.url and entry.file == weights.url.rpartition("/")[2]
    found = torch.hub.HASH_REGEX.search(entry.file)
    assert found is not None and found[1] == entry.sha256_start and re.fullmatch("[0-9a-f]{8}", entry.sha256_start)
    assert entry.mebibytes == weights.meta["_file_size"]
    voc = where == "COCO-val2017-VOC-labels"
    kind = "miou" if voc else "box_map"
    assert entry.facts.published == f"{'mIoU' if voc else 'box mAP'} {metrics[kind]}"
    words = entry.facts.dataset
    assert words.startswith("COCO") and ("not VOC pictures" in words) == voc == (entry.tag == "voc_labels")
    assert voc == (len(weights.meta["categories"]) == 21) and (voc or entry.tag == "coco")
    assert ("keypoints" in words, "instance" in words) == ("kp_map" in metrics, "mask_map" in metrics)
    assert ("early epoch" in words) == (weights.name == "COCO_LEGACY")
    assert entry.facts.licence


def test_the_table_is_read_without_anything_heavy() -> None:
    code = "import sys; import headstart.backbone.torchvision_entries; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_what_was_discarded_is_named() -> None:
    def discarded(architecture: str) -> list[str]:
        return own_tensors(as_published(architecture).state_dict(), architecture)[1]

    assert discarded("maskrcnn_resnet50_fpn") == ["backbone.fpn", "rpn", "roi_heads"]
    assert discarded("deeplabv3_resnet50") == ["classifier", "aux_classifier"]
    extra = [f"backbone.extra.{i}" for i in range(1, 5)]
    assert discarded("ssd300_vgg16") == ["backbone.scale_weight", *extra, "head"]


def test_counters_that_are_not_in_the_file_are_made_up() -> None:
    state = filled(as_published("fasterrcnn_resnet50_fpn_v2")).state_dict()
    with_counters, _ = own_tensors(state, "fasterrcnn_resnet50_fpn_v2")
    without = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    own, _ = own_tensors(without, "fasterrcnn_resnet50_fpn_v2")
    assert with_counters["bn1.num_batches_tracked"] == 7 and own["bn1.num_batches_tracked"] == 0
    assert [*own] == [*with_counters] == [*build("fasterrcnn_resnet50_fpn_v2").state_dict()]


@pytest.mark.parametrize("architecture", ["fasterrcnn_resnet50_fpn", "ssd300_vgg16", "lraspp_mobilenet_v3_large"])
def test_tensors_that_do_not_fit_are_refused(architecture: str) -> None:
    state = as_published(architecture).state_dict()
    body = ARCHITECTURES[architecture].body
    gone = [name for name in state if name.startswith(body.prefix) and not name.startswith(body.beside)][4:9]
    gone = [name for name in gone if not name.endswith("num_batches_tracked")]
    less = {name: tensor for name, tensor in state.items() if name not in gone}
    message = refusal(less, architecture)
    assert f"{len(gone)} missing ({', '.join(gone[:3])}" in message and architecture in message
    assert len(gone) <= 3 or gone[3] not in message

    more = {**state, f"{body.prefix}layer5.weight": torch.zeros(1)}
    assert f"1 not known to it ({body.prefix}layer5.weight)" in refusal(more, architecture)

    other = {**state, gone[0]: torch.zeros(2, 3)}
    assert re.search(rf"1 of another shape \({re.escape(gone[0])} is \(2, 3\), not \(\d", refusal(other, architecture))


def refusal(tensors: dict[str, Tensor], architecture: str) -> str:
    with pytest.raises(UsageError) as error:
        own_tensors(tensors, architecture)
    message = str(error.value)
    assert "\n" not in message and "state dict" in message
    return message


def test_a_file_of_another_model_is_refused() -> None:
    segmenter = as_published("fcn_resnet50").state_dict()
    message = refusal(segmenter, "fasterrcnn_resnet50_fpn")
    assert "265 missing (backbone.body.conv1.weight, backbone.body.bn1.weight, backbone.body.bn1.bias, ...)" in message
    assert "missing" in refusal({}, "ssd300_vgg16")
    deeper = {**as_published("ssd300_vgg16").state_dict(), "backbone.extra.0.9.weight": torch.zeros(1)}
    assert "1 not known to it (backbone.extra.0.9.weight)" in refusal(deeper, "ssd300_vgg16")
    # names and shapes of a dilated body are those of an undilated one: only the prefix tells them apart
    assert own_tensors(segmenter, "deeplabv3_resnet50")[1] == ["classifier", "aux_classifier"]


def test_an_unknown_name_gives_a_hint() -> None:
    with pytest.raises(UsageError, match=r"'fasterrcnn_resnet50'; did you mean fasterrcnn_resnet50_fpn\?"):
        build("fasterrcnn_resnet50")
    with pytest.raises(UsageError, match="known: fasterrcnn_resnet50_fpn, "):
        shape_of("xyz")

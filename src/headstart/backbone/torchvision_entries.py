"""The detection and segmentation weights of torchvision whose bodies can be a backbone. Literals; no heavy imports."""

from __future__ import annotations

from dataclasses import dataclass, replace

from headstart.backbone.source import Facts, Triple

Groups = tuple[tuple[str, ...], ...]

_ADDRESS = "https://download.pytorch.org/models/"
_LICENCE = "BSD-3-Clause (torchvision); the terms of the COCO pictures may apply"


@dataclass(frozen=True)
class Task:
    """What weights were trained for. `tag`: as users name them. `weights`: as torchvision does. `unit`: of figures."""

    dataset: str
    tag: str
    weights: str
    unit: str


@dataclass(frozen=True)
class Body:
    """The convolutional part of a model. `network`: torchvision's classifier that it is a part of.

    `groups`: paths of its modules, one group per depth. `prefix`: of its tensors in the whole model's state dict;
    `beside`: names that begin with the prefix, too, and are not its own. `dilated`: the last strides are replaced by
    dilation. `eps`: of every BatchNorm.
    """

    network: str
    groups: Groups
    parameters: int
    prefix: str = "backbone."
    beside: tuple[str, ...] = ()
    dilated: bool = False
    eps: float = 1e-5


@dataclass(frozen=True)
class Entry:
    """One set of weights. `file`: its name at torchvision's address and in the cache of torch.hub.

    `figure`: as published, in the unit of `task`. `mebibytes`: of the file. `side`, `mean`, `std`: see `Shape`.
    """

    task: Task
    body: Body
    file: str
    figure: float
    mebibytes: float
    # The others were trained at 800 (detection) or 520 (segmentation) pixels: more than a laptop can bear.
    side: int = 320
    mean: Triple = (0.485, 0.456, 0.406)
    std: Triple = (0.229, 0.224, 0.225)

    @property
    def tag(self) -> str:
        """What users write behind the architecture and a dot."""
        return self.task.tag

    @property
    def url(self) -> str:
        """Where torchvision has the file."""
        return _ADDRESS + self.file

    @property
    def sha256_start(self) -> str:
        """The first eight hexadecimal digits of the file's sha256."""
        return self.file.rpartition("-")[2].removesuffix(".pth")

    @property
    def facts(self) -> Facts:
        """For people who choose."""
        return Facts(self.task.dataset, _LICENCE, f"{self.task.unit} {self.figure}")


_DETECTION = Task("COCO detection", "coco", "COCO_V1", "box mAP")
_MASKS = replace(_DETECTION, dataset="COCO instance segmentation")
_KEYPOINTS = replace(_DETECTION, dataset="COCO person keypoints")
_EARLY_KEYPOINTS = replace(_KEYPOINTS, dataset="COCO person keypoints (an early epoch)", weights="COCO_LEGACY")
_SEGMENTATION = Task(
    "COCO pictures with Pascal VOC's 20 classes (not VOC pictures)", "voc_labels", "COCO_WITH_VOC_LABELS_V1", "mIoU"
)

# Nothing stands behind the last block group of a ResNet: its last block is the last depth.
_RESNET: Groups = (
    ("conv1", "bn1", "relu", "maxpool", "layer1"),
    ("layer2",),
    ("layer3",),
    ("layer4.0", "layer4.1"),
    ("layer4.2",),
)
_MOBILENET: Groups = (
    ("0", "1"),
    ("2", "3"),
    ("4", "5", "6"),
    ("7", "8", "9", "10"),
    ("11", "12"),
    ("13", "14", "15"),
    ("16",),
)
# The same blocks; the one with the last stride is split: its widening layer ends the first half.
_SPLIT_MOBILENET: Groups = (
    *(tuple(f"features.0.{block}" for block in group) for group in _MOBILENET[:5]),
    ("features.0.13", "features.1.0", "features.1.1", "features.1.2"),
    ("features.1.3",),
)
# Each group to its last ReLU; then fc6 and fc7 as convolutions.
_VGG: Groups = (
    tuple(f"features.{i}" for i in range(4)),
    tuple(f"features.{i}" for i in range(4, 9)),
    tuple(f"features.{i}" for i in range(9, 16)),
    tuple(f"features.{i}" for i in range(16, 23)),
    tuple(f"extra.0.{i}" for i in range(7)),
    ("extra.0.7.0", "extra.0.7.1", "extra.0.7.2"),
    ("extra.0.7.3", "extra.0.7.4"),
)

_RESNET50 = Body("resnet50", _RESNET, 23_508_032, prefix="backbone.body.")
# torchvision sets eps to 0 when it loads these older weights, which were trained without one.
_RESNET50_NO_EPS = replace(_RESNET50, eps=0.0)
_DILATED_RESNET50 = replace(_RESNET50, prefix="backbone.", dilated=True)
_DILATED_RESNET101 = replace(_DILATED_RESNET50, network="resnet101", parameters=42_500_160)
_MOBILE = Body("mobilenet_v3_large", _MOBILENET, 2_971_952, prefix="backbone.body.")
_DILATED_MOBILE = replace(_MOBILE, prefix="backbone.", dilated=True, eps=1e-3)
_SSDLITE = Body("mobilenet_v3_large_split", _SPLIT_MOBILENET, 1_620_512, beside=("backbone.extra.",), eps=1e-3)
_BESIDE_VGG = ("backbone.scale_weight", *(f"backbone.extra.{i}." for i in range(1, 5)))
_SSD = Body("vgg16_reduced", _VGG, 20_483_904, beside=_BESIDE_VGG)

# The one place to add a model. Users write `torchvision/` + key + "." + tag. Figures and sizes: torchvision's own.
ARCHITECTURES: dict[str, Entry] = {
    "fasterrcnn_resnet50_fpn": Entry(
        _DETECTION, _RESNET50_NO_EPS, "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth", 37.0, 159.743
    ),
    "fasterrcnn_resnet50_fpn_v2": Entry(
        _DETECTION, _RESNET50, "fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth", 46.7, 167.104
    ),
    "fasterrcnn_mobilenet_v3_large_fpn": Entry(
        _DETECTION, _MOBILE, "fasterrcnn_mobilenet_v3_large_fpn-fb6a3cc7.pth", 32.8, 74.239
    ),
    "fasterrcnn_mobilenet_v3_large_320_fpn": Entry(
        _DETECTION, _MOBILE, "fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth", 22.8, 74.239
    ),
    "maskrcnn_resnet50_fpn": Entry(_MASKS, _RESNET50_NO_EPS, "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth", 37.9, 169.84),
    "maskrcnn_resnet50_fpn_v2": Entry(_MASKS, _RESNET50, "maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth", 47.4, 177.219),
    "keypointrcnn_resnet50_fpn": Entry(
        _KEYPOINTS, _RESNET50_NO_EPS, "keypointrcnn_resnet50_fpn_coco-fc266e95.pth", 54.6, 226.054
    ),
    # Not torchvision's name for it, but another eps: another module.
    "keypointrcnn_resnet50_fpn_legacy": Entry(
        _EARLY_KEYPOINTS, _RESNET50, "keypointrcnn_resnet50_fpn_coco-9f466800.pth", 50.6, 226.054
    ),
    "retinanet_resnet50_fpn": Entry(
        _DETECTION, _RESNET50_NO_EPS, "retinanet_resnet50_fpn_coco-eeacb38b.pth", 36.4, 130.267
    ),
    "retinanet_resnet50_fpn_v2": Entry(
        _DETECTION, _RESNET50, "retinanet_resnet50_fpn_v2_coco-5905b1c5.pth", 41.5, 146.037
    ),
    "fcos_resnet50_fpn": Entry(_DETECTION, _RESNET50, "fcos_resnet50_fpn_coco-99b0c9b7.pth", 39.2, 123.608),
    "ssd300_vgg16": Entry(
        _DETECTION,
        _SSD,
        "ssd300_vgg16_coco-b556d3b4.pth",
        25.1,
        135.988,
        side=300,
        mean=(0.48235, 0.45882, 0.40784),
        std=(1 / 255, 1 / 255, 1 / 255),
    ),
    "ssdlite320_mobilenet_v3_large": Entry(
        _DETECTION,
        _SSDLITE,
        "ssdlite320_mobilenet_v3_large_coco-a79551df.pth",
        21.3,
        13.418,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    ),
    "deeplabv3_resnet50": Entry(
        _SEGMENTATION, _DILATED_RESNET50, "deeplabv3_resnet50_coco-cd0a2569.pth", 66.4, 160.515
    ),
    "deeplabv3_resnet101": Entry(
        _SEGMENTATION, _DILATED_RESNET101, "deeplabv3_resnet101_coco-586e9e4e.pth", 67.4, 233.217
    ),
    "deeplabv3_mobilenet_v3_large": Entry(
        _SEGMENTATION, _DILATED_MOBILE, "deeplabv3_mobilenet_v3_large-fc3c493d.pth", 60.3, 42.301
    ),
    "fcn_resnet50": Entry(_SEGMENTATION, _DILATED_RESNET50, "fcn_resnet50_coco-1167a1af.pth", 60.5, 135.009),
    "fcn_resnet101": Entry(_SEGMENTATION, _DILATED_RESNET101, "fcn_resnet101_coco-7ecb50ca.pth", 63.7, 207.711),
    "lraspp_mobilenet_v3_large": Entry(
        _SEGMENTATION, _DILATED_MOBILE, "lraspp_mobilenet_v3_large-d234d4ea.pth", 57.9, 12.49
    ),
}

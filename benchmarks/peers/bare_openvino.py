"""The least that can answer: numpy, Pillow and OpenVINO over a finished model.onnx, for one picture.

CI=1 python benchmarks/peers/bare_openvino.py MODEL.onnx IMAGE        (CI=1: openvino sends no telemetry)
"""

import sys

import numpy as np
import openvino
from PIL import Image

core = openvino.Core()
model = core.compile_model(sys.argv[1], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
side = model.input(0).partial_shape[1].get_length()
image = Image.open(sys.argv[2]).convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
probabilities = model(np.asarray(image)[None])[0][0]
print(int(probabilities.argmax()), float(probabilities.max()))

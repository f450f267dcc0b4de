"""`headstart export` as a user runs it, and its predict.py where there is no headstart."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from commands import headstart, one_line
from PIL import Image

from headstart.artefact import write_classifier
from tiny import CLASSES, tiny_artefact

PACKAGES = ("numpy", "pillow", "onnxruntime")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(1)
    for name in CLASSES:
        (folder / name).mkdir()
        for i in range(6):
            small = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
            small.resize((80, 60)).save(folder / name / (f"{i}.jpg" if i % 2 else f"{i}.png"))
    return folder


@pytest.fixture
def run(tmp_path: Path, pictures: Path) -> Path:
    write_classifier(tmp_path / "run" / "classifier", tiny_artefact())
    return tmp_path / "run"


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment: numpy, pillow and onnxruntime, installed by pip, and nothing of ours."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(folder)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    command = [*pip, "install", "--quiet", "--no-compile", *PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    if done.returncode:
        pytest.skip(f"pip cannot install {', '.join(PACKAGES)} here: {done.stderr.strip()[-200:]}")
    return python


def test_the_command_says_what_it_proved(run: Path, pictures: Path) -> None:
    done = headstart("export", run, "--to", "onnx", "--data", pictures)
    assert done.code == 0, done.err
    assert "same answers by onnxruntime and predict.py on 18 of your pictures, in batches of 1, 2, 7" in done.out
    assert "INTER_AREA" in done.out
    again = headstart("export", run, "--data", pictures)
    assert again.code == 2
    assert "--overwrite" in one_line(again)
    told = headstart("export", run, "--data", pictures, "--overwrite", "--json").json
    assert told["to"] == "onnx"
    assert Path(told["folder"], "model.onnx").stat().st_size == told["files"]["model.onnx"]


def test_refusals_have_one_line_and_a_code(run: Path) -> None:
    for arguments, code, said in (
        ([], 2, "--data PICTURES"),
        (["--to", "tflite"], 2, "onnx, int8, openvino"),
        (["--data", "nowhere"], 3, "no such folder"),
    ):
        done = headstart("export", run, *arguments)
        assert (done.code, said in one_line(done)) == (code, True), done.err
    assert headstart("export", run / "nothing").code == 4
    assert [p.name for p in run.iterdir()] == ["classifier"]


def test_predict_py_needs_three_packages_and_answers_as_predict_does(
    run: Path, pictures: Path, clean: Path, tmp_path: Path
) -> None:
    assert headstart("export", run, "--data", pictures, "--out", tmp_path / "moved").code == 0
    elsewhere = tmp_path / "elsewhere"
    shutil.move(tmp_path / "moved", elsewhere)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"<html>")
    command = [clean, "-I", elsewhere / "predict.py", pictures, bad, tmp_path / "gone\n.png"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 3, done.stderr
    assert done.stderr.splitlines() == [
        f"{bad}: not a JPEG, PNG, WebP, GIF, BMP or TIFF picture",
        f"{tmp_path}/gone\\n.png: file not found",
    ]
    rows = headstart("predict", run, pictures, "--json").json["predictions"]
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [(path, label) for path, label, _ in lines] == [(row["path"], row["class"]) for row in rows]
    for row, (_, _, p) in zip(rows, lines, strict=True):
        assert float(p) == pytest.approx(row["probability"], abs=1e-3)
    code = "from importlib.metadata import distributions as d; print(*(x.name.lower() for x in d()))"
    listed = subprocess.run([str(clean), "-I", "-c", code], capture_output=True, text=True).stdout.split()
    assert set(PACKAGES) <= set(listed) and not {"headstart", "torch", "openvino", "onnx"} & set(listed)
    for arguments, code in (([], 2), (["--help"], 0)):
        shown = subprocess.run([str(clean), str(elsewhere / "predict.py"), *arguments], capture_output=True, text=True)
        assert shown.returncode == code
        assert "python predict.py IMAGE|FOLDER" in shown.stderr


def test_predict_py_without_onnxruntime_says_what_to_install(run: Path, pictures: Path, tmp_path: Path) -> None:
    assert headstart("export", run, "--data", pictures, "--out", tmp_path / "out").code == 0
    code = "import sys, runpy; sys.modules['onnxruntime'] = None; sys.argv = sys.argv[1:]; "
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", code, str(tmp_path / "out" / "predict.py"), str(pictures)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, "pip install onnxruntime" in done.stderr) == (5, True)
    assert "Traceback" not in done.stderr

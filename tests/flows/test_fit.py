"""The main job on real small photographs: fit, predict, evaluate, fit again."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import Outcome, child, files_below, headstart, one_line, steady
from PIL import Image

EXPLAINED = ("explain.json", "nearest.json", "nearest.safetensors")


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flow") / "run"
    done = headstart("fit", photos, "--out", folder, "--train", "head", "--json")
    assert done.code == 0, done.err
    assert done.json == json.loads((folder / "result.json").read_text())
    return folder


@pytest.fixture(scope="module")
def result(run: Path) -> dict:
    return json.loads((run / "result.json").read_text())


def test_result_holds_what_others_rely_on(result: dict, photos: Path) -> None:
    n = sum(1 for _ in photos.rglob("*.jpg")) + sum(1 for _ in photos.rglob("*.png"))
    assert result["schema"] == 1
    assert result["data"]["n"] == n
    assert result["data"]["classes"] == len(list(photos.iterdir()))
    accuracy = result["accuracy"]
    assert 0.8 <= accuracy["top1"] <= 1
    assert accuracy["low"] <= accuracy["top1"] <= accuracy["high"]
    assert accuracy["baseline"] < 0.5
    assert result["test"] is None
    assert result["decision"]["train"] == "head"
    assert set(result["decision"]["depths"]) <= {d["name"] for d in result["depths"]}
    assert len(result["depths"]) == 8
    assert {"total", "scan", "embed", "probe", "race", "finish"} <= set(result["seconds"])
    parts = sum(v for k, v in result["seconds"].items() if k != "total")
    assert parts <= result["seconds"]["total"]
    assert result["verified"] > 0
    assert result["interrupted"] is False
    assert result["engine"]["precision"] == "fp32"
    assert [p["n"] for p in result["learning_curve"]] == sorted(p["n"] for p in result["learning_curve"])


def test_the_run_holds_its_files(run: Path) -> None:
    names = ("classifier.json", "weights.safetensors", "model.onnx", "README.md")
    wanted = {f"classifier/{name}" for name in names} | {f"explain/{name}" for name in EXPLAINED}
    wanted |= {"result.json", "report.html", "predictions.csv", "bad_images.csv", "log.jsonl"}
    found = files_below(run)
    thumbnails = {name for name in found if re.fullmatch(r"explain/[pn]\d{3}\.jpg", name)}
    assert found - thumbnails == wanted and thumbnails


def test_out_of_fold_table_agrees_with_the_result(run: Path, result: dict) -> None:
    with (run / "predictions.csv").open() as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == result["data"]["n"]
    right = np.mean([r["label"] == r["predicted"] for r in rows])
    assert right == pytest.approx(result["accuracy"]["uncorrected_top1"])


def test_groups_that_were_given_are_in_the_table(photos: Path, tmp_path: Path) -> None:
    files = sorted(p for p in photos.rglob("*") if p.is_file())
    group = {p.as_posix(): f"film {i % 14 // 2}" for i, p in enumerate(files)}
    rows = [f"{p.as_posix()},{p.parent.name},{group[p.as_posix()]}" for p in files]
    (tmp_path / "films.csv").write_text("\n".join(["path,label,group", *rows]) + "\n")
    assert headstart("fit", tmp_path / "films.csv", "--out", tmp_path / "r", "--train", "head").code == 0
    with (tmp_path / "r" / "predictions.csv").open() as f:
        given = {r["path"]: r["group"] for r in csv.DictReader(f)}
    table = [(given[path], group[next(name for name in group if name.endswith(path))]) for path in given]
    assert len(table) == len(files)
    assert len({number for number, _ in table}) == len(set(table)) == len(set(group.values()))


def test_predict_answers_every_input_in_order(run: Path, photos: Path, tmp_path: Path) -> None:
    pictures = sorted(p for p in photos.rglob("*") if p.is_file())[::7]
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"<html>not here</html>")
    asked = [*pictures[:3], broken, *pictures[3:]]
    done = headstart("predict", run, *asked, "--json", "--top", 3)
    assert done.code == 3, "one picture could not be read"
    rows = done.json["predictions"]
    assert [r["path"] for r in rows] == [str(p) for p in asked]
    assert rows[3]["class"] is None
    assert "HTML" in rows[3]["error"]
    good = [r for r in rows if r["error"] is None]
    assert np.mean([r["class"] == Path(r["path"]).parent.name for r in good]) > 0.9
    for r in good:
        assert len(r["top"]) == 3
        assert r["top"][0] == [r["class"], r["probability"]]
        assert 0 <= r["top"][2][1] <= r["top"][1][1] <= r["top"][0][1] <= 1


def test_a_picture_alone_and_in_a_folder_gets_the_same_answer(run: Path, photos: Path) -> None:
    folder = sorted(p for p in photos.iterdir())[0]
    together = headstart("predict", run, folder, "--json").json["predictions"]
    for row in together[:3]:
        alone = headstart("predict", run, row["path"], "--json").json["predictions"][0]
        assert alone["class"] == row["class"]
        assert alone["probability"] == pytest.approx(row["probability"], abs=1e-4)


def test_predict_as_text_and_csv(run: Path, photos: Path, tmp_path: Path) -> None:
    picture = next(p for p in sorted(photos.rglob("*")) if p.is_file())
    text = headstart("predict", run, picture)
    path, label, probability = text.out.strip().split("\t")
    assert (path, label) == (str(picture), picture.parent.name)
    assert 0 < float(probability) <= 1
    table = tmp_path / "out.csv"
    done = headstart("predict", run, picture, "--csv", table, "--top", 2)
    assert done.code == 0
    assert done.out == ""
    with table.open() as f:
        (row,) = csv.DictReader(f)
    assert row["class"] == row["class_1"] == label
    assert headstart("predict", run, picture, "--unsure", "1.0", "--json").json["predictions"][0]["class"] == "unsure"


def test_evaluate_agrees_with_predict(run: Path, photos: Path) -> None:
    judged = headstart("evaluate", run, photos, "--json").json
    rows = headstart("predict", run, photos, "--json").json["predictions"]
    assert judged["n"] == len(rows)
    assert judged["top1"] == pytest.approx(np.mean([r["class"] == Path(r["path"]).parent.name for r in rows]))
    assert judged["low"] <= judged["top1"] <= judged["high"]


def test_evaluate_refuses_unknown_classes(run: Path, photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for k, folder in enumerate(sorted(photos.iterdir())[:2]):
        shutil.copytree(folder, other / ("platypus" if k else folder.name))
    done = headstart("evaluate", run, other)
    assert done.code == 3
    assert "platypus" in one_line(done)


def test_an_existing_run_is_not_touched_unasked(run: Path, photos: Path) -> None:
    before = (run / "result.json").read_bytes()
    done = headstart("fit", photos, "--out", run)
    assert done.code == 2
    assert "--overwrite" in one_line(done)
    assert headstart("fit", photos, "--out", run, "--resume").code == 0
    assert (run / "result.json").read_bytes() == before


def test_overwriting_removes_exports_of_the_classifier_before(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "r"
    assert headstart("fit", photos, "--out", out, "--train", "head").code == 0
    for name in ("export-onnx", "mine"):
        (out / name).mkdir()
        (out / name / "model.onnx").write_bytes(b"of the classifier before")
    assert headstart("fit", photos, "--out", out, "--train", "head", "--overwrite").code == 0
    assert not (out / "export-onnx").exists()
    assert (out / "mine" / "model.onnx").exists()


def test_the_second_fit_decodes_nothing_and_finds_the_same(
    run: Path, photos: Path, result: dict, tmp_path: Path
) -> None:
    again = headstart("fit", photos, "--out", tmp_path / "again", "--train", "head", "--json").json
    assert again["embedding"]["computed"] == 0
    assert again["embedding"]["cached"] == result["data"]["n"]
    assert steady(again) == steady(result)
    first, second = (p / "classifier" / "model.onnx" for p in (run, tmp_path / "again"))
    assert first.read_bytes() == second.read_bytes()


def test_ten_new_pictures_embed_ten(photos: Path, run: Path, tmp_path: Path) -> None:
    grown = tmp_path / "grown"
    shutil.copytree(photos, grown)
    rng = np.random.default_rng(5)
    folder = sorted(grown.iterdir())[0]
    picture = next(p for p in sorted(folder.iterdir()) if p.is_file())
    for k in range(10):
        pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int) + rng.integers(-40, 40, 3)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"new{k}.png")
    assert (
        headstart("fit", grown, "--out", tmp_path / "r", "--train", "head", "--json").json["embedding"]["computed"]
        == 10
    )


def test_warm_fit_and_predict_import_no_torch(run: Path, photos: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from headstart.cli.main import _run; code = _run(sys.argv[1:]); "
        "heavy = {'torch', 'timm', 'sklearn', 'torchvision'} & set(sys.modules); "
        "print(sorted(heavy), file=sys.stderr); sys.exit(code or (9 if heavy else 0))"
    )
    picture = next(p for p in sorted(photos.rglob("*")) if p.is_file())
    fitted = child("fit", photos, "--out", tmp_path / "warm", "--train", "head", "--json", code=code)
    assert fitted.code == 0, fitted.err
    predicted = child("predict", run, picture, "--json", code=code)
    assert predicted.code == 0, predicted.err


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from headstart.cli.main import _run; _run(['fit', '--help']); "
        "heavy = {'torch', 'openvino', 'onnx', 'sklearn', 'PIL', 'numpy'} & set(sys.modules); sys.exit(len(heavy))"
    )
    done = child(code=code)
    assert done.code == 0, done.err
    assert "--train" in done.out


def test_the_progress_and_the_summary_are_readable(photos: Path, tmp_path: Path) -> None:
    done = headstart("fit", photos, "--out", tmp_path / "r", "--train", "head")
    assert done.code == 0
    first = done.out.splitlines()[0]
    assert first.startswith("Trained a new head on ")
    assert "of new pictures right (95 % interval" in first
    assert f"headstart predict {tmp_path / 'r'}" in done.out
    assert "embed: " in done.err


def test_shuffled_labels_are_no_better_than_guessing(photos: Path, tmp_path: Path) -> None:
    pictures = sorted(p for p in photos.rglob("*") if p.is_file())
    labels = np.random.default_rng(3).permutation([p.parent.name for p in pictures])
    table = tmp_path / "shuffled.csv"
    table.write_text("path,label\n" + "".join(f"{p},{label}\n" for p, label in zip(pictures, labels, strict=True)))
    result = headstart("fit", table, "--out", tmp_path / "r", "--train", "head", "--json").json
    assert "no_better_than_guessing" in {f["code"] for f in result["findings"]}
    assert result["accuracy"]["low"] <= result["accuracy"]["baseline"] + 0.05


def test_a_test_part_is_judged_and_leaks_are_left_out(photos: Path, tmp_path: Path) -> None:
    data = tmp_path / "parts"
    for folder in sorted(photos.iterdir()):
        files = sorted(p for p in folder.iterdir() if p.is_file())
        for k, picture in enumerate(files):
            part = "test" if k % 4 == 0 else "train"
            (data / part / folder.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(picture, data / part / folder.name / picture.name)
    leak = next((data / "train").rglob("*.*"))
    shutil.copy(leak, data / "test" / leak.parent.name / f"leak{leak.suffix}")
    done: Outcome = headstart("fit", data, "--out", tmp_path / "r", "--train", "head", "--json")
    assert done.code == 0, done.err
    test = done.json["test"]
    total = sum(1 for p in (data / "test").rglob("*") if p.is_file())
    assert test["left_out"] == 1
    assert test["n"] == total - 1
    assert test["top1"] > 0.8
    judged = headstart("evaluate", tmp_path / "r", data, "--json").json
    assert judged["n"] == total


def test_audit_lists_what_stands_in_the_way(photos: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(photos, data)
    first, second = sorted(data.iterdir())[:2]
    picture = next(p for p in sorted(first.iterdir()) if p.is_file())
    shutil.copy(picture, second / f"same{picture.suffix}")
    (first / "cut.jpg").write_bytes(picture.read_bytes()[:500])
    report = headstart("audit", data, "--json").json
    assert report["data"]["skipped"] == 1
    assert report["data"]["conflicts"] == 2
    reasons = {row["reason"] for row in report["bad_images"]}
    assert "same pixels in two classes" in reasons
    assert {"conflicts", "bad_images"} <= {f["code"] for f in report["findings"]}
    assert not (tmp_path / "runs").exists()

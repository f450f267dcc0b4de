"""One function per command. The command line calls these; so can you."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.errors import DataError, UsageError
from headstart.progress import Progress, Silent

if TYPE_CHECKING:
    from headstart.classifier.classifier import Classifier
    from headstart.classifier.prediction import Prediction
    from headstart.clock import Clock
    from headstart.run import Run


def fit(data: str | Path, out: str | Path | None = None, **options: Any) -> Classifier:
    """Train on `data` (a folder with one sub-folder per class, train/ val/ test/, or a CSV) and return the classifier.

    `options`: budget ("30s", "5m", "2h"), train ("auto", or one amount such as "head", "last-1", "all"), backbone,
    extra_layers ("256,64"), seed, when_exists ("overwrite" here: a script is run again and again), progress, profile
    (True: profile.json in the run's folder says where the time went), on ("local", "ray", "ray://HOST:PORT": workers
    embed the pictures, extra `[scale]`). The run's folder is `out`, by default runs/NAME;
    `headstart.result(out)` gives result.json.
    """
    options.setdefault("when_exists", "overwrite")
    return load(train(Path(data), None if out is None else Path(out), **options).folder)


def train(
    data: Path,
    out: Path | None = None,
    *,
    budget: str | float = "5m",
    train: str = "auto",
    backbone: str = "auto",
    extra_layers: str | None = None,
    seed: int = 0,
    when_exists: str = "refuse",
    profile: bool = False,
    on: str | None = None,
    progress: Progress | None = None,
    clock: Clock | None = None,
) -> Run:
    """Like `fit`, but returns the run: its folder and its result. The budget counts from where `clock` began."""
    from headstart.clock import Clock
    from headstart.config import FitConfig, seconds_of, steps_of, widths_of
    from headstart.pipeline import fit as run_fit

    clock = clock or Clock()
    config = FitConfig(
        out=out or Path("runs") / _run_name(data),
        train=train,
        backbone=backbone,
        budget=seconds_of(budget),
        steps=steps_of(budget),
        extra_layers=widths_of(extra_layers),
        seed=seed,
        when_exists=when_exists,  # type: ignore[arg-type]
        profile=profile,
        on=on,
    )
    return run_fit(data, config, progress, clock)


def load(folder: str | Path) -> Classifier:
    """The classifier of a run (or of a classifier folder). ClassifierError when it is damaged or too new."""
    from headstart.classifier.classifier import Classifier

    return Classifier.load(Path(folder))


def result(folder: str | Path) -> dict[str, Any]:
    """The content of a run's result.json."""
    from headstart.run import Run

    return Run(Path(folder)).result()


def predict(
    folder: str | Path, pictures: Sequence[str | Path], *, top: int = 1, progress: Progress | None = None
) -> list[Prediction]:
    """Predictions for files and folders of pictures, in order; unreadable pictures carry an error."""
    from headstart.data.listing import list_pictures

    classifier, told = load(folder), progress or Silent()
    sources = list_pictures([Path(p) for p in pictures])
    if not sources:
        raise DataError(f"no pictures in {', '.join(str(p) for p in pictures)}")
    return list(classifier.predict_each(sources, top, told))


def predict_each(
    classifier: Classifier, pictures: Sequence[str | Path], *, top: int = 1, progress: Progress | None = None
) -> Iterator[Prediction]:
    """Like `predict` with a loaded classifier, one answer after the other: memory stays flat with many pictures."""
    from headstart.data.listing import list_pictures

    sources = list_pictures([Path(p) for p in pictures])
    if not sources:
        raise DataError(f"no pictures in {', '.join(str(p) for p in pictures[:5])}")
    return classifier.predict_each(sources, top, progress or Silent())


def export(
    folder: str | Path,
    *,
    to: str = "onnx",
    out: str | Path | None = None,
    data: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the classifier as files that need no headstart ("onnx", "int8", "openvino"); what was measured.

    The files are compared with the classifier on pictures of `data`, by default those it learned from; when answers
    differ, nothing is left. HeadstartError says why.
    """
    from headstart.exporting.export import Request
    from headstart.exporting.export import export as run_export

    request = Request(
        Path(folder),
        to,
        out=None if out is None else Path(out),
        data=None if data is None else Path(data),
        overwrite=overwrite,
    )
    return run_export(request, progress or Silent())


def evaluate(folder: str | Path, data: str | Path, *, progress: Progress | None = None) -> dict[str, Any]:
    """Accuracy of a classifier on labelled pictures; of train/ val/ test/ only the test part counts.

    Raises DataError when `data` holds a class that the classifier does not know.
    """
    from headstart.judging import evaluate_classifier

    return evaluate_classifier(load(folder), Path(data), progress or Silent())


def embed(
    data: str | Path,
    out: str | Path,
    *,
    on: str = "local",
    backbone: str = "auto",
    device: str = "auto",
    rows: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Embed `data` (a folder, a CSV or Parquet list) into part files in `out`, or finish what is missing there.

    `on`: "local", "ray" or "ray://HOST:PORT"; `rows`: pictures per part file. Needs the extra `[scale]`.
    """
    from dataclasses import asdict

    from headstart.scaling.embed import embed_folder
    from headstart.scaling.spec import Settings

    settings = Settings(rows_per_chunk=rows, device=device)
    return asdict(embed_folder(Path(data), Path(out), on, backbone, progress, settings))


def audit(data: str | Path, *, progress: Progress | None = None) -> dict[str, Any]:
    """What is wrong with the data: unreadable pictures, duplicates, conflicts, leaks, imbalance, classes too small."""
    from headstart.judging import audit_data

    return audit_data(Path(data), progress or Silent())


def plan(
    data: str | Path,
    *,
    budget: str | float = "5m",
    train: str = "auto",
    backbone: str = "auto",
    seed: int = 0,
    progress: Progress | None = None,
    clock: Clock | None = None,
) -> dict[str, Any]:
    """What `fit` would try on `data`, in which order and why, and how long each would take; trains only heads.

    The budget counts from where `clock` began, by default from here.
    """
    from headstart.clock import Clock
    from headstart.config import FitConfig, seconds_of, steps_of
    from headstart.planning import plan_data
    from headstart.run import without_nan

    steps = steps_of(budget)
    config = FitConfig(Path("plan"), train, backbone, seconds_of(budget), steps=steps, seed=seed)
    return dict(without_nan(plan_data(Path(data), config, progress or Silent(), clock or Clock())))


def plan_scale(
    data: str | Path, images: float, workers: int = 1, *, backbone: str = "auto", progress: Progress | None = None
) -> dict[str, Any]:
    """Hours, bytes and parts that `images` pictures like those of `data` take on `workers` workers like this machine's.

    Measures for ten seconds; also what the heads need afterwards. Needs the extra `[scale]`.
    """
    from headstart.foreseeing import foresee

    return foresee(Path(data), images, workers, backbone, progress or Silent())


def report(folder: str | Path, compare: str | Path | None = None) -> dict[str, Any]:
    """Write the page of a finished run again (RUN/report.html); with `compare`, also one that compares it with a run.

    `page`, `compare_page`: where they are; `sentence`: what the run found; `compare`: the comparison on the pictures
    that both held out (fractions 0..1; `difference` positive where the first run is better), None without one.
    Raises UsageError when a folder is no finished run, or when two runs have nothing in common.
    """
    from headstart.reporting.compare import write_comparison
    from headstart.reporting.report import write_report
    from headstart.reporting.story import sentence
    from headstart.run import Run

    run = Run(Path(folder))
    page, other, found = write_report(run), None, None
    if compare is not None:
        other, found = write_comparison(run, Run(Path(compare)))
    said = sentence(run.result())
    return {"page": str(page), "sentence": said, "compare_page": other and str(other), "compare": found}


def serve(
    folder: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    allow_hosts: Sequence[str] = (),
    started: Callable[[Any], None] | None = None,
) -> None:
    """Answer over HTTP with the classifier of a run, until Ctrl-C. `started` gets the address (url, host, port)."""
    from headstart.serving.options import ServeOptions
    from headstart.serving.server import serve as run_server

    options = ServeOptions(host, port, token, tuple(allow_hosts))
    run_server(Path(folder), options, started or (lambda _: None))


def backbones() -> list[dict[str, Any]]:
    """The pretrained networks: those on this machine (`installed`), then those that can be fetched; facts about each.

    Any other timm name, NAME@FILE and the folder of a run can be used, too. None and "": not known. `runs_in_torch`:
    why it cannot be exported, where that was found out here.
    """
    from headstart.backbone.measuring import listed_with_engine

    return listed_with_engine()


def measure_backbone(name: str) -> dict[str, Any]:
    """Facts about `name`, with images per second here by the fastest engine; `backbones` shows them from then on."""
    from headstart.backbone.measuring import measure

    return measure(name)


def backbone_to_fetch(name: str) -> dict[str, Any] | None:
    """Full name, bytes and host of what `download_backbone` would fetch; None when it is here or not to be fetched."""
    from headstart.backbone.listing import to_fetch

    return to_fetch(name)


def download_backbone(name: str) -> Path:
    """Download pretrained weights into the cache of the library that they come from; the file."""
    from headstart.backbone.listing import fetch

    return fetch(name)


def cache(*, clear: bool = False) -> dict[str, Any]:
    """Where the cache is, how large, and (with `clear`) how much was freed."""
    from dataclasses import asdict

    from headstart.embedding.upkeep import cache_facts, clear_cache

    freed = clear_cache() if clear else 0
    facts = cache_facts()
    return {**asdict(facts), "folder": str(facts.folder), "total": facts.total, "freed": freed}


def demo(out: Path, *, progress: Progress | None = None, clock: Clock | None = None) -> Run:
    """Train on the solar cells of the package elpv-dataset; writes the manifest beside the run and replaces it."""
    from headstart.data.solar_cells import manifest
    from headstart.run import write_file

    table = out.parent / f"{out.name}.csv"
    text = manifest()
    table.parent.mkdir(parents=True, exist_ok=True)
    write_file(table, text.encode("utf-8", "surrogateescape"))
    return train(table, out, budget="2m", when_exists="overwrite", progress=progress, clock=clock)


def _run_name(data: Path) -> str:
    name = data.resolve().stem if data.is_file() else data.resolve().name
    if not name:
        raise UsageError(f"{data} has no name to call the run after: give --out")
    return name

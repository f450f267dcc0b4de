"""Weights from the hub and from torchvision's address: fetched only when asked for, checked, one line when it fails."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import close_session, constants
from safetensors.torch import save

from fake_hub import FakeHub, fake_hub
from headstart.backbone import hub, torchvision_files
from headstart.backbone.sources import find_source
from headstart.backbone.torchvision_entries import ARCHITECTURES
from headstart.errors import HeadstartError, MachineError, UsageError

NAME = "test_resnet.r160_in1k"
SSDLITE = "torchvision/ssdlite320_mobilenet_v3_large.coco"


@pytest.fixture(scope="module")
def weights() -> bytes:
    """A tiny network of timm's with random weights, as a safetensors file."""
    torch.manual_seed(0)
    return save(timm.create_model(NAME.partition(".")[0], pretrained=False).state_dict())


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """An empty cache of the hub's, and a hub to ask."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    with fake_hub() as served:
        ask(served.url, monkeypatch)
        yield served
    close_session()


def ask(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What HF_ENDPOINT does when it is set before the hub's library is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


def one_line(error: pytest.ExceptionInfo[HeadstartError]) -> str:
    assert "\n" not in str(error.value) and len(str(error.value)) < 700
    return str(error.value)


def test_nothing_is_downloaded_unasked_and_the_error_says_what_to_do(there: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        find_source(NAME, tmp_path / "cache")
    said = one_line(error)
    assert f"headstart backbones --download {NAME}" in said
    assert f"{there.url}/timm/{NAME}/resolve/main/model.safetensors" in said and "--backbone test_resnet@FILE" in said
    assert "usable now: efficientnet_lite0" in said
    assert there.asked == []


def test_a_download_is_found_afterwards(there: FakeHub, weights: bytes, tmp_path: Path) -> None:
    there.serve(NAME, weights)
    place = hub.download("test_resnet")  # timm's default tag
    assert place.read_bytes() == weights
    assert hub.cached(NAME) == place and hub.installed() == [NAME]
    there.files.clear()
    assert hub.download(NAME) == place, "nobody is asked again"
    for typed in (NAME, f"timm/{NAME}", "test_resnet"):
        source = find_source(typed, tmp_path / "cache")
        assert source.name == NAME and source.sha256 == hashlib.sha256(weights).hexdigest()
        assert source.shape.side == 160 and source.shape.classes == 1000


def test_other_tensors_than_the_architecture_has_are_refused_after_a_download(there: FakeHub, tmp_path: Path) -> None:
    there.serve(NAME, save(timm.create_model("test_vit", pretrained=False).state_dict()))
    hub.download(NAME)
    with pytest.raises(UsageError, match="does not fit test_resnet"):
        find_source(NAME, tmp_path / "cache")


def test_what_is_not_what_the_hub_names_is_removed(there: FakeHub, weights: bytes) -> None:
    there.serve(NAME, weights)
    (path,) = there.files
    there.etags[path] = "0" * 64
    with pytest.raises(MachineError, match="not what the hub has"):
        hub.download(NAME)
    assert hub.cached(NAME) is None
    there.etags.clear()
    assert hub.download(NAME).read_bytes() == weights, "the next attempt starts afresh"


def test_a_hub_without_the_file_is_one_line(there: FakeHub) -> None:
    with pytest.raises(MachineError) as error:
        hub.download(NAME)
    assert "404" in one_line(error) and "--backbone test_resnet@FILE" in one_line(error)


def test_no_connection_is_one_line(there: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_hub() as gone:
        pass
    ask(gone.url, monkeypatch)
    with pytest.raises(MachineError) as error:
        hub.download(NAME)
    assert "refused" in one_line(error).lower() and hub.cached(NAME) is None


def test_offline_is_respected(there: FakeHub, weights: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    there.serve(NAME, weights)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(MachineError, match="HF_HUB_OFFLINE is set") as error:
        hub.download(NAME)
    assert "unset it" in one_line(error) and there.asked == []


def test_what_is_here_needs_no_network_even_offline(
    there: FakeHub, weights: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.serve(NAME, weights)
    place = hub.download(NAME)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub.download(NAME) == place


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet18.no_such_tag", "a1_in1k"),
        ("resnet_18", "did you mean"),
        ("gcvit_tiny.in1k", "fetch them by hand"),
        ("davit_base_fl.msft_florence2", "microsoft/Florence-2-base"),
    ],
)
def test_names_that_the_hub_cannot_serve_are_refused_before_asking(there: FakeHub, name: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        hub.download(name)
    assert said in one_line(error) and there.asked == []


def serve_ssdlite(there: FakeHub, content: bytes, digits: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`content` at the address of SSDlite's weights, whose name says that its sha256 begins with `digits`."""
    file = f"ssdlite-{digits}.pth"
    there.files[f"/{file}"] = content
    entry = ARCHITECTURES["ssdlite320_mobilenet_v3_large"]
    monkeypatch.setitem(ARCHITECTURES, "ssdlite320_mobilenet_v3_large", dataclasses.replace(entry, file=file))
    monkeypatch.setattr("headstart.backbone.torchvision_entries._ADDRESS", f"{there.url}/")
    return torchvision_files.folder() / file


def test_torchvision_files_are_fetched_and_checked(there: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"weights" * 1000
    place = serve_ssdlite(there, content, hashlib.sha256(content).hexdigest()[:8], monkeypatch)
    assert torchvision_files.download(SSDLITE) == place and place.read_bytes() == content
    asked = list(there.asked)
    assert torchvision_files.download(SSDLITE.removesuffix(".coco")) == place
    assert there.asked == asked, "it is here: nobody is asked"


def test_torchvision_files_with_other_digits_are_refused_and_removed(
    there: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = serve_ssdlite(there, b"other weights", "00000000", monkeypatch)
    with pytest.raises(MachineError, match="invalid hash") as error:
        torchvision_files.download(SSDLITE)
    assert there.url in one_line(error) and str(place.parent) in one_line(error)
    assert list(place.parent.iterdir()) == []
    place.write_bytes(b"put there by hand")
    with pytest.raises(MachineError, match="not the published ones"):
        torchvision_files.download(SSDLITE)
    assert place.read_bytes() == b"put there by hand", "not ours to remove"


def test_torchvision_without_connection_or_file_is_one_line(there: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    serve_ssdlite(there, b"", "00000000", monkeypatch)
    there.files.clear()
    with pytest.raises(MachineError, match="404") as error:
        torchvision_files.download(SSDLITE)
    assert "put it into" in one_line(error)
    with pytest.raises(UsageError) as unasked:
        find_source(SSDLITE)
    assert f"--download {SSDLITE}" in one_line(unasked) and "usable now: efficientnet_lite0" in one_line(unasked)

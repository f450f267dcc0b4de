"""One virtual environment per rival, from its pinned requirements; torch is shared, not installed once more.

`peers/requirements-NAME.txt` names every package the rival needs with its version, except torch, torchvision and what
they need themselves: those are links to the environment that runs the benchmark. So pip has nothing to resolve
(`--no-deps`), and a rival sees no other package of that environment.
"""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import child
import record

PEERS = record.HERE / "peers"
SHARED = ("torch", "torchvision")
OWN = {"numpy", "pillow"}  # torchvision needs them, but which version is the rival's choice
NETWORK = "tf_efficientnet_lite0.in1k"


class NotHereError(Exception):
    """Why an environment cannot be had here, in a sentence."""


def python_of(name, work):
    """The interpreter of the environment of `requirements-NAME.txt`; built on first use, and when the file changed."""
    folder = work / "environments" / name
    python, stamp = folder / "bin" / "python", folder / "built.txt"
    wanted = _recipe(name)
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    print(f"building the environment of {name}", flush=True)
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    (site,) = (folder / "lib").glob("python*/site-packages")
    (site / "shared-torch.pth").write_text(f"{shared_torch(work)}\n")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--quiet"]
    asked = [*pip, "--disable-pip-version-check", "-r", requirements(name)]
    done = subprocess.run([str(part) for part in asked], capture_output=True, text=True)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise NotHereError(
            f"its packages cannot be installed here: {lines[-1] if lines else done.stderr[-200:].strip()}"
        )
    stamp.write_text(wanted)
    return python


def requirements(name):
    return PEERS / f"requirements-{name}.txt"


def main_packages(name):
    """{package: version} of the lines that the file marks as what the rival is (before the first empty line)."""
    head = requirements(name).read_text("utf-8").split("\n\n")[0].splitlines()
    return dict(line.split("==") for line in head if line and not line.startswith("#"))


def shared_torch(work):
    """A folder of links to torch, torchvision and what they need, as they are installed beside headstart."""
    folder = work / "environments" / f"shared-torch-{metadata.version('torch')}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(_closure(SHARED)):
        found = metadata.distribution(name)
        for top in {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}:
            link, source = folder / top, Path(found.locate_file(top))
            if not link.is_symlink() and source.exists():
                os.symlink(source.resolve(), link)
    return folder


def same_weights(name, work):
    """Digest of the tensors that timm loads in this environment, from the local hub cache: everyone's must be equal."""
    env = child.environment(work / "home", HF_HUB_CACHE=hub(work), HF_HUB_OFFLINE=1)
    done = child.run([python_of(name, work), PEERS / "weights.py", "--digest"], env)
    return json.loads(done.stdout)["digest"]


def hub(work):
    """The hub cache with the embedded network's tensors; written once."""
    folder = work / "hub"
    if not folder.exists():
        child.run([child.PYTHON, PEERS / "weights.py", folder.with_name("hub-filling")])
        folder.with_name("hub-filling").rename(folder)
    return folder


def _recipe(name):
    """Everything the environment is made from; another one is built when it differs."""
    versions = [f"{package} {metadata.version(package)}" for package in SHARED]
    text = requirements(name).read_text("utf-8")
    return hashlib.sha256("\n".join([platform.python_version(), sys.prefix, *versions, text]).encode()).hexdigest()


def _closure(names):
    """`names` and what they need here, at any depth, without OWN and what is not installed."""
    from packaging.requirements import Requirement

    found, seen, waiting = set(), set(), [(name, "") for name in names]
    while waiting:
        name, extra = waiting.pop()
        name = name.lower().replace("_", "-")
        if (name, extra) in seen or name in OWN:
            continue
        seen.add((name, extra))
        try:
            lines = metadata.requires(name) or ()
        except metadata.PackageNotFoundError:
            continue
        found.add(name)
        for need in map(Requirement, lines):
            if need.marker is None or need.marker.evaluate({"extra": extra}):
                waiting += [(need.name, wanted) for wanted in ("", *need.extras)]
    return found

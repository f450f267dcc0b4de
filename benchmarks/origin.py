"""Where a measurement comes from: the machine, the versions, the commit."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGES = ("headstart", "numpy", "pillow", "openvino", "onnx", "torch", "timm", "scikit-learn")


def machine():
    """CPU model, cores this process may use, memory, operating system."""
    info, memory = Path("/proc/cpuinfo"), None
    models = [line.split(":")[1].strip() for line in _lines(info) if line.startswith("model name")]
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemTotal"):
            memory = round(int(line.split()[1]) / 2**20, 1)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": cores,
        "memory_gib": memory,
        "system": platform.system(),
    }


def versions():
    """Python and the packages that decide the speed; None for what is not installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def commit():
    """The commit of the working tree, and whether files beside the records differ from it."""

    def git(*command):
        done = subprocess.run(["git", *command], cwd=HERE, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else None

    changed = git("status", "--porcelain", "--", ":/", ":(exclude,top)benchmarks/records")
    return {"commit": git("rev-parse", "HEAD"), "changed": None if changed is None else bool(changed)}


def _lines(path):
    return path.read_text("utf-8", "replace").splitlines() if path.is_file() else []

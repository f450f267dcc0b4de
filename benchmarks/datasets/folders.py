"""The command line of every make_NAME.py, and the class folders it writes."""

import argparse
import collections
import io
import sys
import tempfile
from pathlib import Path

from PIL import Image


def arguments(doc):
    """OUT, --cache (a temporary folder when not given) and --flatten; refuses an OUT that is not empty."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write, new or empty")
    parser.add_argument("--cache", type=Path, help="keep downloads here (default: a temporary folder)")
    parser.add_argument("--flatten", action="store_true", help="write RGB PNGs with transparency put on white")
    a = parser.parse_args()
    if a.out.exists() and any(a.out.iterdir()):
        sys.exit(f"{a.out} is not empty")
    if a.cache is None:
        a.temporary = tempfile.TemporaryDirectory()
        a.cache = Path(a.temporary.name)
    a.cache.mkdir(parents=True, exist_ok=True)
    a.cache = a.cache.resolve()
    return a


def write(out, parts, flatten=False):
    """`parts`: {"train": items, "test": items} -> OUT/train/CLASS/NAME; SOURCES.tsv says where each came from."""
    rows = []
    for part, items in parts.items():
        for item in items:
            folder = out / part / item.cls
            folder.mkdir(parents=True, exist_ok=True)
            file, k = folder / item.name, 1
            while file.exists():
                k += 1
                file = folder / f"{Path(item.name).stem}-{k}{Path(item.name).suffix}"
            if flatten:
                file = file.with_suffix(".png")
                _on_white(item.data).save(file)
            else:
                file.write_bytes(item.data)
            rows.append(f"{part}/{item.cls}/{file.name}\t{item.source}\n")
    (out / "SOURCES.tsv").write_text("file\tsource\n" + "".join(rows), "utf-8")
    count = collections.Counter((item.cls, part) for part, items in parts.items() for item in items)
    classes = sorted({cls for cls, _ in count})
    for cls in classes:
        print(f"  {cls}: " + ", ".join(f"{count[cls, part]} {part}" for part in parts))
    print("total:", {part: len(items) for part, items in parts.items()}, "classes:", len(classes))


def _on_white(data):
    image = Image.open(io.BytesIO(data)).convert("RGBA")
    base = Image.new("RGBA", image.size, "white")
    base.alpha_composite(image)
    return base.convert("RGB")

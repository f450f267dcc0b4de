"""What every script here leaves behind: the class it names for each test picture."""

import json
from pathlib import Path


def write(out, test, named, **more):
    """Write `named` (pairs of a picture's path below `test` and a class) and plain facts as JSON."""
    classes = {Path(path).relative_to(test).as_posix(): str(name) for path, name in named}
    Path(out).write_text(json.dumps({"predictions": classes, **more}), "utf-8")

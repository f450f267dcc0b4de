"""Run one headstart command in this process and write down which modules it had loaded at the end.

python benchmarks/inside.py MODULES.json fit DATA --out RUN        (everything after the first argument is headstart's)
"""

import atexit
import json
import sys
from pathlib import Path


def _write_modules(path):
    path.write_text(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))


if __name__ == "__main__":
    atexit.register(_write_modules, Path(sys.argv[1]))
    from headstart.cli.main import main

    main(sys.argv[2:])

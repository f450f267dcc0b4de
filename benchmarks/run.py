"""One command for the measurements beside which claims are made.

    python benchmarks/run.py --suite peers --sets SETS        against the tools people would otherwise use
    python benchmarks/run.py --suite decision --sets SETS     is what `fit` chooses worth it?
    python benchmarks/run.py --suite engine                   which share of the machine's peak the engine reaches
    python benchmarks/run.py --suite growth                   time and memory with more pictures and more classes

Everything after the suite is the suite's own: `--suite NAME --help` says what. SETS: datasets/README.md. Each goes on
where it was stopped when it is called again.
"""

import argparse
import importlib
import sys
from pathlib import Path

SUITES = {"peers": "peers_run", "decision": "deciding", "engine": "engine_peak", "growth": "growth"}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, add_help=False, allow_abbrev=False
    )
    parser.add_argument("--suite", choices=SUITES)
    asked, rest = parser.parse_known_args()
    if asked.suite is None:
        parser.print_help()
        raise SystemExit(0 if {"-h", "--help"} & set(rest) else 2)
    name = Path(sys.argv[0]).name
    sys.argv = [f"{name} --suite {asked.suite}", *rest]  # how the suite's help and its record call the command
    importlib.import_module(SUITES[asked.suite]).main()


if __name__ == "__main__":
    main()

"""Kill the driver of an embedding run at random moments, twenty times: nothing is lost, nothing is done twice.

Every trial begins a folder of small pictures, SIGKILLs the driver at a seeded moment (while it lists, starts its
workers, embeds, or checks), runs the same command again to its end, and compares the folder with an undisturbed one,
byte for byte. What the second run computed is counted picture by picture by the workers themselves.
"""

import os
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent / "tests"
sys.path[:0] = [str(HERE), str(TESTS)]

from record import Record, arguments, spread

DRIVER = """
import os, sys
from pathlib import Path
from headstart.scaling.embed import finish_folder
if sys.argv[2] == "local":
    from headstart.scaling.local import LocalBackend as Backend
else:
    from headstart.scaling.ray_backend import RayBackend
    given = {name: value for name, value in os.environ.items() if name.startswith("FAKE_") or name == "PYTHONPATH"}
    Backend = lambda *chosen: RayBackend("ray", *chosen, given)
finish_folder(Path(sys.argv[1]), Backend(2, "fake_embedders:hashing"))
"""


def start(on, folder, count, sleep):
    """A driver as a process of its own; its workers write the names of what they embed to `count`."""
    pids = count.with_name("pids")
    pids.mkdir(exist_ok=True)
    environment = os.environ | {"FAKE_COUNT": str(count), "FAKE_SLEEP": str(sleep), "PYTHONPATH": str(TESTS)}
    environment["PYTHONPATH"] += os.pathsep + str(HERE.parent / "src")
    environment["FAKE_PIDS"] = str(pids)
    return subprocess.Popen([sys.executable, "-c", DRIVER, str(folder), on], env=environment)


@contextmanager
def ray_of_this_script(on):
    """A Ray that lives as long as the script, as a cluster does; RAY_ADDRESS names it to the drivers."""
    if on == "local":
        yield
        return
    os.environ["PYTHONPATH"] = os.pathsep.join((str(TESTS), str(HERE.parent / "src")))  # for the workers of the cluster
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    from ray.cluster_utils import Cluster

    place = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # of its own: nobody else finds it
    node = {"num_cpus": 2, "temp_dir": place, "object_store_memory": 80_000_000, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    os.environ["RAY_ADDRESS"] = cluster.address
    try:
        yield
    finally:
        cluster.shutdown()
        shutil.rmtree(place, ignore_errors=True)


def wait_for_workers(work):
    """Wait until all workers have noticed that their driver is gone."""
    for worker in (work / "pids").iterdir():
        while lives(int(worker.name)):
            time.sleep(0.05)
        worker.unlink()


def lives(pid):
    """Whether there is such a process (a dead one that nobody asked for is none)."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except OSError:
        return True


def everything(folder):
    """Name and content of what a finished folder holds."""
    paths = (p for p in folder.rglob("*") if p.is_file() and p.name != ".lock-guard")
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths}


def whole_parts(folder):
    """How many chunks of the folder have a whole part."""
    from headstart.scaling.ledger import Ledger

    ledger = Ledger(folder)
    return len(ledger.chunks) - len(ledger.pending())


def trial(work, paths, parsed, seconds, moment):
    """Kill after `moment` seconds, finish, compare."""
    from fake_embedders import begin

    folder, counts = work / "emb", [work / "count-killed", work / "count-resumed"]
    shutil.rmtree(folder, ignore_errors=True)
    for count in counts:
        count.unlink(missing_ok=True)
    begin(folder, paths, parsed.rows)
    driver = start(parsed.on, folder, counts[0], parsed.sleep)
    time.sleep(moment)
    driver.kill()
    killed = driver.wait() < 0
    time.sleep(0.3)  # the youngest has said its number
    wait_for_workers(work)
    parts = whole_parts(folder)
    again = start(parsed.on, folder, counts[1], 0.0)
    if again.wait() != 0:
        raise SystemExit("the second run failed")
    embedded = Counter(counts[1].read_text().split() if counts[1].exists() else [])
    wanted = len(paths) - parts * parsed.rows
    same = everything(folder) == everything(work / "whole")
    only = sum(embedded.values()) == wanted and set(embedded.values()) <= {1}
    return {
        "moment": round(moment, 3), "share": round(moment / seconds, 3), "killed": killed, "parts_at_kill": parts,
        "pictures_resumed": sum(embedded.values()), "only_missing": only, "same_bytes": same,
    }  # fmt: skip


def main():
    parser = arguments(__doc__, needs_sets=False)
    parser.add_argument("--on", choices=("local", "ray"), default="local")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--rows", type=int, default=8, help="pictures per chunk; divides --pictures [%(default)s]")
    parser.add_argument("--sleep", type=float, default=0.01, help="seconds per picture [%(default)s]")
    parser.add_argument("--seed", type=int, default=0)
    parsed = parser.parse_args()
    with ray_of_this_script(parsed.on):
        measure(parsed)


def measure(parsed):
    """All trials, and the record."""
    from fake_embedders import begin, fake_pictures

    work = parsed.work / f"scale-kills-{parsed.on}"
    shutil.rmtree(work, ignore_errors=True)
    paths = fake_pictures(work / "in", parsed.pictures)
    record = Record(f"scale-kills-{parsed.on}", f"SIGKILL of the driver at random moments, --on {parsed.on}", parsed)
    begin(work / "whole", paths, parsed.rows)
    began = time.perf_counter()
    if start(parsed.on, work / "whole", work / "count", parsed.sleep).wait() != 0:
        raise SystemExit("the undisturbed run failed")
    seconds = time.perf_counter() - began
    rng = random.Random(parsed.seed)
    latest = seconds
    while len(record.runs()) < parsed.trials:
        run = trial(work, paths, parsed, seconds, rng.uniform(0.05, 1.0) * latest)
        if run["killed"]:
            record.add(**run)
        else:  # it was over before: no trial, and later moments would be none either
            latest = min(latest, run["moment"])
    runs = record.runs()
    summary = {"undisturbed_seconds": round(seconds, 2), "parts_at_kill": spread(r["parts_at_kill"] for r in runs)}
    record.note("Two cores and a sleeping embedder: this proves correctness under failure, not throughput.")
    record.target("same bytes as undisturbed, trials", sum(r["same_bytes"] for r in runs), at_least=len(runs))
    record.target("only missing pictures computed, trials", sum(r["only_missing"] for r in runs), at_least=len(runs))
    record.finish({"trials": len(runs), "pictures": parsed.pictures}, summary)
    shutil.rmtree(work)


if __name__ == "__main__":
    main()

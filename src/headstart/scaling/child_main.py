"""What a child process runs: `python -m headstart.scaling.child_main FOLDER [MODULE:FUNCTION]`, driven by child.py."""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from headstart.errors import HeadstartError
from headstart.scaling.answers import Answer, refusal
from headstart.scaling.worker import Worker


def main(folder: Path, embedder: str | None) -> None:
    """Answer questions until standard input ends; then the process ends at once, whatever it is doing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of the terminal; the driver decides
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # whatever a library prints is not an answer
        questions: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=_listen, args=(questions,), daemon=True).start()
        try:
            worker = Worker(folder, embedder)
            worker.prepare()
            _say(out, {"ready": True})
        except HeadstartError as error:
            _say(out, refusal(error))
            return
        while True:
            question = questions.get()
            try:
                _say(out, _answer(worker, question))
            except HeadstartError as error:
                _say(out, refusal(error))


def _answer(worker: Worker, question: dict[str, Any]) -> Answer:
    if "into" not in question:
        return asdict(worker.run(question["chunk"]))
    worker.run_piece(question["chunk"], question["start"], question["stop"], Path(question["into"]))
    return {}


def _say(out: IO[bytes], answer: Answer) -> None:
    out.write(json.dumps(answer).encode() + b"\n")
    out.flush()


def _listen(questions: queue.SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin.buffer:
        questions.put(json.loads(line))
    os._exit(0)  # the driver is gone: nobody wants what we are doing


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
    except BaseException:
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(1)  # not sys.exit: that aborts the process when the listening thread holds standard input

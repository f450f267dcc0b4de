from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.errors import MachineError
from headstart.images.load import LIMITS, BadImageError, load_image
from headstart.images.preprocess import Preprocessing
from headstart.serving import decoders as module
from headstart.serving.decoder import Decode
from headstart.serving.decoders import Decoders
from headstart.serving.frames import DONE, done
from headstart.serving.options import ServingLimits
from served import ROUGH_DECODER, picture

RULES = [Preprocessing(32), Preprocessing(32, "crop"), Preprocessing(48, "pad")]
RULES += [Preprocessing(32, interpolation="bilinear")]


def with_decoders(
    work: Callable[[Decoders], Awaitable[None]], preprocessing: Preprocessing = RULES[0], seconds: float = 5.0
) -> None:
    async def run() -> None:
        decoders = Decoders(preprocessing, ServingLimits(decode_seconds=seconds), tuple(ROUGH_DECODER))
        await decoders.start()
        try:
            await work(decoders)
        finally:
            await decoders.close()

    asyncio.run(run())


@pytest.mark.parametrize("preprocessing", RULES)
def test_the_same_pixels_as_everywhere_else(preprocessing: Preprocessing) -> None:
    for content in (picture(1, 90, "JPEG"), picture(2, 20), picture(3, 64, "BMP")):
        want = load_image(content, preprocessing)
        answer = b"".join(Decode(preprocessing, LIMITS).answer("square", content))
        header = done(answer[: DONE.size], preprocessing.side**2 * 3)
        assert (header.width, header.height) == (want.width, want.height)
        assert answer[DONE.size + header.note :] == want.pixels.tobytes()


def test_through_processes_the_pixels_stay_the_same() -> None:
    async def work(decoders: Decoders) -> None:
        contents = [picture(k, 40 + k) for k in range(12)]
        squares = await asyncio.gather(*(decoders.square(content) for content in contents))
        for content, square in zip(contents, squares, strict=True):
            assert np.array_equal(square.pixels, load_image(content, RULES[0]).pixels)
        small = await decoders.thumbnail(picture(1, 500))
        assert small[:2] == b"\xff\xd8"
        assert max(load_image(small, Preprocessing(8)).width, 1) == 160

    with_decoders(work)


def test_a_cancelled_request_does_not_leave_its_answer_to_the_next() -> None:
    async def work(decoders: Decoders) -> None:
        for _ in range(3):
            slow = [asyncio.ensure_future(decoders.square(picture(1) + b"HANG")) for _ in range(3)]
            await asyncio.sleep(0.05)
            for task in slow:
                task.cancel()
            await asyncio.gather(*slow, return_exceptions=True)
            square = await decoders.square(picture(2))
            assert np.array_equal(square.pixels, load_image(picture(2), RULES[0]).pixels)

    with_decoders(work)


def test_case_100_a_crash_and_a_hang_cost_one_picture() -> None:
    async def work(decoders: Decoders) -> None:
        for mark in (b"KILL", b"ABORT", b"LIE", b"HUGE", b"HANG"):
            with pytest.raises(BadImageError, match=r"crashed|more than"):
                await decoders.square(picture(1) + mark)
            assert (await decoders.square(picture(1))).width == 32

    with_decoders(work, seconds=0.5)


def test_reasons_come_through() -> None:
    async def work(decoders: Decoders) -> None:
        for content, reason in ((b"<svg/>", "SVG"), (b"", "empty"), (picture(1)[:60], "truncated|damaged")):
            with pytest.raises(BadImageError, match=reason):
                await decoders.square(content)

    with_decoders(work)


def test_processes_that_do_not_start_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_FAILED_STARTS", 2)

    async def run() -> None:
        decoders = Decoders(RULES[0], ServingLimits(), (sys.executable, "-c", "print('hello')"))
        try:
            with pytest.raises(MachineError, match="do not start"):
                await decoders.start()
        finally:
            await decoders.close()

    asyncio.run(run())


@pytest.mark.parametrize("first", ["print('hello')", "import time; time.sleep(9)"])
def test_closing_leaves_no_process_whenever_it_comes(monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    begun: list[asyncio.subprocess.Process] = []
    start, wait = asyncio.create_subprocess_exec, asyncio.subprocess.Process.wait

    async def recorded(*command: str, **options: Any) -> asyncio.subprocess.Process:
        begun.append(await start(*command, **options))
        return begun[-1]

    async def slow(process: asyncio.subprocess.Process) -> int:
        await asyncio.sleep(0.05)
        return await wait(process)

    async def run(seconds: float) -> None:
        decoders = Decoders(RULES[0], ServingLimits(), (sys.executable, "-S", "-c", first))
        starting = asyncio.ensure_future(decoders.start())
        await asyncio.sleep(seconds)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await decoders.close()
        assert all(process.returncode is not None for process in begun)
        assert asyncio.all_tasks() == {asyncio.current_task()}, "something is still ending a process"

    monkeypatch.setattr(asyncio, "create_subprocess_exec", recorded)
    monkeypatch.setattr(asyncio.subprocess.Process, "wait", slow)
    for k in range(12):
        asyncio.run(run(0.005 * k))
    for pause in (0.2, 0.8, 3.2):  # on a busy machine no process may have begun by then
        if not begun:
            asyncio.run(run(pause))
    assert begun


def test_a_header_that_promises_too_much_is_refused() -> None:
    for header in (
        DONE.pack(2, 0, 0, 0, 0),
        DONE.pack(1, 1, 1, 0, 1001),
        DONE.pack(0, 1, 1, 0, 501),
        DONE.pack(1, 1, 1, 501, 5),
    ):
        with pytest.raises(ValueError, match="decoder"):
            done(header, 1000)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")
def test_a_decode_process_cannot_write_files_nor_take_all_memory(tmp_path: Path) -> None:
    code = """
import subprocess
import sys
from headstart.serving.decoder import confine
confine()
for what in (lambda: open(sys.argv[1], "wb", 0).write(b"x"), lambda: bytearray(2**33)):
    try:
        what()
    except (OSError, MemoryError) as error:
        print(type(error).__name__)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "file")], capture_output=True, text=True, timeout=20
    )
    assert done.stdout.split() == ["OSError", "MemoryError"], done.stderr

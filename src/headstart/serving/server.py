"""Start the server, say where it is, end it tidily."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from headstart.errors import HeadstartError, MachineError
from headstart.serving.options import Address, ServeOptions, allowed_hosts, listen

if TYPE_CHECKING:
    import uvicorn

    from headstart.serving.answers import Answers
    from headstart.serving.guard import Application

Started = Callable[[Address], None]


def serve(folder: Path, options: ServeOptions, started: Started) -> None:
    """Answer requests with the classifier of the run in `folder`, until Ctrl-C or SIGTERM.

    `started` is called once pictures are answered. Raises UsageError, MachineError or ClassifierError before that.
    """
    listener, address = listen(options)
    try:
        uvicorn = _web_server()
        answers, app = _application(folder, options, address)
        server = _server(uvicorn, _config(uvicorn, app, options), lambda: started(address))
        with _log_to_stderr():
            asyncio.run(_serve(server, listener, answers))
    finally:
        listener.close()


async def _serve(server: uvicorn.Server, listener: socket.socket, answers: Answers) -> None:
    try:
        await answers.start()
        await server.serve(sockets=[listener])
    finally:
        await answers.close()


def _web_server() -> Any:
    try:
        import fastapi  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise MachineError(f"serving needs the package {error.name}: pip install 'headstart[serve]'") from None
    return uvicorn


def _application(folder: Path, options: ServeOptions, address: Address) -> tuple[Answers, Application]:
    from headstart.serving.answers import Answers
    from headstart.serving.app import application
    from headstart.serving.model import Model

    model = Model.read(folder, options.limits)
    # The network is compiled while the application is put together.
    threading.Thread(target=_compiled, args=(model.classifier,), daemon=True).start()
    answers = Answers(model, options)
    return answers, application(answers, allowed_hosts(options, address), options.token)


def _compiled(classifier: Any) -> None:
    with contextlib.suppress(HeadstartError):  # raised again, where it can be told, when the server starts
        classifier.engine()


def _config(web: Any, app: Application, options: ServeOptions) -> uvicorn.Config:
    from headstart.serving.protocol import MOST_HEADER_BYTES, Connection

    config: uvicorn.Config = web.Config(
        app,
        http=partial(Connection, options.limits),
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=options.limits.keep_alive_seconds,
        timeout_graceful_shutdown=options.limits.drain_seconds,
        h11_max_incomplete_event_size=MOST_HEADER_BYTES,
    )
    return config


def _server(web: Any, config: uvicorn.Config, started: Callable[[], None]) -> uvicorn.Server:
    class Server(web.Server):  # type: ignore[misc]
        """uvicorn's server; a signal ends it, and is not raised once more: the exit code is 0."""

        _asked = False

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            started()

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            if threading.current_thread() is not threading.main_thread():
                yield
                return
            before = {sign: signal.signal(sign, self._end) for sign in _SIGNALS}
            try:
                yield
            finally:
                for sign, handler in before.items():
                    signal.signal(sign, handler)

        def _end(self, _sign: int, _frame: FrameType | None) -> None:
            self.force_exit, self.should_exit = self._asked, True  # the second time: without waiting for answers
            self._asked = True

    return Server(config)


# The last one is Windows' Ctrl-Break.
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)]


@contextlib.contextmanager
def _log_to_stderr() -> Iterator[None]:
    """One line per request: method, path, status, time. No names, no queries, no addresses."""
    log, web = logging.getLogger("headstart.serving"), logging.getLogger("uvicorn")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    log.addHandler(handler)
    web.addHandler(handler)
    log.setLevel(logging.DEBUG if os.environ.get("HEADSTART_DEBUG") else logging.INFO)
    web.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.removeHandler(handler)
        web.removeHandler(handler)

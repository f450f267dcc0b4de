"""The command `headstart`: one function per command lives in a file of its own; here they are joined and errors end."""

from __future__ import annotations

import errno
import json
import os
import sys
import traceback
from typing import Any

import typer

from headstart import interrupts
from headstart.cli import audit, backbones, cache, demo, embed, evaluate, export, fit, plan, predict, report, serve
from headstart.clock import process_start
from headstart.errors import HeadstartError, MachineError
from headstart.profile import Seconds

INTERRUPTED = 130

app = typer.Typer(
    help="Transfer learning on your own pictures: a frozen pretrained network, a new head, honest accuracy.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        from headstart import __version__

        typer.echo(f"headstart {__version__}")
        raise typer.Exit()


@app.callback()
def _root(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show it.")) -> None:
    """Transfer learning on your own pictures: a frozen pretrained network, a new head, honest accuracy."""


for _module in (fit, plan, predict, evaluate, report, export, serve, audit, embed, demo, backbones, cache):
    app.command(_module.NAME)(_module.command)


def main(arguments: list[str] | None = None) -> None:
    """Run one command and leave with its exit code (design section 4).

    Without `arguments` the process is the command: a budget counts from its start.
    """
    if arguments is None:
        sys.exit(_run(sys.argv[1:], process_start()))
    sys.exit(_run(arguments))


def _run(arguments: list[str], began: Seconds | None = None) -> int:
    interrupts.count_interrupts()
    try:
        code: Any = app(args=arguments, standalone_mode=False, obj=began or Seconds.now())
    except HeadstartError as e:
        return _fail(str(e), e.exit_code, arguments)
    except BrokenPipeError:  # the reader of our output went away
        return INTERRUPTED
    except typer.TyperException as e:
        said = e.format_message() if hasattr(e, "format_message") else str(e)
        return _fail(f"{said} (--help shows the way)", 2, arguments)
    except OSError as e:
        return _fail(str(_machine_error(e)), MachineError.exit_code, arguments)
    except MemoryError:
        return _fail("out of memory: close other programs, or use fewer pictures", MachineError.exit_code, arguments)
    except Exception as e:
        return _unexpected(e, arguments)
    if code == INTERRUPTED:  # typer turns KeyboardInterrupt into this code, without a word
        return _fail("interrupted before there was an answer; what was embedded is kept in the cache", code, arguments)
    return code if isinstance(code, int) else 0


def _machine_error(e: OSError) -> MachineError:
    where = f" ({e.filename})" if e.filename else ""
    if e.errno == errno.ENOSPC:
        return MachineError(f"the disk is full{where}: free some space and run again")
    return MachineError(f"{e.strerror or e}{where}")


def _fail(message: str, code: int, arguments: list[str]) -> int:
    line = " ".join(message.split())
    typer.echo(f"headstart: {line}", err=True)
    if "--json" in arguments:
        typer.echo(json.dumps({"error": {"code": code, "message": line}}))
    return code


def _unexpected(e: Exception, arguments: list[str]) -> int:
    if os.environ.get("HEADSTART_DEBUG"):
        traceback.print_exc()
    message = f"{type(e).__name__}: {e} (this is a fault of headstart; HEADSTART_DEBUG=1 shows where)"
    return _fail(message, 1, arguments)


if __name__ == "__main__":
    main()

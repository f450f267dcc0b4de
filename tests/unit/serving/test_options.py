from __future__ import annotations

import socket

import pytest

from headstart.errors import MachineError, UsageError
from headstart.serving.options import Address, ServeOptions, allowed_hosts, listen

TOKEN = "sixteen-or-more-characters"


def hosts(host: str, port: int = 8000, **options: object) -> frozenset[str]:
    loopback = host.startswith("127.") or host == "::1"
    return allowed_hosts(ServeOptions(host, port, **options), Address(host, port, loopback))  # type: ignore[arg-type]


def test_a_free_port_on_loopback_by_default() -> None:
    listener, address = listen(ServeOptions(port=0))
    with listener:
        assert listener.getsockname() == ("127.0.0.1", address.port)
        assert address.url == f"http://127.0.0.1:{address.port}/"
        assert address.loopback
        socket.create_connection(("127.0.0.1", address.port), 2).close()


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.2"])
def test_names_of_this_computer_need_no_token(host: str) -> None:
    listener, address = listen(ServeOptions(host, 0))
    listener.close()
    assert address.loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])
def test_case_88_any_other_needs_one(host: str) -> None:
    with pytest.raises(UsageError, match="--token"):
        listen(ServeOptions(host, 0))
    with pytest.raises(UsageError, match="16"):
        listen(ServeOptions(host, 0, token="short"))


def test_case_87_a_taken_port_and_a_foreign_address() -> None:
    listener, address = listen(ServeOptions(port=0))
    with listener, pytest.raises(MachineError, match=f"port {address.port}"):
        listen(ServeOptions(port=address.port))
    with pytest.raises(MachineError, match="192"):
        listen(ServeOptions("192.0.2.7", 0, token=TOKEN))


def test_options_are_checked() -> None:
    for wrong in ({"port": -1}, {"port": 65536}, {"token": ""}, {"token": "ü"}, {"token": "a\nb"}):
        with pytest.raises(UsageError):
            ServeOptions(**wrong)  # type: ignore[arg-type]


def test_case_89_names_that_are_answered() -> None:
    assert hosts("127.0.0.1") == {"127.0.0.1:8000", "localhost:8000", "[::1]:8000"}
    assert "localhost" in hosts("127.0.0.1", 80)
    assert "192.168.1.5:8000" in hosts("192.168.1.5")
    assert "*.ip" in hosts("0.0.0.0")
    assert "*.ip" not in hosts("192.168.1.5")
    assert {"box.local", "box.local:8000"} <= hosts("127.0.0.1", allow_hosts=("Box.local",))
    assert "box.local" not in hosts("127.0.0.1", allow_hosts=("box.local:9",))
    assert {"[fe80::1]", "[fe80::1]:8000"} <= hosts("127.0.0.1", allow_hosts=("[fe80::1]",))

"""How many actors are asked for and what becomes of those that die, with a Ray that is played. Real: flows/."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from fake_embedders import begin, fake_pictures
from headstart.errors import MachineError
from headstart.scaling import ray_backend
from headstart.scaling.ledger import Ledger
from headstart.scaling.ray_backend import RayBackend


class RayError(Exception):
    pass


class ActorUnavailableError(RayError):
    pass


class ActorDiedError(RayError):
    preempted = False


class RayTaskError(RayError):
    cause = ValueError("no engine")


class PlayedRay:
    """A cluster of `room` processors; `play(chunk)` is the answer to a question (None: to `prepare`), or is raised."""

    exceptions = SimpleNamespace(
        RayError=RayError, ActorUnavailableError=ActorUnavailableError, RayTaskError=RayTaskError
    )

    def __init__(self, room, play):
        self.room, self.play = room, play
        self.made = self.most_alive = 0
        self.alive, self.asked = set(), []

    def remote(self, **options):
        self.options = options
        return lambda _: SimpleNamespace(remote=self._actor)

    def _actor(self, *given):
        self.made += 1
        self.alive.add(name := self.made)
        self.most_alive = max(self.most_alive, len(self.alive))
        prepare = SimpleNamespace(remote=lambda: (name, None, object()))
        return SimpleNamespace(name=name, prepare=prepare, run=SimpleNamespace(remote=lambda c: (name, c, object())))

    def cluster_resources(self):
        return {"CPU": float(self.room)}

    def wait(self, answers, num_returns, timeout):
        placed = [answer for answer in answers if answer[0] in sorted(self.alive)[: self.room]]
        return placed[:1], []

    def get(self, answer):
        self.asked.append(answer[1])
        said = self.play(answer[1])
        if isinstance(said, Exception):
            raise said
        return said

    def kill(self, actor, no_restart):
        self.alive.discard(actor.name)


def done(chunk_id):
    return {"chunk_id": chunk_id, "ok": 2, "bad": 0, "sha256": "", "seconds": 0.1} if chunk_id else {"host": "h"}


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Runs eight chunks on a played Ray; the chunks that were told."""
    begin(tmp_path / "emb", fake_pictures(tmp_path / "in", 16), 2)

    def run(ray, workers=None):
        @contextmanager
        def connected(on):
            yield ray

        monkeypatch.setattr(ray_backend, "connected", connected)
        told, ledger = [], Ledger(tmp_path / "emb")
        try:
            RayBackend("ray", workers).work(ledger.folder, ledger.chunks, told.append)
        finally:
            assert not ray.alive
        assert sorted(one.chunk_id for one in told) == [chunk.id for chunk in ledger.chunks]
        return ledger

    return run


def test_one_more_than_there_is_room_for(work):
    """The one that waits makes an autoscaler add machines; Ray itself restarts and repeats nothing."""
    ray = PlayedRay(3, done)
    work(ray)
    assert ray.most_alive == 4
    assert ray.options == {"num_cpus": 1, "num_gpus": 0, "max_restarts": 0, "max_task_retries": 0}


def test_never_more_than_chunks_or_than_was_said(work):
    ray = PlayedRay(100, done)
    work(ray)
    assert ray.most_alive <= 8
    ray = PlayedRay(100, done)
    work(ray, workers=2)
    assert ray.most_alive == 2


def once(error, chunk=1):
    """The first question about some chunk (or the first `prepare`) ends in `error`."""
    left = [error]

    def play(chunk_id):
        wanted = chunk_id is None if chunk is None else bool(chunk_id and chunk_id.startswith(f"{chunk:06d}"))
        return left.pop() if wanted and left else done(chunk_id)

    return play


@pytest.mark.parametrize(
    ("error", "noted"),
    [
        (ActorDiedError("The actor is dead because its worker process has died."), 1),
        (ActorDiedError("The actor died because its node has died."), 0),
        (ActorUnavailableError("Socket closed"), 0),
    ],
)
def test_whose_fault_it_was(work, monkeypatch, error, noted):
    """A process that died is noted, a machine that left is not; who cannot be reached is asked once more."""
    crashes = []
    monkeypatch.setattr(Ledger, "crashed", lambda _, chunk_id, why: crashes.append(why))
    ray = PlayedRay(2, once(error))
    ledger = work(ray)
    assert len(crashes) == noted
    assert ray.asked.count(ledger.chunks[1].id) == 2


def test_two_silences_are_a_lost_machine(work, monkeypatch):
    monkeypatch.setattr(Ledger, "crashed", lambda *_: pytest.fail("not the chunk's fault"))
    left = [ActorUnavailableError("a"), ActorUnavailableError("b")]
    ray = PlayedRay(2, lambda chunk_id: left.pop() if chunk_id and left else done(chunk_id))
    ledger = work(ray)
    assert len([asked for asked in ray.asked if asked]) == len(ledger.chunks) + 2


def test_a_refusal_is_raised_as_it_is(work):
    ray = PlayedRay(2, lambda chunk_id: {"error": "MachineError", "message": "disk full"} if chunk_id else done(None))
    with pytest.raises(MachineError, match="disk full"):
        work(ray)


def test_workers_that_do_not_start(work):
    """One that is killed while it starts is replaced; three in a row, or one that raises, is the machine."""
    work(PlayedRay(2, once(ActorDiedError("is dead because"), chunk=None)))
    ray = PlayedRay(2, lambda _: ActorDiedError("is dead because its worker process has died"))
    with pytest.raises(MachineError, match="cannot start"):
        work(ray)
    assert len(ray.asked) == 3
    ray = PlayedRay(2, lambda _: RayTaskError())
    with pytest.raises(MachineError, match=r"cannot start \(ValueError: no engine\)"):
        work(ray)
    assert len(ray.asked) == 1


def test_a_cluster_without_room_is_not_waited_for_without_end(work, monkeypatch):
    monkeypatch.setattr(ray_backend, "_PATIENCE", 0.05)
    with pytest.raises(MachineError, match="each needs 1 CPU"):
        work(PlayedRay(0, done))

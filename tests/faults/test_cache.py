"""The embedding cache under fire: kill -9, bit flips, full disks, two processes, no permission."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from headstart import cache_folder
from headstart.backbone.backbone import Backbone, Depth
from headstart.embedding import cache as caching
from headstart.embedding.cache import EmbeddingCache
from headstart.embedding.columns import KEY, Columns, empty_columns
from headstart.embedding.embed import EmbedOptions, embed
from headstart.embedding.shard import read_shard
from headstart.embedding.upkeep import cache_facts, cache_limit, clear_cache, evict
from headstart.errors import UsageError

DEPTHS = (Depth("block0", 4), Depth("last", 6))


def rows(n: int, start: int = 0) -> Columns:
    """Columns of n made-up pictures whose numbers follow from their key."""
    columns = empty_columns(n, DEPTHS)
    for i in range(n):
        columns[KEY][i] = np.frombuffer(f"{start + i:032}".encode(), np.uint8)
        columns["vector.last"][i] = start + i
    return columns


def keys_of(columns: Columns) -> list[bytes]:
    return [row.tobytes() for row in columns[KEY]]


def store(folder: Path, columns: Columns, space: str = "space") -> EmbeddingCache:
    cache = EmbeddingCache(folder, space, DEPTHS)
    with cache.writer() as writer:
        writer.add(columns)
    return cache


def fetch(folder: Path, columns: Columns, space: str = "space") -> tuple[Columns, list[int], list[str]]:
    """What a fresh cache knows of `columns`: filled rows, lost rows, notes."""
    cache = EmbeddingCache(folder, space, DEPTHS)
    keys = keys_of(columns)
    target = empty_columns(len(keys), DEPTHS)
    known = np.array([i for i, key in enumerate(keys) if key in cache], dtype=np.int64)
    lost = cache.fill(target, keys, known)
    return target, sorted(set(range(len(keys))) - set(known.tolist()) | set(lost.tolist())), cache.notes


def shards(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def test_what_was_written_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching, "ROWS_PER_SHARD", 8)
    cache = EmbeddingCache(tmp_path, "space", DEPTHS)
    with cache.writer() as writer:
        for start in range(0, 20, 4):
            writer.add(rows(4, start))
        assert len(shards(tmp_path)) == 2  # full shards are on disk before the end
    target, lost, notes = fetch(tmp_path, rows(25))
    assert lost == [20, 21, 22, 23, 24] and not notes
    np.testing.assert_array_equal(target["vector.last"][:20, 0], np.arange(20))
    assert fetch(tmp_path, rows(25), "other space")[1] == list(range(25))


@pytest.mark.parametrize("where", ["header length", "header", "keys", "vectors", "cut", "cut short", "empty", "zeros"])
def test_a_damaged_shard_is_noticed_and_set_aside(tmp_path: Path, where: str) -> None:
    store(tmp_path, rows(10))
    store(tmp_path, rows(5, 10))
    path = next(
        p for p in shards(tmp_path) if len(read_shard(p, EmbeddingCache(tmp_path, "space", DEPTHS)._space)[KEY]) == 10
    )
    content = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    flips = {
        "header length": 3,
        "header": start // 2,
        "keys": start + header[KEY]["data_offsets"][0] + 40,
        "vectors": start + header["vector.last"]["data_offsets"][1] - 7,
    }
    if where in flips:
        content[flips[where]] ^= 4
    kept = {"cut": len(content) // 2, "cut short": len(content) - 1, "empty": 0}.get(where, len(content))
    path.write_bytes(bytes(len(content)) if where == "zeros" else content[:kept])

    target, lost, notes = fetch(tmp_path, rows(15))
    assert lost == list(range(10))
    assert len(notes) == 1 and "\n" not in notes[0]
    np.testing.assert_array_equal(target["vector.last"][10:, 0], np.arange(10, 15))
    assert len(list(tmp_path.rglob("*.bad"))) == 1
    store(tmp_path, rows(10))
    assert fetch(tmp_path, rows(15))[1:] == ([], [])


def test_a_shard_of_other_depths_or_another_space_is_not_believed(tmp_path: Path) -> None:
    cache = store(tmp_path, rows(3))
    other = EmbeddingCache(tmp_path, "space", (*DEPTHS, Depth("more", 2)))
    assert other.fill(empty_columns(3, (*DEPTHS, Depth("more", 2))), keys_of(rows(3)), np.arange(3)).tolist() == [
        0,
        1,
        2,
    ]
    store(tmp_path, rows(3))
    elsewhere = EmbeddingCache(tmp_path, "elsewhere", DEPTHS)
    elsewhere.folder.mkdir()
    moved = shards(cache.folder)[0]
    moved.rename(elsewhere.folder / moved.name)
    assert fetch(tmp_path, rows(3), "elsewhere")[1] == [0, 1, 2]


def test_a_shard_that_vanishes_after_opening_is_a_miss(tmp_path: Path) -> None:
    store(tmp_path, rows(4))
    cache = EmbeddingCache(tmp_path, "space", DEPTHS)
    shards(tmp_path)[0].unlink()
    assert cache.fill(empty_columns(4, DEPTHS), keys_of(rows(4)), np.arange(4)).tolist() == [0, 1, 2, 3]


def test_a_full_disk_ends_the_writing_not_the_run(tmp_path: Path) -> None:
    import resource

    cache = EmbeddingCache(tmp_path, "space", DEPTHS)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
        with cache.writer() as writer:
            for start in range(0, 1200, 300):
                writer.add(rows(300, start))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    assert len(cache.notes) == 1 and "going on without it" in cache.notes[0]
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_leftovers_of_the_dead_are_removed_and_those_of_the_living_kept(tmp_path: Path) -> None:
    folder = store(tmp_path, rows(1)).folder
    for name, age in (("dead", 7200), ("alive", 10)):
        path = folder / f"{cache_folder.TEMPORARY}{name}"
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age,) * 2)
    assert fetch(tmp_path, rows(1))[1] == []
    assert [p.name for p in folder.glob(f"{cache_folder.TEMPORARY}*")] == [f"{cache_folder.TEMPORARY}alive"]


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    for i in range(4):
        store(tmp_path, rows(5, 5 * i))
    for path in shards(tmp_path):
        os.utime(path, (1, 1))
    fetch(tmp_path, rows(5, 5))  # used just now
    size = shards(tmp_path)[0].stat().st_size
    assert evict(tmp_path, 10 * size) == 0
    assert evict(tmp_path, int(1.5 * size)) == 3 * size
    assert fetch(tmp_path, rows(20))[1] == [*range(5), *range(10, 20)]


def test_facts_and_clearing_touch_only_what_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(tmp_path, rows(5))
    (tmp_path / "holiday.jpg").write_bytes(b"precious")
    facts = cache_facts(tmp_path)
    assert facts.embeddings == facts.total == shards(tmp_path)[0].stat().st_size and facts.files == 1
    assert clear_cache(tmp_path) == facts.total
    assert [p.name for p in tmp_path.iterdir()] == ["holiday.jpg"]
    assert clear_cache(tmp_path / "nowhere") == 0
    for text, expected in (("500M", 500_000_000), ("1.5 gb", 1_500_000_000), ("12", 12)):
        monkeypatch.setenv("HEADSTART_CACHE_LIMIT", text)
        assert cache_limit() == expected
    monkeypatch.setenv("HEADSTART_CACHE_LIMIT", "plenty")
    with pytest.raises(UsageError, match="plenty"):
        cache_limit()


# --- the whole of embed, on pictures -------------------------------------------------------------------------------

CHILD = """
import sys
from pathlib import Path
from headstart.backbone.backbone import open_backbone
from headstart.embedding import cache as caching, work
from headstart.embedding.embed import EmbedOptions, embed
caching.ROWS_PER_SHARD = work._AT_A_TIME = 4
graph, photos, cache = map(Path, sys.argv[1:4])
files = sorted(p for p in photos.rglob("*") if p.is_file())
embed(files, open_backbone("efficientnet_lite0", graph), EmbedOptions(cache=cache))
"""


def child(lite0: Backbone, photos: Path, cache: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", CHILD, str(lite0.cache), str(photos), str(cache)])


def pictures(photos: Path) -> list[Path]:
    return sorted(p for p in photos.rglob("*") if p.is_file())


def test_kill_9_loses_at_most_the_open_shard(lite0: Backbone, photos: Path, tmp_path: Path) -> None:
    files = pictures(photos)
    process = child(lite0, photos, tmp_path)
    deadline = time.monotonic() + 60
    while len(shards(tmp_path)) < 5 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = {p: p.read_bytes() for p in shards(tmp_path)}
    assert len(finished) >= 5
    again = embed(files, lite0, EmbedOptions(cache=tmp_path))
    assert again.facts.cached >= 4 * len(finished) and again.facts.computed == len(files) - again.facts.cached
    assert all(path.read_bytes() == content for path, content in finished.items())
    unbroken = embed(files, lite0)
    for one, other in zip(again.vectors, unbroken.vectors, strict=True):
        np.testing.assert_array_equal(one, other)


def test_two_processes_share_one_cache(lite0: Backbone, photos: Path, tmp_path: Path) -> None:
    both = [child(lite0, photos, tmp_path) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    files = pictures(photos)
    found = embed(files, lite0, EmbedOptions(cache=tmp_path))
    assert found.facts.computed == 0 and not found.facts.notes
    np.testing.assert_array_equal(found.vectors[7], embed(files, lite0).vectors[7])


def test_a_damaged_shard_is_computed_again(lite0: Backbone, photos: Path, tmp_path: Path) -> None:
    files = pictures(photos)[:12]
    options = EmbedOptions(cache=tmp_path)
    good = embed(files, lite0, options)
    path = shards(tmp_path)[0]
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    found = embed(files, lite0, options)
    assert found.facts.computed == 12 and found.facts.cached == 0 and "damaged" in found.facts.notes[0]
    np.testing.assert_array_equal(found.vectors[7], good.vectors[7])
    assert embed(files, lite0, options).facts.cached == 12


def test_a_cache_without_permission_costs_one_note(lite0: Backbone, photos: Path, tmp_path: Path) -> None:
    files = pictures(photos)[:4]
    (tmp_path / "file").write_text("not a folder")
    found = embed(files, lite0, EmbedOptions(cache=tmp_path / "file"))
    assert found.facts.computed == 4 and len(found.facts.notes) == 1
    assert "going on without it" in found.facts.notes[0]


def test_the_cache_stays_within_its_limit(lite0: Backbone, photos: Path, tmp_path: Path) -> None:
    files = pictures(photos)[:8]
    embed(files[:4], lite0, EmbedOptions(cache=tmp_path))
    size = cache_facts(tmp_path).embeddings
    embed(files[4:], lite0, EmbedOptions(cache=tmp_path, cache_limit=int(1.5 * size)))
    assert cache_facts(tmp_path).embeddings <= 1.5 * size

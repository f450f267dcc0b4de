"""What lies in the embedding cache: shards, the pictures in them, and whether a finished shard ever changes."""

import collections
import hashlib
import json


def _files(cache):
    return sorted((cache / "embeddings").rglob("*.safetensors"))


def _keys(file):
    from safetensors import safe_open

    with safe_open(file, "numpy") as shard:
        return [row.tobytes() for row in shard.get_tensor("key")]


def pictures(cache):
    """Pictures in all shards."""
    return sum(len(_keys(file)) for file in _files(cache))


def forget(work):
    """Begin anew: what is in the cache now is the first that is seen."""
    (work / "shards.json").unlink(missing_ok=True)
    check(work)


def check(work):
    """Shards and pictures now; `repeated`: pictures in more than one shard; `changed`: shards other than last time."""
    seen_file = work / "shards.json"
    seen = json.loads(seen_file.read_text()) if seen_file.exists() else {}
    files = _files(work / "cache")
    now = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    held = collections.Counter(key for file in files for key in _keys(file))
    seen_file.write_text(json.dumps(now))
    return {
        "shards": len(files),
        "pictures": sum(held.values()),
        "repeated": sum(count - 1 for count in held.values()),
        "changed": sum(now.get(name) != digest for name, digest in seen.items()),
    }

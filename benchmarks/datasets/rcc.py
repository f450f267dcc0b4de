"""Minimal reader of Qt .rcc resource bundles (format versions 1-3); zstandard where a bundle needs it."""

import struct
import zlib


def read_rcc(raw):
    """Yield (path, bytes) for every file of the bundle."""
    if raw[:4] != b"qres":
        raise ValueError("not a Qt resource bundle")
    version, tree, data, names = struct.unpack(">IIII", raw[4:20])
    size = 14 if version < 2 else 22

    def node(i):
        at = tree + i * size
        name_at, flags = struct.unpack(">IH", raw[at : at + 6])
        if flags & 2:  # directory
            count, first = struct.unpack(">II", raw[at + 6 : at + 14])
            return name_at, flags, count, first
        _, where = struct.unpack(">II", raw[at + 6 : at + 14])
        return name_at, flags, None, where

    def name(at):
        (n,) = struct.unpack(">H", raw[names + at : names + at + 2])
        return raw[names + at + 6 : names + at + 6 + 2 * n].decode("utf-16-be")

    def walk(i, prefix):
        name_at, flags, count, where = node(i)
        here = prefix if i == 0 else (prefix + "/" + name(name_at)).lstrip("/")
        if flags & 2:
            for k in range(where, where + count):
                yield from walk(k, here)
            return
        (n,) = struct.unpack(">I", raw[data + where : data + where + 4])
        body = raw[data + where + 4 : data + where + 4 + n]
        if flags & 1:
            body = zlib.decompress(body[4:])
        elif flags & 4:
            import zstandard

            body = zstandard.ZstdDecompressor().decompress(body, max_output_size=1 << 28)
        yield here, body

    yield from walk(0, "")

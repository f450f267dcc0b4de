"""Playing cards: the suit (clubs, diamonds, hearts, spades) of ranks never seen in training; four decks.

Debian package openclipart-png (public domain).
"""

import re

import fetch
import folders
from divide import Item

SUITS = {"c": "clubs", "d": "diamonds", "h": "hearts", "s": "spades"}
TEST_RANKS = ("3", "5", "7", "9", "j", "k")

a = folders.arguments(__doc__)
root = fetch.deb("openclipart-png", a.cache) / "usr/share/openclipart/png/recreation/games/cards"
parts = {"train": [], "test": []}
for file in sorted(root.rglob("*.png")):
    match = re.fullmatch(r"(simple|white|bordered|ornamental)_([cdhs])_(\w+)", file.stem)
    if match:
        part = "test" if match[3] in TEST_RANKS else "train"
        source = file.relative_to(root).as_posix()
        parts[part].append(Item(SUITS[match[2]], file.name, file.read_bytes(), file.name, source))
folders.write(a.out, parts, a.flatten)

"""Photographs of things with their backgrounds (webp, <= 1024 px).

Classes: animal, fish, household, monument, solar, tool, windmill. Debian package gcompris-qt-data (per file: public
domain, CC or GPL, see SOURCES.tsv). Needs zstandard.
"""

import re

import fetch
import folders
import rcc
from divide import Item, distinct, divide

BUNDLES = ("categorization", "explore_monuments", "explore_farm_animals", "explore_world_animals", "erase")
RULES = [
    (r"/images/fishes/", "fish"),
    (r"/images/monuments/", "monument"),
    (r"explore_monuments/resource/[a-z]+/", "monument"),
    (r"/images/tools/", "tool"),
    (r"/images/renewable/windmill", "windmill"),
    (r"/images/renewable/solar", "solar"),
    (r"/images/others/(?!igloo|.*ball)", "household"),
    (r"explore_\w+_animals/resource/animals/", "animal"),
    (r"erase/resource/[a-z_]+\.webp", "animal"),
]

a = folders.arguments(__doc__)
package = fetch.deb("gcompris-qt-data", a.cache)
licences = fetch.licences(package / "usr/share/doc/gcompris-qt-data/copyright")
items = []
for bundle in BUNDLES:
    for path, data in rcc.read_rcc((package / f"usr/share/gcompris-qt/rcc/{bundle}.rcc").read_bytes()):
        path = path.removeprefix("gcompris/")
        cls = next((name for rule, name in RULES if path.endswith(".webp") and re.search(rule, path)), None)
        if cls:
            source = f"{path} [{fetch.licence_of(licences, path)}]"
            items.append(Item(cls, path.rsplit("/", 1)[-1], data, path, source))
train, test = divide(distinct(items), test=0.3, min_class=7)
folders.write(a.out, {"train": train, "test": test}, a.flatten)

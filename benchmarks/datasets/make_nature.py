"""Natural photographs: bird, mammal, fish, insect, flower, fruit, vegetable.

Debian packages gcompris-qt-data (photos with background, webp) and tuxpaint-stamps-default (cut-out photos, PNG with
alpha); licences per file (GPL, CC, public domain). Needs zstandard.
"""

import fetch
import folders
import rcc
from divide import Item, distinct, divide, group_key

STAMPS = {
    "animals/birds": "bird",
    "animals/fish": "fish",
    "animals/insects": "insect",
    "animals/mammals": "mammal",
    "animals/marsupials": "mammal",
    "plants/flowers": "flower",
    "food/fruit": "fruit",
    "food/vegetables": "vegetable",
}
OTHER_ANIMALS = {"lobster", "shrimp", "Brown_slug", "Woodlouse"}  # no fish, no insects
NO_PHOTOGRAPH = ("cartoon", "toys", "plastic", "_mirror", "_flip")
BUNDLES = ("erase", "explore_farm_animals", "explore_world_animals", "categorization")
BIRDS = """penguin kingfisher gosling heron northern_harrier swans spoonbills toucan chicken chickens duck owl
scarlet_macaw scarlet_macaws"""
INSECTS = "bee butterfly caterpillar"
MAMMALS = """alpaca calf camels cheetah dolphin flying_fox gibbon giraffe goat gorilla horse kitten long_nosed_monkey
macaque meerkats nubian_ibex pika red_panda rhinoceros squirrel cat cow dog pig sheep bison hedgehog jaguar kangaroo
koala lemur moose narwhal panda polar_bear"""
NAMES = {
    **dict.fromkeys(BIRDS.split(), "bird"),
    **dict.fromkeys(INSECTS.split(), "insect"),
    **dict.fromkeys(MAMMALS.split(), "mammal"),
}

a = folders.arguments(__doc__)
items = []
stamps = fetch.deb("tuxpaint-stamps-default", a.cache) / "usr/share/tuxpaint/stamps"
for file in sorted(stamps.rglob("*.png")):
    path = file.relative_to(stamps).as_posix()
    cls = next((name for folder, name in STAMPS.items() if path.startswith(folder + "/")), None)
    if cls and not any(word in path for word in NO_PHOTOGRAPH) and file.stem not in OTHER_ANIMALS:
        source = "tuxpaint-stamps-default " + path
        items.append(Item(cls, file.name, file.read_bytes(), cls + group_key(file.stem), source))
package = fetch.deb("gcompris-qt-data", a.cache)
licences = fetch.licences(package / "usr/share/doc/gcompris-qt-data/copyright")
for bundle in BUNDLES:
    for path, data in rcc.read_rcc((package / f"usr/share/gcompris-qt/rcc/{bundle}.rcc").read_bytes()):
        path = path.removeprefix("gcompris/")
        name = path.rsplit("/", 1)[-1]
        stem = name.rsplit(".", 1)[0]
        if not path.endswith(".webp"):
            continue
        cls = "fish" if "/images/fishes/" in path else NAMES.get(stem) if bundle != "categorization" else None
        if cls:
            group = path if cls == "fish" else cls + group_key(stem)
            source = f"gcompris-qt-data {path} [{fetch.licence_of(licences, path)}]"
            items.append(Item(cls, name, data, group, source))
train, test = divide(distinct(items), test=0.3, min_class=10)
folders.write(a.out, {"train": train, "test": test}, a.flatten)

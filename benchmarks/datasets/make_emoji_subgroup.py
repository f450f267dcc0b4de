"""Emoji by subcategory (Noto and Twemoji drawings, PNG 64 x 64 with alpha); both drawings of one emoji on one side.

npm packages emoji-datasource-google (images Apache-2.0) and emoji-datasource-twitter (images CC-BY-4.0).
"""

import json

import fetch
import folders
from divide import Item, divide

SKIP = {"skin-tone", "flag", "subdivision-flag", "family"}  # family: many are one and the same drawing

a = folders.arguments(__doc__)
items = []
for vendor in ("google", "twitter"):
    wanted = ("package/emoji.json", f"package/img/{vendor}/64/*")
    root = fetch.npm(f"emoji-datasource-{vendor}@16.0.0", a.cache, *wanted)
    for e in json.loads((root / "emoji.json").read_text("utf-8")):
        file = root / "img" / vendor / "64" / e["image"]
        if e[f"has_img_{vendor}"] and e["subcategory"] not in SKIP and file.exists():
            cls = e["subcategory"].replace(" & ", "_").replace(" ", "_")
            name = f"{e['short_name']}-{vendor}.png"
            items.append(Item(cls, name, file.read_bytes(), e["short_name"], f"{vendor} {e['image']}"))
train, test = divide(items, test=0.3, min_class=12, cap=60)
folders.write(a.out, {"train": train, "test": test}, a.flatten)

"""What every page must keep to, checked on its text: valid HTML, closed, readable with every sense."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from xml.etree.ElementTree import Element

from tinyhtml5.parser import HTMLParser

SVG = "{http://www.w3.org/2000/svg}svg"
HEADINGS = ("h1", "h2", "h3", "h4")
PHRASING_ONLY = {"p", "span", "bdi", "h1", "h2", "h3", "h4", "summary", "a", "strong", "dt", "code", "caption"}
BLOCKS = {"div", "p", "ul", "ol", "table", "section", "figure", "details", "dl", "h1", "h2", "h3", "h4", "article"}


class Page:
    """A parsed page. `errors`: what the parser of the HTML standard complains about."""

    def __init__(self, text: str) -> None:
        parser = HTMLParser(namespace_html_elements=False)
        self.root: Element = parser.parse(text)
        self.errors = [str(error) for error in parser.errors]
        self.nodes = [n for n in self.root.iter() if isinstance(n.tag, str)]

    def all(self, *tags: str) -> list[Element]:
        return [n for n in self.nodes if n.tag in tags]

    @property
    def text(self) -> str:
        """What is read, white space folded; figures keep plain spaces, isolates of direction are dropped."""
        words = "".join(t for n in [self.root.find("body")] for t in n.itertext())  # type: ignore[union-attr]
        return " ".join(words.replace("\u2068", "").replace("\u2069", "").split())


def faults(text: str) -> list[str]:
    """Everything that is wrong with a page."""
    page = Page(text)
    return [*page.errors[:5], *_structure(page), *_closed(page, text), *_for_every_sense(page)]


def _structure(page: Page) -> list[str]:
    ids = Counter(n.get("id") for n in page.nodes if n.get("id"))
    found = [f"id {key} stands {n} times" for key, n in ids.items() if n > 1]
    for n in page.nodes:
        if n.tag in PHRASING_ONLY:
            found += [f"<{child.tag}> in <{n.tag}>" for child in n if child.tag in BLOCKS]
        if n.tag in ("ul", "ol"):
            found += [f"<{child.tag}> in a list" for child in n if child.tag != "li"]
        if n.tag == "details" and (not len(n) or n[0].tag != "summary"):
            found.append("details without a summary")
        for key in ("aria-labelledby", "aria-describedby"):
            found += [f"{key} {key2} leads nowhere" for key2 in (n.get(key) or "").split() if key2 not in ids]
        link = n.get("href") or ""
        if n.tag == "a" and link.startswith("#") and link[1:] not in ids:
            found.append(f"{link} leads nowhere")
    return found


def _closed(page: Page, text: str) -> list[str]:
    """One file, no script, nothing from elsewhere."""
    found = [f"<{n.tag}>" for n in page.all("script", "link", "iframe", "object", "form", "base", "embed")]
    for n in page.nodes:
        found += [f"{key} on <{n.tag}>" for key in n.attrib if str(key).startswith("on")]
        for key in ("src", "href", "srcset"):
            value = n.get(key)
            if value is not None and not value.startswith(("data:image/", "#")):
                found.append(f"{key}={value[:60]}")
    policy = [m.get("content") or "" for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    if len(policy) != 1 or not policy[0].startswith("default-src 'none'"):
        found.append("no content security policy")
    style = "".join(n.text or "" for n in page.all("style"))
    return found + [f"style: {m}" for m in re.findall(r"url\([^)]*\)|@import", style)]


def _for_every_sense(page: Page) -> list[str]:
    found = [f"<img> without alt: {(n.get('src') or '')[:40]}" for n in page.all("img") if n.get("alt") is None]
    for n in page.all(SVG):
        if n.get("role") == "img" and not (len(n) and n[0].tag.endswith("title") and (n[0].text or "").strip()):
            found.append("svg without a title")
    levels = [HEADINGS.index(n.tag) for n in page.all(*HEADINGS)]
    if not levels or levels[0] != 0 or levels.count(0) != 1:
        found.append("not one h1 in front")
    found += [f"heading {HEADINGS[b]} after {HEADINGS[a]}" for a, b in pairwise(levels) if b > a + 1]
    found += ["th without scope" for n in page.all("th") if n.get("scope") not in ("col", "row")]
    found += [f"{n} landmarks <{tag}>" for tag in ("main", "header") if (n := len(page.all(tag))) != 1]
    html = page.all("html")[0]
    if html.get("lang") != "en" or not (page.all("title")[0].text or "").strip():
        found.append("no language or title")
    for n in page.all("div"):
        if n.get("class") == "scroll" and not (n.get("tabindex") == "0" and n.get("aria-label")):
            found.append("a box that scrolls without a name or out of the keyboard's reach")
    return found

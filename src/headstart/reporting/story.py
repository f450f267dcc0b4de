"""What a run has to say, sentence by sentence, in the order of the page. The console prints it; the page draws it.

Every function gives facts: (a word or two, a sentence). Fields that an older result lacks are left out, never guessed.
"""

from __future__ import annotations

from headstart.reporting.words import JSON, duration, interval, percent, trained

Fact = tuple[str, str]
PHASES = (
    "scan", "embed", "probe", "similarity", "finish", "backbones", "plan", "race", "refit", "judge", "inspect",
    "explain", "report",
)  # fmt: skip


def sentence(result: JSON) -> str:
    """What was trained, how good it is, against what."""
    accuracy, what = result["accuracy"], trained(result)
    if accuracy["top1"] is None:
        return f"Trained {what}; too few pictures to say how good."
    return (
        f"Trained {what}: "
        f"{percent(accuracy['top1'])} of new pictures right ({interval(accuracy)}); "
        f"always naming the most frequent class would be {percent(accuracy['baseline'])}."
    )


def decision(result: JSON) -> str:
    """Why that much was trained, as a sentence; a name in front keeps its letters."""
    said = str(result["decision"]["why"])
    said = said[:1].upper() + said[1:] if said.partition(" ")[0].isalpha() else said
    return said if said.endswith(".") else f"{said}."


def measured(result: JSON) -> list[Fact]:
    """How the accuracy was measured, and what else there is to compare it with."""
    accuracy = result["accuracy"]
    if accuracy["top1"] is None:
        return []
    facts = [("measured", accuracy["how"])]
    if accuracy.get("shuffled_top1") is not None:
        facts.append(("careful", f"folds that ignore your groups would claim {percent(accuracy['shuffled_top1'])}"))
    if accuracy.get("series_top1") is not None:
        facts.append(("series", f"{percent(accuracy['series_top1'])} with folds by {accuracy['series_how']}"))
    test = result.get("test")
    if test:
        out = f", {test['left_out']} left out: also in train" if test["left_out"] else ""
        facts.append(("test pictures", f"{percent(test['top1'])} right ({interval(test)}) on {test['n']}{out}"))
        if test["high"] < accuracy["low"]:
            facts.append(
                ("beware", "that is less than was measured, beyond chance: the test part shows something else")
            )
    return facts


def nearness(result: JSON) -> list[Fact]:
    """How near the pictures are to the ones the network was trained on."""
    why = result["similarity"].get("why")
    return [("similarity", why)] if why else []


def how_much(result: JSON) -> list[Fact]:
    """What was decided and what it rests on: the race, the depths, the number of pictures."""
    race = result.get("race") or {}
    facts: list[Fact] = []
    raced = ", ".join(f"{c['train']} {percent(c['top1'])} on {c['n']}" for c in best_of_each(result).values())
    ended = race.get("ended") or ""
    facts.append(("how much", decision(result)))
    if raced:
        facts.append(("raced", f"{raced} ({ended})" if ended else raced))
    elif ended:
        facts.append(("more training", ended))
    by_depth = "  ".join(f"{d['name']} {100 * d['top1']:.0f}" for d in result["depths"] if d["top1"] is not None)
    if by_depth:
        facts.append(("by depth", f"{by_depth}  (% right, one depth alone)"))
    curve = [p for p in result["learning_curve"] if p["top1"] is not None]
    if len(curve) > 1:
        facts.append(("by number", ", ".join(f"{percent(p['top1'])} with {p['n']}" for p in curve)))
    return facts


def best_of_each(result: JSON) -> dict[str, JSON]:
    """The best candidate of every amount beyond the head that was judged: on the most pictures, then by accuracy."""
    best: dict[str, JSON] = {}
    for candidate in result["candidates"]:
        known = best.get(candidate["train"])
        ran = candidate["train"] != "head" and candidate["top1"] is not None
        if ran and (known is None or _judged(candidate) > _judged(known)):
            best[candidate["train"]] = candidate
    return best


def findings(result: JSON) -> list[Fact]:
    """The titles of what was found."""
    return [(f"[{f['severity']}]", f["title"]) for f in by_weight(result)]


def by_weight(result: JSON) -> list[JSON]:
    """What was found, issues before tips."""
    return sorted(result["findings"], key=lambda f: f["severity"] != "issue")


def probabilities(result: JSON) -> list[Fact]:
    """How good the probabilities are."""
    accuracy = result["accuracy"]
    if accuracy["top1"] is None:
        return []
    said = (
        f"{percent(accuracy['balanced'])} balanced over classes, log-loss {accuracy['nll']:.3f}, "
        f"calibration error {accuracy['ece']:.3f}"
    )
    return [("also", said)]


def ending(result: JSON) -> str:
    """How long it took, where the time went, and what ran."""
    seconds = result["seconds"]
    spent = ", ".join(f"{name} {seconds[name]:.1f}" for name in PHASES if seconds.get(name, 0.0) >= 0.05)
    return f"Done in {duration(seconds['total'])} ({spent}); {engine(result)}."


def interruption(result: JSON) -> str:
    """Empty unless the run was interrupted."""
    if not result["interrupted"]:
        return ""
    return "Interrupted: the classifier is complete, some of the evidence is missing."


def engine(result: JSON) -> str:
    """What ran, and how fast."""
    facts = result["engine"]
    rate = facts["images_per_second"]
    speed = f", {rate:.0f} pictures a second" if rate else f", {facts['note']}" if facts.get("note") else ""
    return f"{facts['name']} {facts['precision']} on {facts['device']}{speed}"


def _judged(candidate: JSON) -> tuple[int, float]:
    """What was judged on more pictures says more than what looked better on few."""
    return candidate.get("n", 0), candidate["top1"]

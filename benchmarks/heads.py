"""The head that headstart chooses against the last-layer probe, on the same embeddings and the same test pictures.

    python benchmarks/heads.py --sets SETS

The last-layer probe is what every rival does: a linear head on the final layer, its kind and penalty chosen by the same
cross-validation. `cards` is shown apart: with four nearly equal decks its pictures are no independent draws. About 5
minutes.
"""

import math

import numpy as np
import paired
import record
import rooms

SETS = ("nature", "gcompris", "elpv", "emoji_subgroup", "mnist5k", "digits8")
APART = ("cards",)


def main():
    parser = record.arguments(__doc__)
    parser.add_argument("--only", nargs="*", default=[*SETS, *APART], help="these sets [all]")
    a = parser.parse_args()
    kept = record.Record("heads", "Chosen head against the last-layer probe, paired on the test pictures", a)
    for name in a.only:
        if not kept.runs(set=name):
            kept.add(set=name, **compare(a.sets / name, a.work / "heads" / "cache"))
    summarise(kept)


def compare(data, cache):
    """Both heads on one data set; `right` holds one character per test picture."""
    ready = rooms.prepare(data, cache)
    m = ready.material
    heads, right = {}, {}
    for which, depths in (("chosen", range(len(ready.names))), ("last", (len(ready.names) - 1,))):
        found = ready.probe(depths)
        heads[which] = found.chosen
        used = [depths[d] for d in found.chosen.depths]
        logits = found.head.logits(m.embeddings.matrix(used, rows=m.test))
        right[which] = logits.argmax(axis=1) == m.samples.labels[m.test]
    gain, error = paired.difference(right["chosen"], right["last"])
    facts = {w: {"kind": h.kind, "penalty": h.penalty, "cross_validated": h.top1} for w, h in heads.items()}
    return {
        "n": len(m.test),
        "depths": list(heads["chosen"].names),
        "chosen": float(right["chosen"].mean()),
        "last": float(right["last"].mean()),
        "gain": gain,
        "standard_error": error,
        "heads": facts,
        "right": {w: "".join("01"[int(x)] for x in r) for w, r in right.items()},
    }


def summarise(kept):
    judged = [r for r in kept.runs() if r["set"] in SETS]
    differences = [_array(r["right"]["chosen"]) - _array(r["right"]["last"]) for r in judged]
    pooled = paired.pooled(differences)
    together = np.concatenate(differences)
    error = math.sqrt(sum(len(d) * d.var() for d in differences)) / len(together)
    normal = 0.5 * (1 + math.erf(pooled["pictures"]["gain"] / error / math.sqrt(2))) if error else None
    worst = min(_in_errors(r) for r in judged)
    kept.target(f"pooled gain over {len(judged)} sets, all pictures together", pooled["pictures"]["gain"], above=0.0)
    kept.target("its P(> 0), paired bootstrap", pooled["pictures"]["p"], at_least=0.99)
    kept.target("worst set, gain in paired standard errors", worst, at_least=-2.0)
    for way, what in (("pictures", "all pictures together"), ("sets", "mean over sets")):
        p = pooled[way]
        bounds = f"{100 * p['low']:.2f} to {100 * p['high']:.2f}"
        kept.note(f"gain, {what}: {100 * p['gain']:.2f} points (95 % {bounds}), P(> 0) = {p['p']:.4f}")
    kept.note(f"P(> 0) by the normal approximation: {'-' if normal is None else f'{normal:.4f}'}")
    header = (
        "set",
        "test n",
        "last layer %",
        "chosen %",
        "gain, points",
        "paired SE",
        "depths",
        "kind",
        "penalty",
        "last layer's",
    )
    tables = [("Test accuracy", header, [_row(r) for r in judged])]
    if apart := [_row(r) for r in kept.runs() if r["set"] not in SETS]:
        tables.append(("Shown apart", header, apart))
    kept.finish({r["set"]: r["n"] for r in kept.runs()}, {"pooled": pooled, "normal_p": normal}, tables)


def _row(r):
    own, last = r["heads"]["chosen"], r["heads"]["last"]
    percents = (f"{100 * r[k]:.2f}" for k in ("last", "chosen", "gain", "standard_error"))
    penalties = (own["kind"], f"{own['penalty']:.3g}", f"{last['kind']} {last['penalty']:.3g}")
    return (r["set"], r["n"], *percents, " + ".join(r["depths"]), *penalties)


def _in_errors(r):
    return r["gain"] / r["standard_error"] if r["standard_error"] else 0.0


def _array(bits):
    return np.array([int(b) for b in bits])


if __name__ == "__main__":
    main()

"""In which space are the nearest training pictures of the same class? Behind src/headstart/classifier/nearest.py.

    python benchmarks/nearest.py --sets SETS

The nearest neighbour of every training picture among the pictures of the other four folds; spaces are fitted on those
four folds only. Depths: the last alone, and the last four. The cache is the user's own (HEADSTART_CACHE). A minute.
"""

import numpy as np
import record

SETS = ("nature", "elpv", "emoji_subgroup", "digits8")
DEPTHS = {"last": 1, "last four": 4}
SPACES = ("cosine", "standardised", "64 components", "64 whitened", "64 whitened within classes")
FOLDS = 5


def main():
    parser = record.arguments(__doc__)
    parser.add_argument("--only", nargs="+", default=list(SETS))
    a = parser.parse_args()
    kept = record.Record("nearest", "Share of pictures whose nearest neighbour is of the same class, by space", a)
    for name in a.only:
        for depths in DEPTHS:
            if not kept.runs(set=name, depths=depths):
                kept.add(set=name, depths=depths, **measured(a.sets / name, DEPTHS[depths]))
    header = ("set", "depths", "n", *SPACES)
    rows = [(r["set"], r["depths"], r["n"], *(r[space] for space in SPACES)) for r in kept.runs()]
    kept.finish({r["set"]: r["n"] for r in kept.runs()}, {}, [("Same class", header, rows)])


def measured(folder, count):
    from headstart.backbone.backbone import open_backbone
    from headstart.cache_folder import cache_folder
    from headstart.data.scan import scan
    from headstart.embedding.embed import EmbedOptions, embed

    samples, backbone = scan(folder), open_backbone("efficientnet_lite0")
    samples = samples.take(samples.parts != "test")
    seen = embed(samples.sources, backbone, EmbedOptions(cache=cache_folder()))
    last = len(backbone.depths)
    X = seen.matrix(range(last - count, last)).astype(np.float32)
    fold = np.random.default_rng(0).permutation(len(X)) % FOLDS
    same = {space: np.zeros(len(X), bool) for space in SPACES}
    for k in range(FOLDS):
        learn, held = fold != k, fold == k
        for space, (a, b) in spaces(X[learn], samples.labels[learn], X[held]).items():
            nearest = (unit(b) @ unit(a).T).argmax(axis=1)
            same[space][held] = samples.labels[learn][nearest] == samples.labels[held]
    return {"n": len(X), **{space: float(hits.mean()) for space, hits in same.items()}}


def spaces(A, labels, B):
    """Both sides in every space, fitted on A."""
    from headstart.classifier.nearest import build_index, principal

    mean, scale = A.mean(axis=0), A.std(axis=0) + 1e-6
    a, b = (A - mean) / scale, (B - mean) / scale
    wide = principal(a, 64, 0)
    P, Q = a @ wide, b @ wide
    deviation = P.std(axis=0) + 1e-6
    index = build_index(A, (mean, scale), ([""] * len(A), [str(k) for k in labels]))
    found = [(A, B), (a, b), (P, Q), (P / deviation, Q / deviation), (index.place(A), index.place(B))]
    return dict(zip(SPACES, found, strict=True))


def unit(X):
    return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-9)


if __name__ == "__main__":
    main()

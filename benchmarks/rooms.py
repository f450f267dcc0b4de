"""A data set through headstart's own rooms, from the folder to what the probe is given: what `fit` does before it."""

import os
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Prepared:
    """`material`: embeddings and what may be learned from; `folds` `(repeats, n)`; `options` of the probe."""

    material: object
    names: list
    folds: np.ndarray
    options: object

    def probe(self, depths=None):
        """headstart's probe on these depths only (all by default); its depths count in `depths`."""
        from headstart.howmuch.probe import probe

        m = self.material
        chosen = range(len(self.names)) if depths is None else depths
        matrices = m.matrices(m.learn)
        asked = ([matrices[d] for d in chosen], [self.names[d] for d in chosen])
        return probe(*asked, m.labels, len(m.samples.classes), self.folds, self.options)


def prepare(data, cache, seed=0):
    """Scan, embed, set aside what cannot be judged, make the folds: as pipeline.py does."""
    os.environ["HEADSTART_CACHE"] = str(cache)
    from headstart import rules
    from headstart.backbone.backbone import open_backbone
    from headstart.data.scan import scan
    from headstart.data.split import make_split
    from headstart.howmuch.probe import ProbeOptions
    from headstart.looking import look
    from headstart.progress import Silent

    samples = scan(data)
    backbone = open_backbone(rules.backbone("auto").value, cache)
    material = look(samples, backbone, Silent())
    groups, n = material.groups[material.learn], len(material.learn)
    largest = int(np.bincount(material.labels).max())
    split = make_split(material.labels, groups, seed, rules.folds(largest).value, rules.repeats(n).value)
    options = ProbeOptions(seed, None if samples.groups is None else groups)
    return Prepared(material, [d.name for d in backbone.depths], split.folds, options)

"""The reference of the decision grid: every candidate of a draw trained in full, and tested on all test pictures.

Heads come from headstart's probe. The others start from its best head that reads the last layer (LP-FT) and train for 6
epochs, without early stop; what counts is the averaged weights at the end. What ends in the last stages is tested from
feature maps of the whole set (fp32 from float16 maps), the rest as the exported graph with the new weights in it.
"""

import importlib
import inspect
import time
from functools import cached_property

import numpy as np
import rooms
from deciding_entries import Unit, code_of, key_of

EPOCHS = 6
RATES = {"norms": (3e-3,), "last-1": (3e-3, 1e-2), "last-2": (3e-3, 1e-2), "last-3": (3e-3, 1e-2), "all": (3e-3,)}
HEADS = ("head-last", "head-best", "head-all")
OWN_HEAD = "head-chosen"  # answer A: shown beside the others, no candidate of the reference
TRAINED = {f"{train}-{rate:g}": (train, rate) for train, rates in RATES.items() for rate in rates}
CANDIDATES = (*HEADS, *TRAINED)  # less training first
MEMORY = 3 << 30  # bytes of activations of one draw: 600 pictures in 3 views at all cuts take 0.4 GB
ON_DISK = 1 << 30  # of the whole set's beyond this
AGREE = 0.02  # of the largest logit: exported graph against torch

TRAINING = ("finetune.loop", "finetune.tail", "finetune.cutcache", "finetune.flips", "finetune.views")
TRAINING = (*TRAINING, "howmuch.start", "evaluation.calibrate", "backbone.graph_weights")
TRAINING = (*TRAINING, "nearness", "howmuch.places", "howmuch.similarity")
PROBING = ("howmuch.probe", "data.split", "backbone.network")


def views_of(start, sources, backbone, seed):
    """The views that are trained on, as in `fit` (training.py): mirrored where its probe says labels survive."""
    from headstart.finetune.flips import FlipProbe, label_keeping_flips
    from headstart.finetune.views import draw_views

    depths, folds = start.candidate.depths, start.folds[0]
    vectors = np.concatenate([np.asarray(start.matrices[d], np.float32) for d in depths], axis=1)

    def predict(rows, given):
        logits = np.zeros((len(rows), start.n_classes), np.float32)
        for fold in np.unique(folds[rows]):
            mine = folds[rows] == fold
            logits[mine] = start.of((0, int(fold))).logits(np.asarray(given)[mine])
        return logits

    probe = FlipProbe(sources, start.labels, vectors, depths, predict, np.flatnonzero(folds >= 0))
    verdicts = label_keeping_flips(probe, backbone, ("horizontal", "vertical"), seed, most=128)
    kept = [verdict.flip for verdict in verdicts if verdict.kept]
    return draw_views(1 + len(kept), kept, seed, strength="none")


def layer_decays():
    """What the lower stages learn beside the upper ones, near, in the middle and far."""
    from headstart import rules

    return [rules.layer_decay(place).value for place in ("near", "middle", "far")]


def unit_of(draw, candidate, seed, weights):
    """Where a result is kept. `weights`: hash of the backbone's."""
    if candidate in TRAINED:
        code = code_of(TRAINING, ("finetune", "backbone"))
        key = key_of(weights, code, inspect.getsource(views_of), EPOCHS, layer_decays())
    else:
        key = key_of(weights, code_of(PROBING, ("howmuch", "head", "evaluation")))
    return Unit("reference", draw.name, draw.digest, candidate, seed, key)


def load():
    """Import now what the keys were made from: files may change while this process runs, it does not."""
    for module in (*TRAINING, *PROBING):
        importlib.import_module(f"headstart.{module}")


def seconds_of(candidate, draw):
    """A forecast: training at what two cores do (pictures per second), and one pass over the test pictures."""
    if candidate not in TRAINED:
        return 0.5
    train = TRAINED[candidate][0]
    speed = {"norms": 18, "last-1": 400, "last-2": 90, "last-3": 50, "all": 18}[train]  # without bfloat16
    test = {"norms": 130, "last-1": 1500, "last-2": 500, "last-3": 300, "all": 130}[train]
    return 1.0 + EPOCHS * len(draw.train) / speed + len(draw.test) / test


def setup_seconds(draw):
    """A forecast: probe, flips and activations of a draw, and its share of the whole set's maps."""
    return 4.0 + len(draw.train) / 50 + len(draw.pool.paths) / 750


class WholeSet:
    """One pool in memory: its vectors, the network, and (when asked for) its maps and pixels."""

    def __init__(self, pool, work):
        from headstart import rules
        from headstart.backbone.backbone import open_backbone
        from headstart.embedding.embed import EmbedOptions, embed

        self.pool, self.work, cache = pool, work, work / "cache"
        self.backbone = open_backbone(rules.backbone("auto").value, cache)
        self.embeddings = embed(pool.paths, self.backbone, EmbedOptions(cache=cache))
        assert not any(self.embeddings.errors), f"{pool.name}: a picture cannot be read any more"
        self.row = {str(path): i for i, path in enumerate(pool.paths)}

    @cached_property
    def network(self):
        return self.backbone.torch_module()

    @cached_property
    def cuts(self):
        from headstart.finetune.tail import cut_of

        return sorted({cut_of(train, len(self.backbone.depths)) for train in RATES})

    @cached_property
    def maps(self):
        return self._cache(self.pool.paths, (), None, ON_DISK)

    def training_cache(self, paths, views, depths):
        """Activations of pictures to train on, through every view."""
        return self._cache(paths, depths, views, MEMORY)

    def close(self):
        """Give the files of the maps back."""
        if "maps" in self.__dict__:
            self.maps.close()

    def _cache(self, paths, depths, views, limit):
        from headstart.finetune.cutcache import CutOptions, build_cut_cache
        from headstart.finetune.views import UNTOUCHED

        views = views or (UNTOUCHED,)
        options = CutOptions(limit, self.work / "scratch", depths)
        found = build_cut_cache(paths, self.backbone, self.cuts, views, options)
        assert not found.notes, found.notes  # fewer views would be another training
        return found


class Known:
    """Activations of the whole set as `logits_of` takes them: kept maps, vectors from the embeddings."""

    def __init__(self, whole, depths):
        self._maps, self._embeddings, self._depths = whole.maps, whole.embeddings, depths

    def batch(self, cut, rows, views_of_rows):
        maps, none = self._maps.batch(cut, rows, views_of_rows)
        below = [d for d in self._depths if d < cut]
        return maps, self._embeddings.matrix(below, rows) if below else none

    def views(self, cut):
        return self._maps.views(cut)


class Lessons:
    """One draw with one seed: probed when asked, then every candidate can be trained."""

    def __init__(self, whole, draw, seed):
        self.whole, self.draw, self.seed = whole, draw, seed
        self.ready = rooms.prepare(draw.manifest(whole.work), whole.work / "cache", seed)
        m = self.ready.material
        assert len(m.learn) == len(draw.train) == len(m.samples), f"{draw.name}: headstart left pictures out"
        rows = [whole.row[str(m.samples.sources[i])] for i in m.learn]
        assert sorted(rows) == draw.train.tolist()
        assert not set(rows) & set(draw.test.tolist())
        index = {name: k for k, name in enumerate(m.samples.classes)}
        assert all(index[whole.pool.labels[row]] == y for row, y in zip(rows, m.labels, strict=True))
        self.truth = np.array([index[whole.pool.labels[i]] for i in draw.test])

    def right(self, candidate):
        """(rightness on the test pictures, facts) of one candidate."""
        started = time.perf_counter()
        if candidate in TRAINED:
            logits, facts = self._trained(*TRAINED[candidate])
        else:
            depths, head, facts = self._head(candidate)
            logits = head.logits(self.whole.embeddings.matrix(depths, self.draw.test))
        right = np.zeros(len(self.truth), bool) if logits is None else logits.argmax(axis=1) == self.truth
        return right, {**facts, "train_n": len(self.draw.train), "seconds": time.perf_counter() - started}

    @cached_property
    def probed(self):
        return self.ready.probe()

    @cached_property
    def matrices(self):
        return self.ready.material.matrices(self.ready.material.learn)

    @cached_property
    def place(self):
        """How similar the pictures are to the source: near, middle or far."""
        from headstart.nearness import similarity_of

        return similarity_of(self.ready.material, self.whole.backbone, self.probed).place

    @cached_property
    def start(self):
        """The head that training starts from."""
        from headstart.howmuch.start import start_candidate

        return self._fitted(start_candidate(self.probed.alone, len(self.matrices) - 1))

    @cached_property
    def learned(self):
        """Activations of the training pictures, through the views that keep labels."""
        m = self.ready.material
        sources = [m.samples.sources[i] for i in m.learn]
        views = views_of(self.start, sources, self.whole.backbone, self.seed)
        return self.whole.training_cache(sources, views, self.start.candidate.depths)

    def close(self):
        """Free the activations."""
        if "learned" in self.__dict__:
            self.learned.close()

    def _fitted(self, candidate):
        from headstart.howmuch.start import StartHeads

        m = self.ready.material
        return StartHeads(candidate, self.matrices, m.labels, len(m.samples.classes), self.ready.folds)

    def _head(self, candidate):
        last = len(self.matrices) - 1
        if candidate == "head-all":
            # one of the widest sets is always cross-validated: evened out, with logistic regression at the least
            widest = [c for c in self.probed.alone if len(c.depths) == last + 1]
            best = min(widest, key=lambda c: c.nll)
            return best.depths, self._fitted(best).of(None), _told(best)
        if candidate == OWN_HEAD:
            return self.probed.chosen.depths, self.probed.head, _told(self.probed.chosen)
        depth = last
        if candidate == "head-best":
            depth = max(range(last + 1), key=lambda d: (self.probed.profile[d].top1, d))
        alone = self.ready.probe((depth,))
        return (depth,), alone.head, _told(alone.chosen)

    def _trained(self, train, rate):
        from headstart import rules
        from headstart.finetune.loop import DivergedError, Lesson
        from headstart.finetune.loop import train as run
        from headstart.finetune.precision import precisions
        from headstart.finetune.schedule import Recipe
        from headstart.finetune.tail import Tail
        from headstart.finetune.together import PIXELS
        from headstart.heap import keep_memory

        labels, depths = np.asarray(self.ready.material.labels), self.start.candidate.depths
        learned, rows = self.learned, np.arange(len(labels))
        tail = Tail(self.whole.network, train, depths, self.start.softened(None), self.seed)
        if tail.cut == PIXELS:
            keep_memory()
        facts = {"start": _told(self.start.candidate), "views": [v.flip for v in learned.views(tail.cut)]}
        facts["similarity"] = self.place
        facts["precision"] = precisions("cpu")[0]
        started = time.perf_counter()
        try:
            decay = rules.layer_decay(self.place).value
            recipe = Recipe(rate, EPOCHS, layer_decay=decay, precision=precisions("cpu")[0], seed=self.seed)
            course = run(tail, Lesson(learned, labels, rows, rows[:0]), recipe)
        except DivergedError as error:
            return None, {**facts, "failed": str(error)}  # right nowhere
        facts |= {"steps": course.steps, "training_seconds": time.perf_counter() - started}
        return (self._as_graph if tail.cut == PIXELS else self._from_maps)(tail, course.trained), facts

    def _from_maps(self, tail, _trained):
        from headstart.finetune.loop import logits_of

        return logits_of(tail, Known(self.whole, tail.depths), self.draw.test)

    def _as_graph(self, tail, trained):
        """Through the graph that would be saved, which must say what torch says."""
        from headstart.backbone.graph_weights import graph_with
        from headstart.engine.openvino import OpenVinoEngine
        from headstart.finetune.loop import logits_of

        names = [self.whole.backbone.depths[d].name for d in tail.depths]
        engine = OpenVinoEngine(graph_with(self.whole.backbone.graph(), trained.tensors), names)
        pixels = self.whole.maps

        def run(rows):
            parts = [rows[at : at + engine.batch] for at in range(0, len(rows), engine.batch)]
            squares = ((None, pixels.batch(0, part, np.zeros(len(part), np.int64))[0]) for part in parts)
            found = [np.concatenate([out[name] for name in names], axis=1) for _, out in engine.stream(squares)]
            return trained.head.logits(np.concatenate(found))

        some = self.draw.test[:8]
        torch_says = logits_of(tail, Known(self.whole, tail.depths), some)
        apart = np.abs(run(some) - torch_says).max() / np.abs(torch_says).max()
        assert apart <= AGREE, f"the graph with trained weights differs from torch by {apart:.3f} of the largest logit"
        return run(self.draw.test)


def _told(candidate):
    """A head in a few plain values; of a probe of one depth the names are right, the positions count from 0."""
    kept = {"depths": list(candidate.names), "kind": candidate.kind, "penalty": candidate.known_penalty}
    return {**kept, "cross_validated": candidate.top1}

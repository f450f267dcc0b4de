"""Training: what a race needs to train one arm on some folds, and the winner on everything. Imports torch when used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart import rules
from headstart.backbone.backbone import Backbone
from headstart.backbone.torch_only import why_in_torch
from headstart.data.split import Split
from headstart.engine.choose import usable_accelerator
from headstart.evaluation.metrics import row_nll
from headstart.finetune.together import PIXELS, cuts_together
from headstart.head.layered import LayeredHead
from headstart.head.linear import LinearHead
from headstart.heap import give_back
from headstart.howmuch.arm import Arm, FoldResult
from headstart.howmuch.candidates import Candidate, evened
from headstart.howmuch.probe import Probe
from headstart.howmuch.score import Version
from headstart.howmuch.similarity import Similarity
from headstart.howmuch.start import StartHeads, fresh_head, start_candidate
from headstart.material import Material

if TYPE_CHECKING:
    from headstart.finetune.cutcache import CutCache
    from headstart.finetune.flips import FlipVerdict
    from headstart.finetune.loop import Course, Training
    from headstart.finetune.tail import Tail
    from headstart.finetune.views import View
    from headstart.head.layers import Examples, LayerOptions

IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]

MOST_FOR_FLIPS = 128  # pictures that are looked at flipped


@dataclass(frozen=True)
class Ground:
    """What is trained on: the pictures, the frozen network, the folds, and what the probe found on them."""

    material: Material
    backbone: Backbone
    split: Split
    found: Probe
    seed: int

    @property
    def sources(self) -> list[Any]:
        """Sources of the pictures to learn from."""
        return [self.material.samples.sources[i] for i in self.material.learn]

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.material.samples.classes)

    @property
    def start(self) -> Candidate:
        """The cross-validated head that fine-tuning starts from."""
        return start_candidate(self.found.alone, len(self.backbone.depths) - 1)


@dataclass(frozen=True)
class Seen:
    """What is known before anything but heads is trained; `settings`: backbone, train, folds, repeats."""

    ground: Ground
    similarity: Similarity
    settings: tuple[rules.Rule, ...]


@dataclass(frozen=True)
class Kept:
    """What a unit trained, the rows (`held`) that it judged, and by how much its log-loss there is below the head's.

    One fold's network may have learned much less than another's: 90 % of its own fold right where the others had 95 to
    100 (the last three stages on 160 digits, by hand).
    """

    training: Training
    held: IntArray
    gain: float


@dataclass
class Trainer:
    """Trains arms. The network, the flips and the cut caches are made when first needed.

    `precision` by amount of training, as measured. `device`: cpu, or an accelerator that works. `say` receives remarks
    for the user. `similarity` of the pictures to the source: near, middle or far. `epochs`: how long an arm is trained,
    by default as long as may pay (`most_epochs`). `elsewhere` does final trainings in place of this process. `keep`:
    amounts of which `kept` holds, by key of the arm, the network of the fold that gained most over the new head.
    """

    ground: Ground
    precision: dict[str, str]
    say: Callable[[str], None]
    similarity: str = "far"
    flips: tuple[FlipVerdict, ...] = ()
    device: str = "cpu"
    epochs: int = 0
    elsewhere: Callable[[Arm, IntArray, Any], tuple[Tail, Course] | None] | None = None
    keep: frozenset[str] = frozenset()
    kept: dict[str, Kept] = field(default_factory=dict)
    most_epochs: int = 0
    _network: Any = None
    _heads: StartHeads | None = None
    _views: tuple[View, ...] | None = None
    _caches: dict[int, CutCache] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from headstart.finetune.memory import wait_politely

        wait_politely()
        self.device = usable_accelerator() or self.device
        self.most_epochs = int(rules.epochs(len(self.ground.material.learn)).value)
        self.epochs = self.epochs or self.most_epochs

    @property
    def network(self) -> Any:
        """The pretrained network in torch."""
        if self._network is None:
            self._network = self.ground.backbone.torch_module()
        return self._network

    @property
    def heads(self) -> StartHeads:
        """The heads that fine-tuning starts from."""
        if self._heads is None:
            ground = self.ground
            matrices = ground.material.matrices(ground.material.learn)
            folds = ground.split.folds
            self._heads = StartHeads(ground.start, matrices, ground.material.labels, ground.n_classes, folds)
        return self._heads

    @property
    def views(self) -> tuple[View, ...]:
        """The views that training sees: the picture itself, and the flips that keep its label."""
        from headstart.finetune.views import draw_views

        if self._views is None and why_in_torch(self.ground.backbone) is not None:
            self._views = draw_views(1, (), self.ground.seed, "none")  # extra layers only: they learn from vectors
        if self._views is None:
            self.flips = self._probed_flips()
            give_back()
            kept = [verdict.flip for verdict in self.flips if verdict.kept]
            self._views = draw_views(1 + len(kept), kept, self.ground.seed, "none")
        return self._views

    def unit(self, arm: Arm, repeat: int, fold: int) -> FoldResult:
        """One arm on one fold; a unit that diverges or does not fit into memory says so instead of raising."""
        folds = self.ground.split.folds[repeat]
        rows, held = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        empty = np.zeros((0, len(held), self.ground.n_classes), np.float32)
        try:
            if arm.train == "extra":
                return self._layers_unit(arm, rows, held)
            recipe = self.recipe(arm, len(rows))
            give_back()  # of the arm before, which had other shapes
            training = self._training(arm, (repeat, fold), (rows, held), recipe)
            course = training.further(recipe.epochs)
            if arm.train in self.keep:
                self._keep(arm, training, course, held)
        except ArithmeticError as error:
            return FoldResult(held, empty, np.zeros(0), 0, None, str(error))
        except (MemoryError, RuntimeError) as error:
            if not short_of_memory(error):
                raise
            return FoldResult(held, empty, np.zeros(0), 0, None, "out of memory")
        return FoldResult(held, course.logits, course.seconds, course.steps, course.blend)

    def _keep(self, arm: Arm, training: Training, course: Course, held: IntArray) -> None:
        """Keep what a unit trained, unless that of another fold gained more."""
        labels, head = self.ground.material.labels[held], self.ground.found.logits[held]
        gain = float(row_nll(head, labels).mean() - row_nll(course.logits[-1], labels).mean())
        if arm.key not in self.kept or gain > self.kept[arm.key].gain:
            training.tail.zero_grad(set_to_none=True)
            if training.epochs >= self.most_epochs:
                training.release()  # `longer` will not ask for more
            self.kept[arm.key] = Kept(training, held, gain)

    def keeps(self, arm: Arm) -> bool:
        """Whether a network that a unit of `arm` trained is at hand."""
        return arm.key in self.kept

    def longer(self, arm: Arm) -> FoldResult | None:
        """The only unit of `arm`, which was kept, with one epoch more; None where that would not pay or went wrong."""
        kept = self.kept.get(arm.key)
        if kept is None or kept.training.epochs >= self.most_epochs:
            return None
        try:
            course = kept.training.further(1)
        except (ArithmeticError, MemoryError, RuntimeError) as error:  # what it had learned before stays
            if isinstance(error, RuntimeError) and not short_of_memory(error):
                raise
            return None
        kept.training.tail.zero_grad(set_to_none=True)
        return FoldResult(kept.held, course.logits, course.seconds, course.steps, course.blend)

    def refit(self, arm: Arm, version: Version) -> tuple[Tail, Course]:
        """The arm on every picture to learn from, as long as `version` says. For arms that train the network."""
        rows = np.arange(len(self.ground.material.learn))
        recipe = self.recipe(arm, len(rows), version)
        if self.elsewhere is not None and (trained := self.elsewhere(arm, rows, recipe)) is not None:
            return trained
        training = self._training(arm, None, (rows, rows[:0]), recipe)
        return training.tail, training.whole()

    def refit_layers(self, arm: Arm, version: Version) -> tuple[LayeredHead, tuple[int, ...]]:
        """Extra layers on every picture, and the depths (positions) they read."""
        from headstart.head.layers import train_layers

        options = self._layer_options(arm, len(self.ground.material.learn))
        stop = options.recorded[version.epoch - 1]
        return train_layers(self.examples(), replace(options, stop_after=stop)), self._layer_depths()

    def recipe(self, arm: Arm, n: int, version: Version | None = None) -> Any:
        """How `arm` is trained on n pictures. In a refit as many epochs as in `version`."""
        from headstart.finetune.schedule import Recipe

        similarity = "far" if arm.train == "scratch" else self.similarity  # random weights are near to nothing
        return Recipe(
            learning_rate=arm.learning_rate or 0.0,
            epochs=self.epochs if version is None else version.epoch,
            batch=rules.batch(n).value,
            layer_decay=rules.layer_decay(similarity).value,
            precision=self.precision.get(arm.train, "fp32"),
            blend=version is not None and version.blend,
            seed=self.ground.seed,
        )

    def activations(self, cut: int) -> CutCache:
        """The cut cache that holds `cut`; the cuts of the last stages are filled by one pass."""
        from headstart.finetune.cutcache import CutOptions, build_cut_cache

        if cut not in self._caches:
            cuts = cuts_together(cut, len(self.ground.backbone.depths))
            options = CutOptions(head_depths=self.ground.start.depths)
            cache = build_cut_cache(self.ground.sources, self.ground.backbone, cuts, self.views, options)
            give_back()
            for note in cache.notes:
                self.say(note)
            for made in cache.cuts:
                self._caches[made] = cache
            if cut not in self._caches:
                raise MemoryError(f"no room for the activations at cut {cut}")
        return self._caches[cut]

    def start_head(self, arm: Arm, unit: tuple[int, int] | None, seed: int) -> LinearHead:
        """The head that `arm` starts from on a (repeat, fold), or on everything."""
        head = self.heads.softened(unit)
        return fresh_head(head, seed) if arm.fresh or arm.train == "scratch" else head

    def _training(
        self, arm: Arm, unit: tuple[int, int] | None, rows: tuple[IntArray, IntArray], recipe: Any
    ) -> Training:
        """A training of `rows` (to learn from, to judge) that has not begun."""
        from headstart.finetune.loop import Lesson, Training
        from headstart.finetune.memory import keep_memory_if_roomy
        from headstart.finetune.tail import Tail

        head = self.start_head(arm, unit, recipe.seed)
        tail = Tail(self.network, arm.train, self.ground.start.depths, head, recipe.seed).to(self.device)
        if tail.cut == PIXELS:
            keep_memory_if_roomy()
        return Training(tail, Lesson(self.activations(tail.cut), self.ground.material.labels, *rows), recipe)

    def _probed_flips(self) -> tuple[FlipVerdict, ...]:
        """Which flips keep labels, judged by the start heads of the first folds."""
        from headstart.finetune.flips import FlipProbe, label_keeping_flips

        ground, folds = self.ground, self.ground.split.folds[0]
        depths = ground.start.depths
        vectors = ground.material.embeddings.matrix(depths, ground.material.learn)

        def predict(rows: IntArray, seen: FloatArray) -> FloatArray:
            logits = np.zeros((len(rows), ground.n_classes), np.float32)
            for fold in np.unique(folds[rows]):
                at = folds[rows] == fold
                logits[at] = self.heads.of((0, int(fold))).logits(seen[at])
            return logits

        probe = FlipProbe(ground.sources, ground.material.labels, vectors, depths, predict, np.flatnonzero(folds >= 0))
        return label_keeping_flips(probe, ground.backbone, ("horizontal", "vertical"), ground.seed, MOST_FOR_FLIPS)

    def _layers_unit(self, arm: Arm, rows: IntArray, held: IntArray) -> FoldResult:
        from headstart.head.layers import fold_logits

        trace = fold_logits(self.examples(), rows, held, self._layer_options(arm, len(rows)))
        order = np.argsort(trace.rows, kind="stable")
        return FoldResult(trace.rows[order], trace.logits[:, order], trace.seconds, trace.steps)

    def _layer_depths(self) -> tuple[int, ...]:
        return tuple(range(len(self.ground.backbone.depths)))

    def examples(self) -> Examples:
        """What extra layers learn from: all depths side by side, evened out."""
        from headstart.head.layers import Examples

        ground, depths = self.ground, self._layer_depths()
        dims = [depth.dim for depth in ground.backbone.depths]
        factors = np.repeat(evened(depths, dims, 0.5).factors, dims) if len(dims) > 1 else None
        matrix = ground.material.embeddings.matrix(depths, ground.material.learn)
        return Examples(matrix, ground.material.labels, ground.n_classes, factors, tuple(dims))

    def _layer_options(self, arm: Arm, n: int) -> LayerOptions:
        from headstart.head.layers import LayerOptions

        return LayerOptions(hidden=arm.extra_layers, batch=min(64, max(4, n // 4)), seed=self.ground.seed)


def short_of_memory(error: BaseException) -> bool:
    """Whether torch or Python ran out of memory."""
    from headstart.finetune.loop import out_of_memory

    return out_of_memory(error)


def flip_notes(flips: Sequence[FlipVerdict]) -> list[str]:
    """What was found about flips, a line each."""
    words = {"horizontal": "left to right", "vertical": "upside down", "both": "by half a turn"}
    return [
        f"pictures mirrored {words[v.flip]} {'keep their labels: used' if v.kept else 'lose their labels: not used'}"
        for v in flips
    ]

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from headstart import predictions
from headstart.evaluation.findings import no_better_than_guessing
from headstart.evaluation.metrics import row_nll
from headstart.head.columns import columns_of
from headstart.head.ridge import DepthSet
from headstart.howmuch import choice, finalists, screen
from headstart.howmuch import probe as probing
from headstart.howmuch.candidates import FEW
from headstart.howmuch.choice import judge_logits
from headstart.howmuch.probe import ProbeOptions, out_of_fold, probe, right_out_of_fold
from headstart.howmuch.screen import Task, logistic_logits
from headstart.howmuch.unjudged import unjudged

NAMES = ("block0", "block1", "block2", "last")


def sample(n=120, k=3, strength=(0.0, 0.5, 2.5, 1.0), seed=0):
    """Four depths of which the third tells the classes apart best."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % k
    matrices = []
    for dim, s in zip((6, 8, 10, 24), strength, strict=True):
        m = rng.normal(size=(n, dim)) * rng.uniform(0.5, 2, dim)
        m[:, :k] += s * np.eye(k)[y]
        matrices.append(m.astype(np.float16))
    return matrices, y


def folds_of(n, k=4, repeats=1, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(np.arange(n) % k) for _ in range(repeats)])


def run(matrices, y, folds, **options):
    return probe(matrices, NAMES[-len(matrices) :], y, int(y.max()) + 1, folds, ProbeOptions(**options))


def test_the_telling_depth_is_found_and_its_head_works_on_new_pictures():
    matrices, y = sample()
    found = run(matrices, y, folds_of(120))
    best = max(found.profile, key=lambda d: d.top1)
    assert best.name == "block2"
    assert 2 in found.chosen.depths
    assert found.reference.names == ("last",)
    assert found.p_better > 0.95
    fresh, labels = sample(seed=1)
    features = np.concatenate([fresh[i] for i in found.chosen.depths], axis=1)
    assert np.mean(found.head.logits(features).argmax(axis=1) == labels) > 0.85


def test_what_is_reported_is_what_the_logits_say():
    matrices, y = sample()
    found = run(matrices, y, folds_of(120))
    assert found.judged.all()
    assert found.chosen.top1 == pytest.approx(np.mean(found.logits.argmax(axis=1) == y))
    assert found.chosen.low < found.chosen.top1 < found.chosen.high
    assert found.corrected_low <= found.corrected_top1 <= found.corrected_high
    assert found.learning_curve[-1] == (90, found.chosen.top1)
    sizes = [n for n, _ in found.learning_curve]
    assert sizes == sorted(sizes)
    assert len(sizes) == (3 if found.chosen.members else 4)


def test_out_of_fold_repeats_the_probe_and_takes_other_folds():
    matrices, y = sample()
    folds = folds_of(120)
    found = run(matrices, y, folds)
    own = [matrices[i] for i in found.chosen.depths]
    again = out_of_fold(own, y, 3, folds[0], found.chosen)
    assert np.mean(again.argmax(axis=1) == found.logits.argmax(axis=1)) > 0.98
    np.testing.assert_allclose(again, found.logits, atol=0.1 * np.abs(found.logits).max())
    blocks = np.arange(120) // 40
    blocks[:5] = -1
    other = out_of_fold(own, y, 3, blocks, found.chosen)
    assert np.isnan(other[:5]).all()
    assert np.isfinite(other[5:]).all()


@pytest.mark.parametrize("few", [True, False])
def test_who_is_right_is_known_without_keeping_logits(few, monkeypatch):
    matrices, y = sample()
    found = run(matrices, y, folds_of(120))
    blocks = np.arange(120) // 40
    blocks[:5] = -1
    if not few:
        monkeypatch.setattr("headstart.howmuch.screen.KEPT_CELLS", 0)
    kinds = set()
    for candidate in found.candidates:
        own = [matrices[i] for i in candidate.depths]
        logits = out_of_fold(own, y, 3, blocks, candidate)
        right = right_out_of_fold(own, y, 3, blocks, candidate)
        assert np.isnan(right[:5]).all()
        np.testing.assert_array_equal(right[5:], (logits.argmax(axis=1) == y)[5:])
        kinds.add(candidate.kind)
    assert {"mean", "logistic", "ridge"} <= kinds


@pytest.mark.parametrize("k", [2, 3])
def test_logistic_folds_agree_with_scikit_learns_pipeline(k):
    matrices, y = sample(150, k, strength=(0.3, 0.5, 0.6, 0.5))
    folds = folds_of(150, 5)
    penalties = [1.0, 0.1, 0.01]
    task = Task(columns_of(matrices), y, k, folds)
    logits = logistic_logits(task, DepthSet((1, 3), (1.0, 1.0)), penalties)
    X = np.concatenate([matrices[1], matrices[3]], axis=1).astype(np.float64)
    for at, penalty in enumerate(penalties):
        if np.isnan(logits[at]).any():
            continue
        right = 0
        for fold in range(5):
            train, held = folds[0] != fold, folds[0] == fold
            model = LogisticRegression(C=1 / (train.sum() * penalty), max_iter=2000, tol=1e-6)
            right += make_pipeline(StandardScaler(), model).fit(X[train], y[train]).score(X[held], y[held]) * held.sum()
        assert np.mean(logits[at, 0].argmax(axis=1) == y) == pytest.approx(right / 150, abs=0.007)


def test_later_repeats_take_the_penalty_that_was_best_in_the_first():
    matrices, y = sample(150)
    folds, penalties = folds_of(150, 5, repeats=3), [1.0, 0.1, 0.01]
    task = Task(columns_of(matrices), y, 3, folds)
    depths = DepthSet((1, 3), (1.0, 1.0))
    logits = logistic_logits(task, depths, penalties)
    (best,) = [at for at in range(3) if np.isfinite(logits[at]).any()]
    assert np.isfinite(logits[best]).all()
    first = logistic_logits(Task(task.columns, y, 3, folds[:1]), depths, penalties)
    losses = [row_nll(some[0], y).mean() for some in first if np.isfinite(some).all()]
    assert losses[best] == min(losses)
    alone = logistic_logits(task, depths, penalties[best : best + 1])
    assert np.array_equal(logits[best, 1:], alone[0, 1:]), "what is fitted does not depend on what else was tried"
    np.testing.assert_allclose(logits[best, 0], alone[0, 0], atol=0.05)


@pytest.mark.parametrize("n", [120, FEW + 10])
def test_shuffled_labels_are_no_better_than_guessing(n):
    matrices, y = sample(n)
    y = np.random.default_rng(5).permutation(y)
    found = run(matrices, y, folds_of(n))
    assert bool(found.chosen.members) == (n <= FEW)
    assert len(found.learning_curve) == (3 if n <= FEW else 4)
    assert found.corrected_top1 < found.chosen.top1
    assert found.corrected_low < 1 / 3 < found.corrected_high + 0.1
    task_logits = out_of_fold(matrices[-1:], y, 3, folds_of(n, seed=9), found.reference)
    assert no_better_than_guessing(task_logits.argmax(axis=1), y) is not None


def test_a_mean_of_heads_is_no_better_than_guessing_on_shuffled_labels():
    figures = []
    for seed in range(8):
        matrices, y = sample(60)
        y = np.random.default_rng(seed).permutation(y)
        found = run(matrices, y, folds_of(60, seed=seed))
        assert found.chosen.members
        figures.append(found.corrected_top1)
    assert np.mean(figures) < 1 / 3 + 2 * np.std(figures) / np.sqrt(len(figures))


def test_the_same_seed_gives_the_same_result():
    matrices, y = sample()
    one, two = (run(matrices, y, folds_of(120, repeats=2), seed=3) for _ in range(2))
    assert one.chosen.depths == two.chosen.depths
    assert np.array_equal(one.logits, two.logits)
    assert one.corrected_top1 == two.corrected_top1


def test_a_class_with_one_picture_is_learned_and_never_judged():
    matrices, y = sample(61)
    y[60] = 3
    folds = folds_of(61)
    folds[:, 60] = -1
    found = run(matrices, y, folds)
    assert not found.judged[60]
    assert found.head.weights.shape[0] == 4
    assert np.isfinite(found.logits).all()


def test_two_pictures_per_class_and_a_single_depth():
    matrices, y = sample(6)
    found = run(matrices, y, np.array([[0, 0, 0, 1, 1, 1]]))
    assert np.isfinite(found.head.weights).all()
    alone = run(matrices[-1:], y, np.array([[0, 0, 0, 1, 1, 1]]))
    assert alone.chosen.names == ("last",)


def test_a_single_fold_is_a_held_out_part():
    matrices, y = sample(60)
    folds = np.where(np.arange(60) < 20, 0, -1)[None]
    found = run(matrices, y, folds)
    assert found.judged.sum() == 20
    assert found.chosen.top1 > 0.5


def test_groups_widen_the_interval():
    matrices, y = sample()
    alone = run(matrices, y, folds_of(120))
    groups = np.repeat(np.arange(6), 20)
    together = run(matrices, y, folds_of(120), groups=groups)
    assert together.corrected_high - together.corrected_low > alone.corrected_high - alone.corrected_low


def test_folds_that_leave_one_class_or_do_not_fit_are_refused():
    matrices, y = sample(12)
    with pytest.raises(ValueError, match="judged"):
        run(matrices, y, np.full((1, 12), -1))
    with pytest.raises(ValueError, match="two classes"):
        run(matrices, y, np.where(y == 0, -1, 0)[None])
    with pytest.raises(ValueError, match="fit"):
        run(matrices, y, np.zeros((1, 3), int))


def test_one_picture_per_class_gives_a_head_and_no_figure():
    matrices, y = sample(3)
    found = unjudged(matrices, NAMES, y, 3)
    assert not found.judged.any()
    assert np.isnan(found.chosen.top1)
    features = np.concatenate([matrices[i] for i in found.chosen.depths], axis=1)
    assert list(found.head.logits(features).argmax(axis=1)) == [0, 1, 2]


def test_of_few_pictures_the_mean_of_all_heads_is_taken_unless_one_is_clearly_better():
    matrices, y = sample(60, strength=(1.0, 1.0, 1.0, 1.0))
    found = run(matrices, y, folds_of(60, repeats=2))
    assert (found.chosen.kind, found.chosen.depths, found.chosen.known_penalty) == ("mean", (0, 1, 2, 3), None)
    assert set(found.chosen.members) == set(found.alone), "every candidate counts once"
    assert found.chosen in found.candidates


def test_one_head_that_is_clearly_better_than_the_mean_of_all_is_taken(monkeypatch):
    def misled(task, names, judged, groups):
        return judge_logits(task, names, DepthSet((2,), (1.0,)), -judged[0].repeats, ("mean", np.nan, 0.0, groups))

    matrices, y = sample(60)
    monkeypatch.setattr(probing, "mean_of", misled)
    found = run(matrices, y, folds_of(60))
    assert found.chosen.kind != "mean" and found.chosen.top1 > 0.8


def test_a_feature_that_only_held_out_rows_show_does_not_outweigh_all_others():
    """Dead channels: as good as zero but for one picture, so as good as constant in every fold that holds it out."""
    matrices, y = sample(n=90)
    dead = (2e-6 * np.random.default_rng(4).random((90, 60))).astype(np.float16)
    dead[np.arange(60), np.arange(60)] = np.random.default_rng(5).uniform(0.1, 6, 60)
    wide = np.concatenate([matrices[2], dead], axis=1)
    folds = folds_of(90, repeats=3)
    found = run([matrices[0], wide], y, folds)
    assert all(c.temperature < 100 for c in found.candidates if 1 in c.depths)
    task = Task(columns_of([wide]), y, 3, folds)
    logits = logistic_logits(task, DepthSet((0,), (1.0,)), (0.3, 0.03))
    assert np.nanmax(np.abs(logits)) < 50


@pytest.mark.parametrize("strength", [(0.0, 0.5, 2.5, 1.0), (0.5, 0.5, 0.5, 0.5)])
@pytest.mark.parametrize(("room", "dropped"), [(100, 5), (2 * 600 * 3, 3)])
def test_many_pictures_and_classes_are_worked_on_piece_by_piece(monkeypatch, strength, room, dropped):
    matrices, y = sample(600, 3, strength)
    monkeypatch.setattr(screen, "AFFORDABLE", 0)  # as with a thousand classes: closed forms alone
    whole = run(matrices, y, folds_of(600))
    kept, bare = [], finalists.Judged.bare
    monkeypatch.setattr(finalists.Judged, "bare", lambda self: kept.append(bare(self)) or kept[-1])
    for module in (predictions, choice, finalists):
        monkeypatch.setattr(module, "MOST_CELLS", 100)
    monkeypatch.setattr(finalists, "ROOM", room)
    found = run(matrices, y, folds_of(600))
    assert len(kept) in (dropped - 1, dropped) and not any(len(j.logits) for j in kept), (
        "four heads, and the last layer"
    )
    assert found.chosen.depths == whole.chosen.depths and found.chosen.kind == whole.chosen.kind
    np.testing.assert_allclose(found.logits, whole.logits, atol=1e-5)
    assert [c.top1 for c in found.candidates] == [c.top1 for c in whole.candidates]
    assert [c.nll for c in found.candidates] == pytest.approx([c.nll for c in whole.candidates], abs=1e-6)
    assert found.profile == whole.profile and found.corrected_top1 == whole.corrected_top1

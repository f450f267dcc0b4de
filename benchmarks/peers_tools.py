"""Who is measured side by side: what each runs, in which environment, on which sets, how often, how long that takes."""

import re
from dataclasses import dataclass
from functools import cache

import peers_environments

FULL = ("elpv", "nature")  # every tool
ALSO = ("gcompris", "mnist5k", "emoji_subgroup")  # the quick ones, whole and cut
CUT = 20  # training pictures per class of a cut
MARK = "# ---"


@dataclass(frozen=True)
class Tool:
    """`script` in peers/ with the arguments `how`, or options of `headstart fit` where there is no script.

    `seconds`: a forecast: fixed, per training picture, per test picture. `accuracy`: whether it tells classes.
    """

    says: str
    script: str | None
    how: tuple[str, ...]
    environment: str | None
    quick: bool
    rounds: int
    seconds: tuple[float, float, float]
    accuracy: bool = True

    def forecast(self, train, test):
        fixed, per_train, per_test = self.seconds
        return fixed + per_train * train + per_test * test

    def lines(self):
        """Lines the user writes: of code between the marks of a script, or one command."""
        return 1 if self.script is None else user_lines(self.script)


def _rival(says, script, environment, seconds, **more):
    how = more.pop("how", ())
    return Tool(says, script, how, environment, more.pop("quick", False), more.pop("rounds", 2), seconds, **more)


def _ours(says, how, rounds, seconds):
    return Tool(says, None, how, None, True, rounds, seconds)


EXPERT, FEW_SHOT, FROZEN, TUTORIAL = "expert", "autogluon-few-shot", "fastai-frozen", "tutorial"
HEAD, BUDGET = "headstart-head", "headstart-5m"
TOOLS = {
    HEAD: _ours("headstart fit --train head", ("--train", "head"), 3, (18.0, 0.012, 0.012)),
    EXPERT: _rival(
        "timm + scikit-learn by hand", "expert.py", "expert", (10.0, 0.06, 0.04), quick=True, rounds=3
    ),
    FEW_SHOT: _rival(
        "AutoGluon MultiModal, few-shot SVM", "autogluon_predictor.py", "autogluon", (30.0, 0.08, 0.08),
        how=("few_shot",), quick=True, rounds=3,
    ),
    BUDGET: _ours("headstart fit --budget 5m", ("--budget", "5m"), 2, (325.0, 0.0, 0.0)),
    FROZEN: _rival(
        "fastai, frozen, fit_one_cycle(5)", "fastai_learner.py", "fastai", (40.0, 0.65, 0.06), how=("frozen",)
    ),
    "fastai-fine-tune": _rival(
        "fastai, fine_tune(3)", "fastai_learner.py", "fastai", (40.0, 0.65, 0.06), how=("fine_tune",)
    ),
    TUTORIAL: _rival("PyTorch tutorial, frozen, 25 epochs", "tutorial.py", "tutorial", (20.0, 1.1, 0.06)),
    "autogluon-10m": _rival(
        "AutoGluon MultiModal, time_limit=600", "autogluon_predictor.py", "autogluon", (700.0, 0.0, 0.1),
        how=("time_limit",),
    ),
    "keras": _rival(
        "Keras 3 guide, random weights, 2 of 25 epochs", "keras_guide.py", "keras", (30.0, 0.12, 0.0), accuracy=False
    ),
}  # fmt: skip
OURS = tuple(name for name, tool in TOOLS.items() if tool.script is None)


def sets_of(tool):
    """The sets a tool runs on: (name, cut)."""
    sets = [(name, None) for name in FULL]
    if TOOLS[tool].quick:
        sets += [(name, cut) for name in ALSO for cut in (None, CUT)]
    return sets


def set_name(name, cut):
    return name if cut is None else f"{name}-{cut}"


@cache
def user_lines(script):
    """Lines of code in the parts of a script that begin with "# --- the user's lines": no blanks, no comments."""
    count, counting = 0, False
    for line in (peers_environments.PEERS / script).read_text("utf-8").splitlines():
        if line.strip().startswith(MARK):
            counting = re.match(r"\s*# --- the user's lines", line) is not None
        elif counting and line.strip() and not line.strip().startswith("#"):
            count += 1
    return count

"""Epochs more for a network that will be saved as its first fold trained it: what is left of the time goes there.

A fold more, or another rate, would only tell more about a network that few epochs have left short of its best.
"""

from __future__ import annotations

from headstart.howmuch.allowance import Allowance
from headstart.howmuch.experience import LEAST_JUDGED
from headstart.howmuch.lane import Lane
from headstart.howmuch.race_options import RaceOptions

CAREFUL = 1.2  # times the mean of its epochs that the next may take: the network is saved in any case
SLACK = 0.05  # share of the budget by which a final training may come late: a unit took longer than predicted


def lengthen(best: Lane, allowance: Allowance, options: RaceOptions, refit: float, others: float) -> float:
    """Give the only unit of `best` more epochs while `allowance` has room for them; the seconds that took.

    Nothing is done where its network is not at hand, where its final training (`refit`) fits, which is worth more, or
    while too few pictures judged it. `others`: the dearest final training that another arm may need.
    """
    spent = 0.0
    if not best.planned.keeps or len(best.units) != 1 or not options.kept(best.arm):
        return spent
    if len(best.scored.rows) < LEAST_JUDGED or allowance.fits(refit, SLACK):
        return spent
    while allowance.fits(CAREFUL * best.epoch_seconds + others):
        before = allowance.left()
        longer = options.longer(best.arm)
        if longer is None:
            return spent
        seconds = before - allowance.left()
        best.lengthen(longer, seconds)
        spent += seconds
    return spent

from __future__ import annotations

import pytest

from headstart.howmuch.arm import Arm, amount_order


def test_less_training_comes_first():
    rising = ["head", "extra", "norms", "last-1", "last-2", "last-12", "all", "scratch"]
    assert sorted(reversed(rising), key=amount_order) == rising


@pytest.mark.parametrize("name", ["last-0", "last", "last-x", "everything", ""])
def test_unknown_amounts(name):
    with pytest.raises(ValueError, match="no amount of training"):
        amount_order(name)


def test_keys_are_unique_and_safe_in_file_names():
    arms = [
        Arm("last-1", 1e-3),
        Arm("last-1", 3e-3),
        Arm("last-1", 1e-3, fresh=True),
        Arm("last-1", 1e-3, backbone="hub/a b:c"),
        Arm("extra", None, extra_layers=(256, 64)),
        Arm("extra", None, extra_layers=(256,)),
    ]
    keys = {arm.key for arm in arms}
    assert len(keys) == len(arms)
    assert all(set(k) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-_") for k in keys)
    assert Arm("all", 1e-3, why="because").key == Arm("all", 1e-3).key

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headstart.data.samples import class_order, from_lists
from headstart.errors import DataError


def test_take_by_indices_and_by_mask():
    samples = from_lists(["a.jpg", "b.jpg", "c.jpg"], ["y", "x", "y"], ["g", "g", "h"])
    assert samples.classes == ("x", "y") and samples.labels.tolist() == [1, 0, 1]
    some = samples.take([2, 0])
    assert some.names == ("c.jpg", "a.jpg") and some.labels.tolist() == [1, 1] and some.groups.tolist() == ["h", "g"]
    assert samples.take(np.array([False, True, False])).sources == (Path("b.jpg"),)
    assert len(samples.take([])) == 0


def test_class_order_knows_no_locale_and_no_accent_forms():
    assert class_order(["b", "Z", "a\u0308", "\u00e4", "10", "9"]) == ("10", "9", "Z", "b", "\u00e4")


def test_numbers_and_arrays():
    samples = from_lists([np.zeros((2, 2, 3), np.uint8)] * 2, [10, 9])
    assert samples.classes == ("10", "9") and samples.names == ("#0", "#1")


@pytest.mark.parametrize(
    ("labels", "groups", "said"),
    [
        (["a"], None, "one label per picture"),
        (["a", None], None, "no label"),
        (["a", float("nan")], None, "no label"),
        (["a", "a"], None, "only 1 class"),
        (["a", "b"], ["g"], "one group per picture"),
    ],
)
def test_wrong_lists(labels, groups, said):
    with pytest.raises(DataError, match=said):
        from_lists(["1.jpg", "2.jpg"], labels, groups)

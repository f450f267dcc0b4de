"""headstart: transfer learning on your own pictures.

import headstart
clf = headstart.fit("birds/")
clf.predict("photo.jpg").label
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from headstart.api import audit, backbones, cache, evaluate, fit, load, predict, result
    from headstart.classifier.classifier import Classifier
    from headstart.classifier.prediction import Prediction
    from headstart.errors import HeadstartError
    from headstart.estimator import ImageClassifier

_PLACES = {
    **dict.fromkeys(("audit", "backbones", "cache", "evaluate", "fit", "load", "predict", "result"), "headstart.api"),
    "Classifier": "headstart.classifier.classifier",
    "HeadstartError": "headstart.errors",
    "ImageClassifier": "headstart.estimator",
    "Prediction": "headstart.classifier.prediction",
}

__all__ = [
    "Classifier",
    "HeadstartError",
    "ImageClassifier",
    "Prediction",
    "audit",
    "backbones",
    "cache",
    "evaluate",
    "fit",
    "load",
    "predict",
    "result",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import headstart` costs nothing."""
    if name in _PLACES:
        from importlib import import_module

        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'headstart' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

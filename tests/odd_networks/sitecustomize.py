"""With this folder on PYTHONPATH every process knows the odd networks as soon as it imports timm, and not before."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from types import ModuleType


class AfterTimm(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if name != "timm":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("timm")
        assert spec is not None and spec.loader is not None
        run = spec.loader.exec_module

        def also(module: ModuleType) -> None:
            run(module)
            import odd_networks  # noqa: F401

        spec.loader.exec_module = also  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, AfterTimm())

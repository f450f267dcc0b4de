"""What runs a frozen backbone: its graph where there is one, else torch."""

from __future__ import annotations

from collections.abc import Sequence

from headstart.backbone.backbone import Backbone
from headstart.backbone.torch_only import graph_of
from headstart.engine.choose import choose
from headstart.engine.engine import Engine, EngineFacts
from headstart.engine.openvino import OpenVinoEngine
from headstart.engine.torch import TorchEngine


def fastest_engine(backbone: Backbone, device: str) -> tuple[Engine, EngineFacts]:
    """The fastest engine of this machine for `backbone`; waits for its graph. Raises what `choose` raises."""
    return choose(graph_of(backbone), backbone.torch_module, device)


def exact_engine(backbone: Backbone, names: Sequence[str]) -> Engine:
    """What a saved classifier runs on, whatever embedded: the processor in fp32. It gives at least the outputs `names`.

    Raises MachineError (no graph for another reason than the network), RuntimeError, ImportError (no engine).
    """
    graph = graph_of(backbone)
    return TorchEngine(backbone.torch_module) if graph is None else OpenVinoEngine(graph, names)

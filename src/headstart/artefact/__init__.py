"""The classifier folder on disk: what is in it, how it is written atomically, and what is refused when it is read."""

from headstart.artefact.document import class_list_hash
from headstart.artefact.read import DOCUMENT, MODEL, WEIGHTS, read_classifier, unpack
from headstart.artefact.record import FORMAT, Artefact, format_of
from headstart.artefact.torch_network import TorchNetwork
from headstart.artefact.write import pack, write_classifier

__all__ = [
    "DOCUMENT",
    "FORMAT",
    "MODEL",
    "WEIGHTS",
    "Artefact",
    "TorchNetwork",
    "class_list_hash",
    "format_of",
    "pack",
    "read_classifier",
    "unpack",
    "write_classifier",
]

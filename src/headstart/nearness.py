"""Nearness: how similar the pictures are to what the backbone was trained on, gathered from what is there already."""

from __future__ import annotations

import numpy as np

from headstart.backbone.backbone import Backbone
from headstart.embedding.moments import channel_moments
from headstart.howmuch.probe import Probe
from headstart.howmuch.similarity import Similarity, measure
from headstart.material import Material


def similarity_of(material: Material, backbone: Backbone, found: Probe) -> Similarity:
    """BatchNorm moments of some pictures (cached), what the discarded head says, and the gain of earlier depths."""
    embeddings = material.embeddings
    cache = None if backbone.notes else backbone.cache
    moments = channel_moments(embeddings, material.samples.sources, material.learn, backbone, cache)
    confidence = None
    if backbone.source.shape.classes:
        confidence = float(embeddings.source_top[1][material.learn, 0].astype(np.float64).mean())
    profile = found.profile
    gain = max(d.top1 for d in profile) - profile[-1].top1 if profile else None
    return measure(moments, confidence, gain, backbone.name)

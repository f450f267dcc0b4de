"""Where seeing comes from: weights, backbones, and the one graph with all depths."""

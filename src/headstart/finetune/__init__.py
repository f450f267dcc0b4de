"""Training more than the head: views, cut points, the loop. Imported only when more training is tried."""

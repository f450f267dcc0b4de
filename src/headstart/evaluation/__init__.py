"""Judging predictions: metrics, intervals, calibration, selection, findings. Numpy only."""

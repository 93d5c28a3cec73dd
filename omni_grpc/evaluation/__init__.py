"""How good routing is, on recorded answers: training, honest measurement, baselines.

Nothing that serves requests imports this room; the command line and the training script do.
"""

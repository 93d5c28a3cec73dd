"""How the weights of the task analysis are trained; `scripts/train_tasks.py` is the way in."""

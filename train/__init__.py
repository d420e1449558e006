"""Makes checkpoints: simulated rooms, datasets, distillation, training, evaluation, publication."""

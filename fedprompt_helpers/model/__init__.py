"""What is frozen, what is trained, and how: backbones, methods, the training loop, counts."""

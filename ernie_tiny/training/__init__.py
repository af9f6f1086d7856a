"""One stage, the list of stages, checkpoints and logs."""

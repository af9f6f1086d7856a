"""Examples in, predictions and scores out."""

"""Export, its parity gate, the predictor, and how fast it is."""

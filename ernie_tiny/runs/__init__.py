"""A whole run: from its config to its results, several side by side, and what is told of them."""

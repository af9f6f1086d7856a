"""YAML files into frozen, validated values. Imports neither Paddle nor anything else of the project."""

from ernie_tiny.config.load import load_config, to_yaml
from ernie_tiny.config.schema import RunConfig

__all__ = ["RunConfig", "load_config", "to_yaml"]

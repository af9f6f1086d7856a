"""Models of Hugging Face's hub by name: the folder of its cache, fetched there once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Optional

from ernie_tiny.errors import InputError, first_line
from ernie_tiny.models.families import FAMILIES
from ernie_tiny.models.weights import INDEX, WEIGHTS_FILES, has_all_weights, weights_file

NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")  # owner/name
VOCABULARIES = ("tokenizer.json", "vocab.*", "*.model")
BESIDE_WEIGHTS = ("config.json", "tokenizer_config.json", "special_tokens_map.json", "merges.txt", *VOCABULARIES)
HUB_ERRORS = (OSError, ValueError)  # of a missing network or name, an offline mode, a refused access


def is_hub_name(name: str) -> bool:
    """Whether a name is looked for on the hub: owner/name, no folder that is there, and not published by PaddleNLP."""
    published = any(name in family.published for family in FAMILIES.values())
    return NAME.fullmatch(name) is not None and not Path(name).exists() and not published


def hub_folder(name: str) -> Path:
    """The folder with a model's config.json, weights and tokenizer; of the weights' forms one is fetched.

    A cache that lacks some of it is completed; where it cannot be, it is taken as it is.

    Raises:
        InputError: it is neither in the cache nor can it be fetched, or it has no weights that can be read.
    """
    cached = _cached(name)
    if cached is not None and _is_whole(cached):
        return cached
    from huggingface_hub import list_repo_files, snapshot_download

    try:
        names = list_repo_files(name)
        chosen = next((file for file in WEIGHTS_FILES if file in names), None)
        if chosen is not None:
            parts = [f"{chosen.removesuffix(INDEX).replace('.', '*.')}"] if chosen.endswith(INDEX) else []
            return Path(snapshot_download(name, allow_patterns=[*BESIDE_WEIGHTS, chosen, *parts]))
    except HUB_ERRORS as error:
        if cached is not None and (cached / "config.json").is_file() and weights_file(cached) is not None:
            return cached
        raise InputError(
            f"{name}: cannot be fetched from Hugging Face's hub ({first_line(error)}). Give the name of a model that "
            "is there, with a network the first time, or its folder: a downloaded folder can be copied to a machine "
            "without a network."
        ) from error
    raise InputError(f"{name}: holds none of {', '.join(WEIGHTS_FILES)} on Hugging Face's hub. Take another model.")


def _cached(name: str) -> Optional[Path]:
    """The folder of the cache that holds some of a model; None where there is none."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except HUB_ERRORS:
        return None


def _is_whole(folder: Path) -> bool:
    vocabularies = [file for pattern in VOCABULARIES for file in folder.glob(pattern)]
    return (folder / "config.json").is_file() and bool(vocabularies) and has_all_weights(folder)

"""All models of a run share one vocabulary: a pretrained one's beside the run's. Without Paddle."""

from __future__ import annotations

import logging

from ernie_tiny.data.tokenizer import Tokenizer
from ernie_tiny.errors import InputError

PROBE = "A a É é 今天"  # which tokenizers of the same tokens cut otherwise if their rules differ
logger = logging.getLogger(__name__)


def compare_vocabulary(name: str, pretrained: str, its: Tokenizer, tokenizer: Tokenizer) -> None:
    """Raises an InputError for a pretrained model of another vocabulary than the run's; warns of other rules.

    It would read every text as nonsense, without an error.

    Args:
        name: The model's in the config; `its` is the tokenizer that it was trained with.
    """
    own = its.tokens
    if own != tokenizer.tokens:
        pairs = enumerate(zip([*own, "nothing"], [*tokenizer.tokens, "nothing"]))
        place, (theirs, here) = next((index, pair) for index, pair in pairs if pair[0] != pair[1])
        raise InputError(
            f"models.{name}.pretrained = {pretrained}: was trained with another vocabulary than the run's "
            f"({len(own):,} and {len(tokenizer.tokens):,} tokens; token {place} is {theirs!r} there and {here!r} "
            f"here). Set tokenizer.vocab to {pretrained}, and give no tokenizer.build_from; all models of a "
            "run share one vocabulary."
        )
    if its.encode(PROBE)[0].tolist() != tokenizer.encode(PROBE)[0].tolist():
        logger.warning(
            "models.%s.pretrained = %s: its tokenizer cuts %r otherwise than the run's, which has the same tokens: "
            "by case, accents or spaces. Set tokenizer.vocab to %s, or give both one tokenizer_config.json.",
            *(name, pretrained, PROBE, pretrained),
        )

"""A tokenizer as `transformers` opens it: tokenizer.json with the template of pairs, and its settings."""

from __future__ import annotations

import json
from pathlib import Path

import tokenizers
from tokenizers.processors import RobertaProcessing, TemplateProcessing

from ernie_tiny.data.byte_level import ByteLevelTokenizer
from ernie_tiny.data.json_tokenizer import JSON_FILE, ROLES, JsonTokenizer
from ernie_tiny.data.wordpiece import SETTINGS_FILE, Tokenizer
from ernie_tiny.files import to_json


def save_tokenizer_for_transformers(tokenizer: Tokenizer, folder: Path, max_length: int, token_types: int) -> None:
    """Writes tokenizer.json and tokenizer_config.json, which AutoTokenizer opens as a PreTrainedTokenizerFast.

    The ids are those of `tokenizer`, but for texts that hold a special token by name: transformers reads "[MASK]" in a
    text as the token, where this project has a bracket, a word and a bracket.

    Args:
        max_length: Tokens of the longest input that the model was trained for.
        token_types: How many the model has; with one, the second text of a pair has type 0 too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = [tokenizer.tokens[index] for index in tokenizer.special_ids]
    backend = tokenizers.Tokenizer.from_str(tokenizer._backend.to_str())
    backend.add_special_tokens(names)
    second = min(tokenizer.second_type, token_types - 1)
    cls, sep = tokenizer.tokens[tokenizer.cls_id], tokenizer.tokens[tokenizer.sep_id]
    if isinstance(tokenizer, ByteLevelTokenizer):
        backend.post_processor = RobertaProcessing(
            (sep, tokenizer.sep_id), (cls, tokenizer.cls_id), add_prefix_space=False
        )
    elif not isinstance(tokenizer, JsonTokenizer) or second != tokenizer.second_type:
        between = " ".join([sep] * tokenizer.separators)
        backend.post_processor = TemplateProcessing(
            single=f"{cls} $A {sep}",
            pair=f"{cls} $A {between} $B:{second} {sep}:{second}",
            special_tokens=[(cls, tokenizer.cls_id), (sep, tokenizer.sep_id)],
        )
    (folder / JSON_FILE).write_text(to_json(json.loads(backend.to_str()), indent=1), encoding="utf-8")
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_length,
        "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
        **dict(zip(ROLES, names)),
    }
    (folder / SETTINGS_FILE).write_text(to_json(settings, indent=1), encoding="utf-8")

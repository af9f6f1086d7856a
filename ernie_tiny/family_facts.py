"""Plain facts of the families of encoders, for the config, which is read without Paddle; models have the rest.

A further family is a row of FACTS here, and an object in ernie_tiny/models/families.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Optional

from ernie_tiny.errors import InputError

FIRST_TOKEN, MEAN = "cls", "mean"  # how a row becomes one vector: see ernie_tiny/models/pooling.py


@dataclass(frozen=True)
class FamilyFacts:
    """What is known of a family without building one of its encoders.

    Attributes:
        name: The key `family` of a config, and the model_type of a folder's config.json.
        title: What messages call one of its models.
        recurrent: It is no Transformer: no attention, no positions and no inner layers that a loss could compare. Of
            another model it takes the word embeddings alone, and it cannot answer the kinds that say so (KindFacts).
        refused: Keys of a config's model that it does not take, each with the reason, as the end of a sentence.
        positions_behind_padding: A text's first token takes the row of the position embedding behind that of
            pad_token_id, as in fairseq: of 514 rows with <pad> = 1 there are 512 for tokens.
        masked_tokens_by_gelu: Its head for masked tokens computes gelu whatever the config's hidden_act is.
    """

    name: str
    title: str
    recurrent: bool = False
    refused: Mapping[str, str] = field(default_factory=dict)
    positions_behind_padding: bool = False
    masked_tokens_by_gelu: bool = False

    def first_position(self, pad_token_id: int) -> int:
        """The row of the position embedding that a text's first token takes; those before it are never used."""
        return pad_token_id + 1 if self.positions_behind_padding else 0


def _transformer(name: str, title: str, **flags: bool) -> FamilyFacts:
    reason = (
        f"the word embeddings of a Transformer ({name}) have its hidden_size. Only family bilstm has a width of its "
        "own for them"
    )
    return FamilyFacts(name, title, refused={"embedding_size": reason}, **flags)


NOT_OF_A_BILSTM = {
    "pretrained": "a pretrained model brings its family with it; leave family out",
    "shape": "the published shapes are those of Transformers; give num_hidden_layers and hidden_size",
    "num_attention_heads": "it has no attention heads",
    "head_size": "it has no attention heads",
    "intermediate_size": "it has no feed-forward layers",
    "max_position_embeddings": "it has no positions and reads any length",
    "attention_probs_dropout_prob": "it has no attention between tokens",
    "pooling": "it has a pooling of its own",
    "init_layers": "it has no layers of init_from's kind and takes its word embeddings alone",
    "init_narrowed": "it takes init_from's word embeddings alone, and as they are",
}

FACTS: Mapping[str, FamilyFacts] = MappingProxyType(
    {
        facts.name: facts
        for facts in (
            _transformer("ernie", "ERNIE"),
            _transformer("bert", "BERT"),
            _transformer("roberta", "RoBERTa", positions_behind_padding=True, masked_tokens_by_gelu=True),
            _transformer("electra", "ELECTRA", masked_tokens_by_gelu=True),
            FamilyFacts(
                "bilstm",
                "BiLSTM",
                recurrent=True,
                masked_tokens_by_gelu=True,  # its config has no hidden_act
                refused={key: f"the model is a BiLSTM, and {reason}" for key, reason in NOT_OF_A_BILSTM.items()},
            ),
        )
    }
)


# Further model_types of Hugging Face's folders: the family that holds such an encoder, and the names of its keys here.
OTHER_TYPES: Mapping[str, tuple[str, Mapping[str, str]]] = MappingProxyType(
    {
        "xlm-roberta": ("roberta", {}),
        "distilbert": (  # a BERT without token types and pooler
            "bert",
            {
                "dim": "hidden_size",
                "n_layers": "num_hidden_layers",
                "n_heads": "num_attention_heads",
                "hidden_dim": "intermediate_size",
                "dropout": "hidden_dropout_prob",
                "attention_dropout": "attention_probs_dropout_prob",
                "activation": "hidden_act",
            },
        ),
    }
)
# What transformers takes where a config.json leaves a key out, and PaddleNLP or a check here would take another value
# without a word: positions behind <pad> = 0 are off by one, and other heads give other answers of the same weights.
DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {"type_vocab_size": 2, "max_position_embeddings": 512, "hidden_act": "gelu", "layer_norm_eps": 1e-12}
)
DEFAULTS_OF_FAMILY: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"roberta": {"pad_token_id": 1}, "electra": {"num_attention_heads": 4}}
)
MADE_BY_PADDLENLP = "paddlenlp_version"  # a key of the config.json of its folders
PRUNED_HEADS = "pruned_heads"  # a key of transformers: of a layer, by its number, the heads that were taken out


def common_config(config: Mapping[str, Any], place: object) -> dict[str, Any]:
    """The content of a folder's config.json with the family as model_type, and the keys called as in it.

    Of a folder of transformers with what it means where a key is left out.

    Args:
        place: What an error calls the folder.
    Raises:
        InputError: heads were pruned, and not as many in each layer.
    """
    if MADE_BY_PADDLENLP in config:
        return dict(config)
    kind = config.get("model_type") or _of_class(config.get("architectures"))
    family, names = OTHER_TYPES.get(str(kind), (kind, {}))
    defaults = {**DEFAULTS, **DEFAULTS_OF_FAMILY.get(str(family), {}), **({"type_vocab_size": 1} if names else {})}
    named = {names.get(key, key): value for key, value in config.items()}
    return _with_heads_left({**defaults, **named, "model_type": family}, place)


def heads_of_transformers(num_hidden_layers: int, hidden_size: int, heads: int, size: int) -> dict[str, Any]:
    """The keys by which a config.json of transformers (4) says that fewer heads are left than fill hidden_size.

    It numbers the heads that there were, of which these are the first, and knows no size but hidden_size over their
    number, so `size` has to divide hidden_size.
    """
    before = hidden_size // size
    gone = {str(layer): list(range(heads, before)) for layer in range(num_hidden_layers)}
    return {"num_attention_heads": before, PRUNED_HEADS: gone}


def _with_heads_left(config: Mapping[str, Any], place: object) -> dict[str, Any]:
    """A config.json of transformers with the number and the size of the heads that are left of those it numbers."""
    kept, gone = {key: value for key, value in config.items() if key != PRUNED_HEADS}, config.get(PRUNED_HEADS)
    if not gone:
        return kept
    try:
        before, layers = int(config["num_attention_heads"]), int(config["num_hidden_layers"])
        left = {before - len(set(heads)) for heads in gone.values()} | ({before} if len(gone) < layers else set())
        (heads,), size = left, int(config["hidden_size"]) // before
    except (AttributeError, LookupError, TypeError, ValueError, ZeroDivisionError):
        raise InputError(
            f"{place}: {PRUNED_HEADS} = {str(gone)[:80]} in its config.json: here all layers have as many heads. Prune "
            "as many in each layer."
        ) from None
    return {**kept, "num_attention_heads": heads, "head_size": size}


def facts_of_folder(config: Mapping[str, Any], place: object) -> FamilyFacts:
    """The facts of the family that a folder's config.json names.

    Args:
        config: The content of the config.json.
        place: What an error calls the folder.
    Raises:
        InputError: it names none of FACTS; as of `common_config`.
    """
    family = common_config(config, place).get("model_type") or _of_class(config.get("architectures"))
    if family not in FACTS:
        named = "names no model_type" if family is None else f"names the model_type {family!r}"
        raise InputError(
            f"{place}: its config.json {named}, and models of that kind cannot be used here: their inputs, outputs or "
            f"layers are others. Families that can: {', '.join(FACTS)}."
        )
    return FACTS[str(family)]


def _of_class(architectures: Any) -> Optional[str]:
    """The family of a class's name, as older folders have it alone: "bert" of ["BertForMaskedLM"]."""
    first = architectures[0] if isinstance(architectures, list) and architectures else None
    found = re.match(r"(\w+?)(Model|For)", first) if isinstance(first, str) else None
    return found[1].lower() if found else None

"""A model's folder with a vocabulary cut to the texts that it is for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ernie_tiny.config.schema import RunConfig
from ernie_tiny.data.task import UNLABELLED
from ernie_tiny.data.tokenizer import load_tokenizer
from ernie_tiny.data.used_tokens import used_tokens
from ernie_tiny.errors import InputError
from ernie_tiny.files import whole_folder
from ernie_tiny.kinds.read import read_split
from ernie_tiny.models.backbone import count_embedding_parameters, count_parameters
from ernie_tiny.models.multitask import load_model, save_model
from ernie_tiny.models.pruning import prune_vocabulary
from ernie_tiny.training.tasks import task_specs


def task_texts(run: RunConfig) -> Iterator[str]:
    """The texts that all tasks of a run are trained on, labelled or not, candidates included."""
    for spec in task_specs(run).values():
        for split in filter(spec.files_of, ("train", UNLABELLED)):
            for example in read_split(spec, Path(run.data.root), split).examples:
                yield from (*example.texts, *example.candidates)


def prune_folder(source: Path, target: Path, texts: Iterable[str], min_count: int) -> str:
    """Writes a model with the tokens that the texts need, its heads and its vocabulary; returns the sizes in words.

    Args:
        source: Folder with a model and its vocabulary.
        target: A new folder, which `pretrained` in a config can name.
        min_count: That of used_tokens.
    Raises:
        InputError: the target is there, the source is no model's folder, its vocabulary is not the model's, or there
            are no texts.
    """
    if target.exists():
        raise InputError(f"{target}: is there already. Name a folder that is not.")
    tokenizer, model = load_tokenizer(source), load_model(str(source))
    rows = model.encoder.config.vocab_size
    if tokenizer.vocab_size > rows:
        raise InputError(
            f"{source}: the vocabulary holds {tokenizer.vocab_size} tokens and the model's embeddings "
            f"{rows}. Put the vocabulary there that the model was trained with."
        )
    kept = used_tokens(texts, tokenizer, min_count)
    if len(kept) == len(tokenizer.special_ids):
        raise InputError("the texts hold no token of the vocabulary. Give files with text, or a config with tasks.")
    smaller, pruned = tokenizer.keep(kept), prune_vocabulary(model, kept)
    with whole_folder(target) as partial:
        save_model(pruned, partial)
        smaller.save(partial)
    sizes = [
        f"{count_parameters(encoder) / 1e6:.2f} M parameters ({count_embedding_parameters(encoder) / 1e6:.2f} M "
        "embeddings)"
        for encoder in (model.encoder, pruned.encoder)
    ]
    return f"{rows:,} to {len(kept):,} tokens, {sizes[0]} to {sizes[1]}"

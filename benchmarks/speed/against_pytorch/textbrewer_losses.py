"""TextBrewer's objective of the case task, in place of the losses of theirs.py.

Its GeneralDistiller, with the losses of its own that come nearest. It differs from the others' objective in this:
attention is compared behind the softmax, as transformers puts it out, and not before it; the soft term is the cross
entropy, which the teacher's entropy lifts above the divergence. So its losses are not those of the other sides.
Its own projections start at random and add a bias: those of the case stand in for them. A forward pass is
transformers' own, whose attentions only the eager kernel puts out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable


def package() -> Any:
    """The package textbrewer; where it cannot be imported, one line ends the process."""
    try:
        import textbrewer
    except ImportError as error:
        raise SystemExit(
            f"the side textbrewer needs the packages textbrewer and tensorboardX (or tensorboard): {error}"
        ) from None
    return textbrewer


def losses(
    case: Mapping[str, Any], student: Any, teacher: Any, projections: Sequence[Any]
) -> Callable[[Mapping[str, Any], str], Any]:
    """A function that gives the loss of a batch of a task: a scalar with its graph.

    Ends the process with one line where textbrewer cannot be imported.
    """
    brewer = package()
    pairs = case["pairs"]
    distiller = brewer.GeneralDistiller(
        brewer.TrainingConfig(device="cpu", output_dir="."),
        brewer.DistillationConfig(
            temperature=1.0,
            kd_loss_type="ce",
            kd_loss_weight=1.0,
            hard_label_weight=1.0,
            intermediate_matches=matches(pairs, case["heads"]["student"]),
        ),
        _outputs(teacher),
        _outputs(student),
        _adapted,
        _adapted,
    )
    distiller.projs = [*projections, *(None for _ in pairs)]  # by match

    def loss_of(batch: Mapping[str, Any], task: str) -> Any:
        loss, _ = distiller.train_on_batch(dict(batch), {"task": task})
        return loss

    return loss_of


def matches(pairs: Sequence[Sequence[int]], heads: int) -> list[dict[str, Any]]:
    """Hidden states of all pairs (student's layer, teacher's layer), then attention; each kind's mean has weight 1.

    TextBrewer's error of attention is summed over the heads.
    """
    kinds = (("hidden", "hidden_mse", 1 / len(pairs)), ("attention", "attention_mse", 1 / (len(pairs) * heads)))
    return [
        {"feature": feature, "loss": loss, "weight": weight, "layer_S": own, "layer_T": other}
        for feature, loss, weight in kinds
        for own, other in pairs
    ]


def _outputs(model: Any) -> Callable[..., tuple[Any, Any]]:
    """What the distiller calls with a batch: the logits of a task, and the encoder's outputs."""

    def forward(input_ids: Any, token_type_ids: Any, attention_mask: Any, labels: Any, task: str) -> tuple[Any, Any]:
        found = model.encoder(
            input_ids, attention_mask, token_type_ids, output_hidden_states=True, output_attentions=True
        )
        return model.heads[task](found.pooler_output), found

    return forward


def _adapted(batch: Mapping[str, Any], outputs: tuple[Any, Any]) -> dict[str, Any]:
    """What TextBrewer compares, by its names."""
    from torch.nn import functional as F

    logits, found = outputs
    return {
        "logits": logits,
        "losses": F.cross_entropy(logits, batch["labels"]),
        "hidden": found.hidden_states[1:],  # the first is the embeddings
        "attention": found.attentions,
        "inputs_mask": batch["attention_mask"],
    }

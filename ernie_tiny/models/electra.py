"""ELECTRA's discriminator (arXiv 2003.10555): a BERT whose embeddings may be narrower than its layers."""

from __future__ import annotations

import copy
from typing import Any, Optional

from paddle import Tensor, nn
from paddlenlp.transformers import BertConfig, BertModel
from paddlenlp.transformers.bert.modeling import BertEmbeddings


class ElectraConfig(BertConfig):
    """BERT's numbers and embedding_size, the width of the embeddings; by default hidden_size."""

    model_type = "electra"

    def __init__(self, embedding_size: Optional[int] = None, **others: Any) -> None:
        super().__init__(**others)
        self.embedding_size = embedding_size or self.hidden_size


class ElectraEmbeddings(BertEmbeddings):
    """BERT's embeddings, projected to the width of the layers where theirs is another.

    PaddleNLP and transformers project outside of the embeddings; here their output is what the first layer reads, as
    in every other family.
    """

    def __init__(self, config: ElectraConfig) -> None:
        tables = copy.copy(config)
        tables.hidden_size = config.embedding_size
        super().__init__(tables)
        narrower = config.embedding_size != config.hidden_size
        self.project = nn.Linear(config.embedding_size, config.hidden_size) if narrower else None

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        """int64 [rows, length] to [rows, length, hidden_size]."""
        embedded = super().forward(*inputs, **named)
        return embedded if self.project is None else self.project(embedded)


class ElectraModel(BertModel):
    """The discriminator without its head; its pooler is this project's, since ELECTRA has none."""

    config_class = ElectraConfig
    base_model_prefix = "electra"

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        self.embeddings = ElectraEmbeddings(config)

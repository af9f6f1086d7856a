"""A bidirectional LSTM with the face of PaddleNLP's encoders: the small student of MKD (arXiv 1911.03588)."""

from __future__ import annotations

from typing import Any

import paddle
from paddle import Tensor, nn
from paddlenlp.transformers import PretrainedConfig, PretrainedModel

EXCLUDED_SCORE = -1.0e4  # low enough to be 0 after a softmax, in range of float16


class BiLstmConfig(PretrainedConfig):
    """The numbers that fix a BiLSTM encoder; hidden_size is the width of both directions together.

    With sep_token_id the second text of a pair begins behind the first such token; without, token type 1 marks it.
    """

    model_type = "bilstm"
    max_position_embeddings = None  # it has no positions: inputs may be of any length

    def __init__(
        self,
        vocab_size: int = 40000,
        embedding_size: int = 300,
        hidden_size: int = 300,
        num_hidden_layers: int = 1,
        type_vocab_size: int = 2,
        hidden_dropout_prob: float = 0.1,
        initializer_range: float = 0.02,
        **others: Any,
    ) -> None:
        super().__init__(**others)
        self.vocab_size = vocab_size
        self.embedding_size = embedding_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.type_vocab_size = type_vocab_size
        self.hidden_dropout_prob = hidden_dropout_prob
        self.initializer_range = initializer_range


class BiLstmModel(PretrainedModel):
    """Embeddings, a stack of bidirectional LSTMs, and one vector for the input, a text or a pair.

    Tang et al. (arXiv 1903.12136) with MKD v1's attention in place of the last state. The two texts of a pair are
    read one after the other, as the rows of this project hold them, and pooled apart.
    """

    config_class = BiLstmConfig
    base_model_prefix = "bilstm"

    def __init__(self, config: BiLstmConfig) -> None:
        super().__init__(config)
        self.embeddings = BiLstmEmbeddings(config)
        self.encoder = BiLstmStack(config)
        self.pooling = SegmentPooling(config.hidden_size)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """The output at every token and that of the whole input.

        Args:
            input_ids, token_type_ids: int64 [rows, length].
            attention_mask: int64 [rows, length], 1 for a token, 0 for padding, which stands behind the tokens.
        Returns:
            [rows, length, hidden_size], 0 at padding, and [rows, hidden_size].
        """
        embedded = self.embeddings(input_ids, token_type_ids)
        sequence = self.encoder(embedded, attention_mask.sum(axis=-1))
        second = token_type_ids.astype("bool")
        if self.config.sep_token_id is not None:
            separators = (input_ids == self.config.sep_token_id).astype("int64")
            second = separators.cumsum(axis=-1) > separators
        return sequence, self.pooling(sequence, second, attention_mask)


class BiLstmEmbeddings(nn.Layer):
    """The sum of word and token-type embeddings, normalised, with dropout.

    The norm is ERNIE's: it gives an LSTM inputs of one scale, whether the embeddings are copied or random.
    """

    def __init__(self, config: BiLstmConfig) -> None:
        super().__init__()
        initializer = paddle.ParamAttr(initializer=nn.initializer.Normal(std=config.initializer_range))
        self.word_embeddings = nn.Embedding(config.vocab_size, config.embedding_size, weight_attr=initializer)
        self.token_type_embeddings = nn.Embedding(
            config.type_vocab_size, config.embedding_size, weight_attr=initializer
        )
        self.layer_norm = nn.LayerNorm(config.embedding_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor) -> Tensor:
        """int64 [rows, length] twice to [rows, length, embedding_size]."""
        embedded = self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids)
        return self.dropout(self.layer_norm(embedded))


class BiLstmStack(nn.Layer):
    """Bidirectional LSTMs on top of each other, with dropout between them."""

    def __init__(self, config: BiLstmConfig) -> None:
        super().__init__()
        widths = [config.embedding_size, *[config.hidden_size] * (config.num_hidden_layers - 1)]
        self.layers = nn.LayerList(
            [nn.LSTM(width, config.hidden_size // 2, direction="bidirectional") for width in widths]
        )
        for layer in self.layers:
            del layer[0]  # its cells, which hold every weight a second time under another name
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """[rows, length, embedding_size] to [rows, length, hidden_size]; what lies behind a row's length is 0."""
        for index, layer in enumerate(self.layers):
            hidden, _ = layer(self.dropout(hidden) if index else hidden, sequence_length=lengths)
        return hidden


class SegmentPooling(nn.Layer):
    """One vector for the input: attention within each text, then a comparison of the two.

    Attention: a_t = softmax_t(q . tanh(W h_t + b)) over the tokens of one text, u = sum_t a_t h_t (Yang et al., NAACL
    2016, eq. 5 to 7). Comparison: tanh(C [u; v; |u - v|; u * v] + c), u of the first text and v of the second
    (features of arXiv 1903.12136, section 3.1); v = 0 where there is no second text.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.attention = nn.Linear(hidden_size, hidden_size)
        self.query = nn.Linear(hidden_size, 1, bias_attr=False)
        self.comparison = nn.Linear(4 * hidden_size, hidden_size)

    def forward(self, sequence: Tensor, second: Tensor, attention_mask: Tensor) -> Tensor:
        """[rows, length, hidden_size] to [rows, hidden_size]; `second`, bool [rows, length]: of the second text."""
        scores = self.query(paddle.tanh(self.attention(sequence))).transpose([0, 2, 1])
        texts = paddle.stack([~second, second], axis=1) & attention_mask.astype("bool").unsqueeze(1)
        scores = paddle.where(texts, scores, paddle.full_like(scores, EXCLUDED_SCORE))  # [rows, 2, length]
        weights = nn.functional.softmax(scores, axis=-1) * texts.astype(scores.dtype)
        first, second = paddle.matmul(weights, sequence).unbind(axis=1)
        features = paddle.concat([first, second, paddle.abs(first - second), first * second], axis=-1)
        return paddle.tanh(self.comparison(features))

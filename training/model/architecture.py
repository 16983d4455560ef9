"""Architecture: every number needed to build an encoder before its weights are known."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig

from training.errors import CheckpointError, TeacherError

# Plain products: on texts as short as these, going back through torch's fused attention in bfloat16
# takes a processor several times as long.
ATTENTION = "eager"
FAMILIES = ("bert", "roberta", "xlm-roberta", "camembert")


@dataclass(frozen=True)
class Architecture:
    """Describe the backbone and the layers on top of it."""

    family: str
    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int
    token_types: int
    activation: str
    layer_norm_eps: float
    pad_id: int
    dropout: float
    dim: int
    query_width: int
    topics: int

    @property
    def max_tokens(self) -> int:
        """Return how many tokens a text may have: RoBERTa's positions follow the padding's."""
        return self.positions - (0 if self.family == "bert" else self.pad_id + 1)

    def with_layers(self, layers: int) -> Architecture:
        """Return the same architecture at another depth."""
        return dataclasses.replace(self, layers=layers)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Architecture:
        """Read a JSON object; missing or unknown fields raise CheckpointError."""
        try:
            return Architecture(**values)
        except TypeError as error:
            raise CheckpointError(f"architecture: {error}") from error


def architecture_of(
    config: PreTrainedConfig, *, dim: int, query_width: int, topics: int
) -> Architecture:
    """Read the architecture out of a transformers configuration."""
    if config.model_type not in FAMILIES:
        raise TeacherError(
            f"teacher of family {config.model_type!r}: only {', '.join(FAMILIES)} are supported"
        )
    return Architecture(
        family=config.model_type,
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        intermediate=config.intermediate_size,
        vocabulary=config.vocab_size,
        positions=config.max_position_embeddings,
        token_types=config.type_vocab_size,
        activation=config.hidden_act,
        layer_norm_eps=config.layer_norm_eps,
        pad_id=config.pad_token_id or 0,
        dropout=config.hidden_dropout_prob,
        dim=dim,
        query_width=query_width,
        topics=topics,
    )


def build_backbone(architecture: Architecture) -> nn.Module:
    """Build the transformer with random weights and without the original pooler."""
    config = AutoConfig.for_model(
        architecture.family,
        num_hidden_layers=architecture.layers,
        hidden_size=architecture.hidden,
        num_attention_heads=architecture.heads,
        intermediate_size=architecture.intermediate,
        vocab_size=architecture.vocabulary,
        max_position_embeddings=architecture.positions,
        type_vocab_size=architecture.token_types,
        hidden_act=architecture.activation,
        layer_norm_eps=architecture.layer_norm_eps,
        pad_token_id=architecture.pad_id,
        hidden_dropout_prob=architecture.dropout,
        attention_probs_dropout_prob=architecture.dropout,
    )
    backbone: nn.Module = AutoModel.from_config(  # type: ignore[no-untyped-call]  # transformers
        config, add_pooling_layer=False, attn_implementation=ATTENTION
    )
    return backbone

"""Sentence folder: the news encoder in files that `SentenceTransformer(FOLDER)` loads as it is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.numpy import save
from tokenizers import Tokenizer

from contract.bundle_folder import replace_whole
from export.checks import check_paths
from export.folder import require_replaceable
from export.gated_layers import gated_layers
from export.package import require_rows, without_folders
from export.parameters import Linear, news_parameters
from export.sentence_card import sentence_card
from export.sentence_check import require_same_vectors
from training.checkpoint import StudentCheckpoint
from training.model import Student

# By this file an earlier export is known as ours; sentence-transformers does not read it.
MARK = "newsbert.json"
FORMAT = 1
# The first release whose Dense works on tokens.
REQUIRES = ">=5.4"
# The one package that has kept all four names since then; a class outside of it would be code that
# a user has to trust (`trust_remote_code`).
MODULES = "sentence_transformers.sentence_transformer.modules"
# In their order: the transformer lies in the folder itself.
STAGES = {
    "": "Transformer",
    "1_Dense": "Dense",
    "2_Dense": "Dense",
    "3_Pooling": "Pooling",
    "4_Normalize": "Normalize",
}
# transformers loads no file whose metadata does not say so.
METADATA = {"format": "pt"}


@dataclass(frozen=True)
class SentenceFolder:
    """What was written: its size, and the least cosine of a vector with the checkpoint's."""

    size_bytes: int
    least_cosine: float


def export_sentence_folder(checkpoint: StudentCheckpoint, target: Path) -> SentenceFolder:
    """Write the folder; one that encodes otherwise raises VectorsDiffer and is not put there."""
    files = sentence_files(checkpoint)
    target = target.resolve()
    require_replaceable(target, files, mark=MARK)
    least = replace_whole(
        target, files, check=lambda folder: require_same_vectors(folder, checkpoint)
    )
    return SentenceFolder(sum(map(len, files.values())), least)


def sentence_files(checkpoint: StudentCheckpoint) -> dict[str, bytes]:
    """Make every file by name: stock modules only, weights as safetensors."""
    require_rows(checkpoint)
    plain = without_folders(checkpoint)
    described = {
        "config.json": _json(_backbone(plain.model)),
        "tokenizer.json": plain.tokenizer_json,
        "tokenizer_config.json": _json(_tokenizer(plain)),
        "sentence_bert_config.json": _json(_transformer(plain)),
        "config_sentence_transformers.json": _json(_settings()),
        "modules.json": _json(_modules()),
        "3_Pooling/config.json": _json(_pooling(plain)),
        "4_Normalize/config.json": _json({}),
        "README.md": sentence_card(plain, requires=REQUIRES),
        MARK: _json(_origin(plain)),
    }
    check_paths(described)
    return {**described, **_weights(plain)}


def _weights(checkpoint: StudentCheckpoint) -> dict[str, bytes]:
    student = checkpoint.model
    parameters = news_parameters(student, max_tokens=checkpoint.spec.max_tokens)
    first, second = gated_layers(parameters.pooling, parameters.dense)
    backbone = {
        name: parameter.detach().float().cpu().contiguous().numpy()
        for name, parameter in student.news_encoder.backbone.named_parameters()
    }
    return {
        "model.safetensors": save(backbone, METADATA),
        **_dense("1_Dense", first),
        **_dense("2_Dense", second),
    }


def _dense(folder: str, layer: Linear) -> dict[str, bytes]:
    outputs, inputs = layer.weight.shape
    settings = {
        "in_features": inputs,
        "out_features": outputs,
        "bias": True,
        "activation_function": "torch.nn.modules.activation.GLU",
        "module_input_name": "token_embeddings",
        "module_output_name": "token_embeddings",
    }
    weights = {"linear.weight": layer.weight, "linear.bias": layer.bias}
    return {
        f"{folder}/config.json": _json(settings),
        f"{folder}/model.safetensors": save(weights, METADATA),
    }


def _backbone(student: Student) -> dict[str, Any]:
    # Any: every backbone has its configuration, but nn.Module cannot say so.
    backbone: Any = student.news_encoder.backbone
    described: dict[str, Any] = backbone.config.to_diff_dict()
    return {**described, "architectures": [type(backbone).__name__], "dtype": "float32"}


def _tokenizer(checkpoint: StudentCheckpoint) -> dict[str, Any]:
    known = Tokenizer.from_buffer(checkpoint.tokenizer_json)
    pad_id = checkpoint.tokenizer().pad_id
    return {
        # It takes tokenizer.json as it is; a family's own class would build another one.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": checkpoint.spec.max_tokens,
        # The model was trained without token types.
        "model_input_names": ["input_ids", "attention_mask"],
        "pad_token": known.id_to_token(pad_id),
        # What is declared is found in texts as well, which it must not be unless it was before.
        "split_special_tokens": pad_id not in known.get_added_tokens_decoder(),
        "padding_side": "right",
        "truncation_side": "right",
        "clean_up_tokenization_spaces": False,
    }


def _transformer(checkpoint: StudentCheckpoint) -> dict[str, Any]:
    return {
        "max_seq_length": checkpoint.spec.max_tokens,
        "do_lower_case": False,
        # The original pooler was never trained: without this a random one would be added.
        "model_kwargs": {"add_pooling_layer": False},
    }


def _settings() -> dict[str, Any]:
    return {
        "model_type": "SentenceTransformer",
        "prompts": {},
        "default_prompt_name": None,
        "similarity_fn_name": "cosine",
        "requirements": {"sentence-transformers": REQUIRES},
    }


def _modules() -> list[dict[str, Any]]:
    return [
        {"idx": number, "name": str(number), "path": path, "type": f"{MODULES}.{name}"}
        for number, (path, name) in enumerate(STAGES.items())
    ]


def _pooling(checkpoint: StudentCheckpoint) -> dict[str, Any]:
    dim = checkpoint.model.architecture.dim
    return {"embedding_dimension": dim, "pooling_mode": "mean", "include_prompt": True}


def _origin(checkpoint: StudentCheckpoint) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "text": checkpoint.spec.model_dump(mode="json"),
        "provenance": checkpoint.provenance,
        "metrics": checkpoint.metrics,
    }


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()

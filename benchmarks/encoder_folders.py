"""The same weights in the form that each package opens, all from the project's own exporters."""

import json
import logging
from pathlib import Path
from tempfile import TemporaryDirectory

from contract.bundle import NEWS_ENCODER, TOKENIZER, Bundle, Facts, write_bundle
from contract.mind import read_folder
from contract.tokens import TextTokenizer
from export.graph import news_encoder_graph
from export.package import export_bundle
from export.parameters import news_parameters
from export.parity import ParityBudget
from export.precision import Float32
from training.checkpoint import StudentCheckpoint

# A student that is cut to be timed ranks nothing: only how near int8 is to float32 counts.
CUT_BUDGET = ParityBudget(auc_drop=1.0, ndcg10_drop=1.0)
INPUTS = {"ids": "input_ids", "mask": "attention_mask"}


def float_graph(checkpoint: StudentCheckpoint) -> bytes:
    """Return the news encoder in float32, as the exporter measures it."""
    return news_encoder_graph(
        news_parameters(checkpoint.model, max_tokens=checkpoint.spec.max_tokens), Float32()
    )


def dynamic_int8(graph: bytes) -> bytes:
    """Quantise a graph with ONNX Runtime's own tool, as its page shows it: one scale a tensor."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(graph)
        # Without a default type it infers shapes first, which fails at the fused nodes.
        extra = {"DefaultTensorType": onnx.TensorProto.FLOAT}
        # It asks for its own pre-processing, which fails there as well.
        logging.disable(logging.WARNING)
        try:
            quantize_dynamic(source, target, weight_type=QuantType.QInt8, extra_options=extra)
        finally:
            logging.disable(logging.NOTSET)
        return target.read_bytes()


def write_fastembed_folder(
    folder: Path, graph: bytes, tokenizer_json: bytes, max_tokens: int
) -> Path:
    """Write a folder that fastembed takes as a custom model; inputs get the names that it feeds."""
    import onnx

    model = onnx.load_model_from_string(graph)
    for value in model.graph.input:
        value.name = INPUTS[value.name]
    for node in model.graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = INPUTS.get(name, name)
    tokenizer = TextTokenizer(tokenizer_json, max_tokens)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    (folder / "tokenizer.json").write_bytes(tokenizer_json)
    (folder / "config.json").write_text(json.dumps({"pad_token_id": tokenizer.pad_id}), "utf-8")
    settings = {"model_max_length": max_tokens, "pad_token": "[PAD]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    return folder


def write_teacher_folder(folder: Path, source: str, max_tokens: int) -> Path:
    """Write the teacher for sentence-transformers, cut where the students are."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(source, device="cpu")
    model.max_seq_length = max_tokens
    model.save(str(folder), create_model_card=False)
    return folder


def write_float_bundle(folder: Path, checkpoint: StudentCheckpoint, shipped: Bundle) -> Path:
    """Write a bundle for our runner with a float32 graph; everything else of it is the shipped."""
    architecture = checkpoint.model.architecture
    facts = Facts(
        dim=architecture.dim,
        layers=architecture.layers,
        topics=architecture.topics,
        text=checkpoint.spec,
        quality={},
        provenance={},
    )
    own = {NEWS_ENCODER: float_graph(checkpoint), TOKENIZER: checkpoint.tokenizer_json}
    write_bundle(folder, {**shipped.files, **own}, facts)
    return folder


def write_cut_bundle(folder: Path, checkpoint: StudentCheckpoint, samples: Path) -> Path:
    """Export a student that is cut for timing; a cosine over the budget raises ParityExceeded."""
    material = read_folder(samples)
    export_bundle(checkpoint, dev=material, samples=material, target=folder, budget=CUT_BUDGET)
    return folder

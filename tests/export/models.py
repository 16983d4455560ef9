"""Build tiny students with lively random weights, and run graphs on random texts."""

from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from contract.article import Impression
from contract.encoder import BundleEncoder, open_session
from contract.evaluation import rank_impressions
from contract.mind import MindFolder
from contract.text import TextSpec
from contract.tokens import Tokens
from export.calibration import calibration_rows, measure_reach
from export.graph import news_encoder_graph
from export.nodes import Nodes
from export.package import Graphs, build_graphs, draft
from export.parameters import Array, Linear, news_parameters
from export.precision import Float32, Precision, add_bias
from export.quantize import saturation_free
from export.reference import TorchReference
from export.static_scales import StaticInt8, with_static_scales
from tests.builders import WORDS, a_catalogue, a_tokenizer_json
from training.checkpoint import StudentCheckpoint
from training.model import Architecture, Student, build_student

VOCABULARY, MAX_TOKENS = 160, 16
PAD_IDS = {"bert": 0, "roberta": 1, "xlm-roberta": 1, "camembert": 1}


def an_architecture(**fields: Any) -> Architecture:
    """Describe a BERT of two layers of width 16 unless told otherwise."""
    defaults = Architecture(
        family="bert",
        layers=2,
        hidden=16,
        heads=2,
        intermediate=32,
        vocabulary=VOCABULARY,
        positions=MAX_TOKENS + 4,
        token_types=2,
        activation="gelu",
        layer_norm_eps=1e-5,
        pad_id=PAD_IDS[fields.get("family", "bert")],
        dropout=0.0,
        dim=8,
        query_width=6,
        topics=len(WORDS),
    )
    return replace(defaults, **fields)


def a_student(**fields: Any) -> Student:
    """Build a student none of whose parameters is at its start value.

    One channel is far wider than the others, as in pretrained encoders: that is what makes
    activations hard to quantise. Attention is not at its ends, where rounding turns it over.
    """
    torch.manual_seed(0)
    student = build_student(an_architecture(**fields)).eval()
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            spread = 0.3 if parameter.dim() > 1 else 0.1
            start = 1.0 if name.endswith("LayerNorm.weight") else 0.0
            parameter.copy_(start + spread * torch.randn(parameter.shape))
            if name.endswith("LayerNorm.weight"):
                parameter[3] = 12.0
            if name.endswith(("self.query.weight", "self.key.weight")):
                parameter.mul_(0.5)
        student.click_model.scale.fill_(5.0)
    return student


def a_checkpoint(**fields: Any) -> StudentCheckpoint:
    """Build a checkpoint with a word tokenizer and four topics."""
    return StudentCheckpoint(
        model=a_student(**fields),
        spec=TextSpec(max_tokens=MAX_TOKENS, history=10),
        tokenizer_json=a_tokenizer_json(),
        topics=list(WORDS),
        provenance={"teacher": "a-teacher", "data_sha256": {"train/news.tsv": "0" * 64}},
        metrics={
            "teacher": {
                "recommendation": {"auc": 0.7, "mrr": 0.3, "ndcg5": 0.3, "ndcg10": 0.4},
                "topics": {"mind": {"accuracy": 0.75, "macro_f": None, "texts": 40}},
                "search": {"recall10": 0.5, "queries": 20},
            }
        },
    )


def a_folder(impressions: int = 60) -> MindFolder:
    """Build 40 articles and readers with six clicks each who see five candidates."""
    random = np.random.default_rng(3)
    articles = a_catalogue(40)
    shown = []
    for number in range(impressions):
        ids = [f"N{i}" for i in random.permutation(40)[:11]]
        clicks = (True, False, False, False, False)
        shown.append(Impression(str(number), "U1", None, tuple(ids[:6]), tuple(ids[6:]), clicks))
    return MindFolder(articles, shown)


def a_clear_folder(checkpoint: StudentCheckpoint) -> MindFolder:
    """Keep each impression's best and worst candidate by the model, one or the other clicked.

    Tiny models have nearly tied scores, whose order any rounding turns; these are far apart, so a
    sound export keeps the parity budget on any processor.
    """
    folder = a_folder()
    click_model = checkpoint.model.click_model.to_contract()
    scores = rank_impressions(folder, TorchReference(checkpoint), click_model, checkpoint.spec)
    shown = []
    for number, (impression, score) in enumerate(zip(folder.impressions, scores, strict=True)):
        ends = (int(np.argmax(score)), int(np.argmin(score)))
        candidates = tuple(impression.candidates[i] for i in ends)
        clicks = (number % 3 > 0, number % 3 == 0)
        shown.append(replace(impression, candidates=candidates, clicks=clicks))
    return MindFolder(folder.articles, shown)


def static_graphs(checkpoint: StudentCheckpoint) -> Graphs:
    """Build what ships, calibrated on the samples that tests export with."""
    return build_graphs(checkpoint, calibration=calibration_rows(checkpoint, a_folder()))


def a_contested_folder(checkpoint: StudentCheckpoint) -> MindFolder:
    """Keep pairs of candidates that int8 orders otherwise than torch, the one torch likes clicked.

    No sound export is over the parity budget on its own clicks; on these every one is.
    """
    folder = a_folder(impressions=200)
    encoder = BundleEncoder(draft(checkpoint, static_graphs(checkpoint).shipped))
    click_model, spec = encoder.click_model, checkpoint.spec
    torch_scores = rank_impressions(folder, TorchReference(checkpoint), click_model, spec)
    int8_scores = rank_impressions(folder, encoder, click_model, spec)
    contested = [
        replace(shown, candidates=(shown.candidates[i], shown.candidates[j]), clicks=(True, False))
        for shown, a, b in zip(folder.impressions, torch_scores, int8_scores, strict=True)
        for i, j in permutations(range(len(a)), 2)
        if a[i] > a[j] and b[i] < b[j]
    ]
    return MindFolder(folder.articles, contested)


def a_graph(student: Student, precision: Precision) -> bytes:
    """Build a student's news encoder, calibrated on random texts if it has static scales."""
    parameters = news_parameters(student, max_tokens=MAX_TOKENS)
    if isinstance(precision, StaticInt8):
        parameters = with_static_scales(parameters, measure_reach(student, some_rows()))
    return news_encoder_graph(parameters, precision)


def some_tokens(batch: int, length: int, *, pad_id: int = 0, seed: int = 0) -> Tokens:
    """Draw texts of every length up to `length`, padded; the first is the longest."""
    random = np.random.default_rng(seed)
    ids = random.integers(4, VOCABULARY, (batch, length))
    lengths = random.integers(1, length + 1, batch)
    lengths[0] = length
    mask = (np.arange(length) < lengths[:, None]).astype(np.int64)
    return Tokens(np.where(mask > 0, ids, pad_id), mask)


def some_rows(count: int = 48) -> list[list[int]]:
    """Draw token ids of texts of any length."""
    tokens = some_tokens(count, MAX_TOKENS)
    return [ids[mask > 0].tolist() for ids, mask in zip(tokens.ids, tokens.mask, strict=True)]


def run(graph: bytes, **feeds: NDArray[Any]) -> list[Array]:
    """Run a graph once: all outputs."""
    outputs: list[Array] = open_session(graph).run(None, feeds)
    return outputs


class PlainDynamicInt8(Float32):
    """What is usual and what the project must not ship: one activation scale for a whole batch."""

    def per_token(
        self, nodes: Nodes, x: str, *parts: Linear, lowest: float | None = None
    ) -> list[str]:
        """Multiply with a scale over all of x."""
        results = []
        for part in parts:
            levels, scales = saturation_free(part.weight)
            constants = nodes.constant(levels), nodes.constant(scales)
            product = nodes.add_fused("DynamicQuantizeMatMul", x, *constants)
            results.append(add_bias(nodes, product, part.bias))
        return results

"""Averaging: a share of the encoder as it was before click training goes into what ships.

A thousand clicks teach an encoder what was popular and cost it some of what words mean; the mean of
the weights before and after keeps most of both (WiSE-FT, Wortsman et al., CVPR 2022).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from training.files import write_tensors
from training.model.student import Student


def backbone_before_clicks(student: Student, path: Path) -> dict[str, Tensor]:
    """Return the transformer's parameters as they were when click training began.

    The first call writes them to `path`; a resumed run reads them back from there.
    """
    if not path.exists():
        write_tensors(path, _parameters(student), {})
    return load_file(path)


def averaged(student: Student, before: Mapping[str, Tensor], kept_share: float) -> Student:
    """Return a copy whose transformer is `kept_share` of `before` and the rest of its own.

    Pooling and the dense layer stay: the teacher shares them.
    """
    mixed = copy.deepcopy(student)
    with torch.no_grad():
        for name, parameter in mixed.news_encoder.backbone.named_parameters():
            parameter.lerp_(before[name].to(parameter.device), kept_share)
    return mixed


def _parameters(student: Student) -> dict[str, Tensor]:
    backbone = student.news_encoder.backbone
    return {name: p.detach().clone() for name, p in backbone.named_parameters()}

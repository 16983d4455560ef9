"""What the processes of tests/training/test_parallel.py do: the same few steps as one alone."""

import json
import os
import socket
import time
from dataclasses import replace
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.tiny import a_config, a_distillation, snapshot, tiny_data, unsettled
from training import parallel
from training.config import Config
from training.distill import TrainingData, epoch_steps, fixed_teacher, take_step
from training.errors import ProcessLost
from training.following import start_together
from training.model import Architecture, TeacherStudent, build_backbone, pair_with_teacher
from training.optimisation import Optimisation
from training.resume import Position, State
from training.tuning import choose_tuned, joint_optimisation

STEPS = 3
TIMEOUT_S = 60

# Adam forgets a factor that all gradients share, and so does clipping: its moments are compared as
# well, and nothing is clipped.
UNCLIPPED = {"clip": 1e9}

CASES: dict[str, Config] = {
    "joint": a_distillation(**UNCLIPPED, momentum=0.1, accumulate=2),
    "small chunks": a_distillation(**UNCLIPPED, momentum=0.3, tokens_per_chunk=20),
    "every slot": a_distillation(**UNCLIPPED, central_encoding=False, length_bucketing=False),
    "fixed teacher": a_distillation(
        **UNCLIPPED, joint=False, weights={"embedding": 0.0, "hidden": 0.0}
    ),
    "one text": a_config(
        tasks={"recommendation": 0.0, "search": 0.0},
        distillation={**UNCLIPPED, "momentum": 0.1, "topic_texts_per_step": 1},
    ),
}


def rows_of(case: str) -> TrainingData:
    """Return the rows that a case learns from."""
    data = tiny_data()
    if case == "one text":
        return replace(data, rows=replace(data.rows, clicks=[], queries=[]))
    return data


def learn(case: str, architecture: Architecture) -> dict[str, torch.Tensor]:
    """Take a few steps; return parameters, first moments and the losses of each step."""
    config, data = CASES[case], rows_of(case)
    pair = a_pair(architecture, config)
    choose_tuned(pair, config)
    fixed = fixed_teacher(pair, data, config)
    optimisation = joint_optimisation(pair, config, steps=10)
    found = {}
    for step, batches in enumerate(islice(epoch_steps(data, config, 1), STEPS)):
        parts = take_step(pair, batches, data, optimisation, config=config, step=step, fixed=fixed)
        found |= {f"step {step}/{name}": part for name, part in parts.items()}
    return found | snapshot(pair) | moments_of(pair, optimisation)


def a_pair(architecture: Architecture, config: Config) -> TeacherStudent:
    """Build the same pair in every process."""
    torch.manual_seed(7)
    shape = architecture.with_layers(4)
    pair = unsettled(pair_with_teacher(shape, build_backbone(shape), student_layers=2)).train()
    if config.distillation.joint:
        return pair
    other = unsettled(pair_with_teacher(shape, build_backbone(shape), student_layers=4)).student
    return TeacherStudent(pair.student, other.eval())


def moments_of(pair: TeacherStudent, optimisation: Optimisation) -> dict[str, torch.Tensor]:
    """Return Adam's first moments by the names of the parameters."""
    names = {parameter: name for name, parameter in pair.named_parameters()}
    states = optimisation.adam.state
    return {f"moment/{names[p]}": states[p]["exp_avg"].clone() for p in states}


def together(count: int, folder: Path, architecture: Architecture) -> None:
    """Run `take_part` in some processes, each of which writes what it found to the folder."""
    context = get_context("spawn")
    port = a_free_port()
    members = [
        context.Process(target=take_part, args=(rank, count, port, folder, architecture))
        for rank in range(count)
    ]
    for member in members:
        member.start()
    deadline_s = time.monotonic() + TIMEOUT_S
    for member in members:
        member.join(max(0.0, deadline_s - time.monotonic()))
        if member.is_alive():
            member.kill()


def take_part(rank: int, count: int, port: int, folder: Path, architecture: Architecture) -> None:
    """Take every case's steps as one of several processes, then be left or leave."""
    torch.set_num_threads(1)
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ.update(address, RANK=str(rank), WORLD_SIZE=str(count))
    with parallel.processes():
        for case in CASES:
            save_file(learn(case, architecture), folder / f"{case}.{rank}")
        save_file(started(architecture), folder / f"started.{rank}")
        save_file(overflowed(architecture), folder / f"overflowed.{rank}")
        if rank == 1:
            return
        before_s = time.monotonic()
        message = ""
        try:
            parallel.average_gradients(a_gradient())
        except ProcessLost as error:
            message = str(error)
        waited_s = time.monotonic() - before_s
        (folder / "left").write_text(json.dumps({"message": message, "waited_s": waited_s}))


def overflowed(architecture: Architecture) -> dict[str, torch.Tensor]:
    """Take a step in fp16 whose gradient overflows in the second process alone, then a good one."""
    base = a_distillation(momentum=0.3)
    config = replace(base, run=replace(base.run, precision="fp16"))
    pair = a_pair(architecture, config)
    optimisation = joint_optimisation(pair, config, steps=10)
    optimisation.scaler.load_state_dict({**optimisation.scaler.state_dict(), "scale": 512.0})
    found = {f"before/{name}": value for name, value in snapshot(pair).items()}
    steps = epoch_steps(tiny_data(), config, 1)
    for step, (name, factor) in enumerate((("overflow", torch.inf), ("good", 1.0))):
        grown = factor if parallel.rank() else 1.0
        hook = pair.student.click_model.scale.register_hook(lambda g, grown=grown: g * grown)
        take_step(pair, next(steps), tiny_data(), optimisation, config=config, step=step)
        hook.remove()
        found |= {f"{name}/{n}": value for n, value in snapshot(pair).items()}
        found[f"{name}/scale"] = torch.tensor(optimisation.scaler.get_scale())
    return found


def started(architecture: Architecture) -> dict[str, torch.Tensor]:
    """Start from what only the first process knows; return it with the dropout's first number."""
    torch.manual_seed(parallel.rank())
    shape = architecture.with_layers(1)
    model = unsettled(pair_with_teacher(shape, build_backbone(shape), student_layers=1))
    first = State(Position("distillation", 5, 2), {"moment": torch.tensor([0.5])}, {"scale": 8.0})
    state = start_together(model, State() if parallel.rank() else first)
    told = (state.position.steps_done, state.position.epochs_done, state.scaler["scale"])
    stop = parallel.as_the_first_decides(parallel.rank() == 0)
    parallel.seed_step(1, 5)
    return {
        **snapshot(model),
        "moment": state.tensors["moment"],
        "told": torch.tensor([*told, float(stop)]),
        "dropout": torch.rand(4),
    }


def a_gradient() -> list[torch.nn.Parameter]:
    """Return a parameter with a gradient."""
    parameter = torch.nn.Parameter(torch.zeros(3))
    parameter.grad = torch.ones(3)
    return [parameter]


def a_free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])

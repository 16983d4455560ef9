"""Placement: wherever the model is, a run learns the same, and nothing is left on the CPU."""

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, distributed

from tests.tiny import a_batch, a_distillation, only_weights, snapshot, tiny_data, unsettled
from tests.training.elsewhere import CHANCE, Elsewhere
from training import parallel
from training.checkpoint import load_pair, load_student
from training.config import Config
from training.device import CPU, autocast
from training.distill import epoch_steps, fixed_teacher, take_step
from training.encoding import TorchEncoder
from training.material import Inputs
from training.model import TeacherStudent, build_backbone, pair_with_teacher
from training.optimisation import Optimisation
from training.pipeline import train_student
from training.pretraining import start_anew
from training.progress import ProgressDisplay
from training.resume import Position, load_state, save_state
from training.tuning import choose_tuned, joint_optimisation

MakePair = Callable[..., TeacherStudent]
SPEEDS = {"news_per_s", "examples_per_s"}
WITHOUT_CUDA = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="torch sees no CUDA device: placement alone is checked"
)
# What a step can be: both teachers, every loss between states, every way to encode.
STEPS: dict[str, Config] = {
    "joint": a_distillation(momentum=0.3, accumulate=2),
    "every slot": a_distillation(central_encoding=False, length_bucketing=False),
    "fixed teacher": a_distillation(joint=False, weights={"embedding": 0.0, "hidden": 0.0}),
    "fixed teacher's states": a_distillation(joint=False),
    "gold alone": a_distillation(joint=False, weights=only_weights(gold=1.0)),
}


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    """Let tensors be elsewhere for the time of a test."""
    with Elsewhere() as mode:
        yield mode


def assert_same_runs(first: Path, second: Path) -> None:
    """Compare every recorded number, every weight of both models and every final figure."""
    ours, theirs = (
        [
            {name: value for name, value in json.loads(line).items() if name not in SPEEDS}
            for line in (run / "metrics.jsonl").read_text().splitlines()
        ]
        for run in (first, second)
    )
    assert ours == theirs
    assert_equal(*(snapshot(load_pair(run)[0]) for run in (first, second)))
    found = [json.loads((run / "figures.json").read_text()) for run in (first, second)]
    assert all(found[0][part] == found[1][part] for part in ("models", "units"))


def assert_equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
    """Compare tensors by name to the last bit."""
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value.cpu(), second[name].cpu()), name


def test_a_whole_run_is_the_same_elsewhere(
    elsewhere: Elsewhere,
    tmp_path: Path,
    everything: Config,
    inputs: Inputs,
    whole: Path,
    silent: ProgressDisplay,
) -> None:
    """Text distillation, heads, joint learning, the best epoch's choice, checkpoint and report."""
    run, there = tmp_path / "run", elsewhere.device
    train_student(everything, inputs, run, resume=False, progress=silent, device=there)
    assert_same_runs(whole, run)
    assert "rng/elsewhere" in load_state(run / "state.safetensors").tensors
    # To report again is all that is left to do: what was measured comes from there.
    elsewhere.reads = 0
    train_student(everything, inputs, run, resume=True, progress=silent, device=there)
    assert elsewhere.reads
    assert "| device | elsewhere |" in (run / "card.md").read_text()
    assert json.loads((run / "run.json").read_text())["environment"]["device"] == "elsewhere"


@pytest.mark.parametrize(
    ("stage", "step", "then"),
    [
        ("text_distillation", 3, "elsewhere"),
        ("distillation", 5, "elsewhere"),
        ("distillation", 5, "cpu"),
    ],
)
def test_a_run_that_was_stopped_goes_on_there_or_on_the_cpu(  # noqa: PLR0917  (fixtures)
    elsewhere: Elsewhere,
    tmp_path: Path,
    everything: Config,
    inputs: Inputs,
    whole: Path,
    silent: ProgressDisplay,
    stopping: Callable[[str, int], ProgressDisplay],
    stage: str,
    step: int,
    then: str,
) -> None:
    """The state is of no device; the moments go where their parameters are."""
    run, there = tmp_path / "run", elsewhere.device
    with pytest.raises(KeyboardInterrupt):
        train_student(
            everything, inputs, run, resume=False, progress=stopping(stage, step), device=there
        )
    place = there if then == "elsewhere" else CPU
    train_student(everything, inputs, run, resume=True, progress=silent, device=place)
    assert_same_runs(whole, run)


def test_a_finished_run_teaches_elsewhere(
    elsewhere: Elsewhere,
    tmp_path: Path,
    everything: Config,
    inputs: Inputs,
    whole: Path,
    silent: ProgressDisplay,
) -> None:
    """It is read from files, so it has to be brought there; so is what the cache keeps."""
    settings = replace(everything.distillation, joint=False, momentum=0.0, epochs=1)
    taught = replace(inputs, teacher_run=whole, cache=whole.parent / "cache")
    found = [
        train_student(
            replace(everything, distillation=settings), taught, run,
            resume=False, progress=silent, device=place,
        )
        for run, place in ((tmp_path / "cpu", CPU), (tmp_path / "there", elsewhere.device))
    ]  # fmt: skip
    assert found[0] == found[1]
    assert_equal(*(snapshot(load_student(tmp_path / name).model) for name in ("cpu", "there")))


def a_pair(make_pair: MakePair, config: Config) -> TeacherStudent:
    """Return two models away from their starting point, and a teacher of its own if it is fixed."""
    torch.manual_seed(0)
    pair = unsettled(make_pair()).train()
    if config.distillation.joint:
        return pair
    shape = pair.teacher.architecture
    other = pair_with_teacher(shape, build_backbone(shape), student_layers=4)
    return TeacherStudent(pair.student, unsettled(other).student.eval())


def learn(
    pair: TeacherStudent, place: torch.device, config: Config, *, steps: range = range(1)
) -> tuple[Optimisation, list[dict[str, Tensor]]]:
    """Bring a pair to a device and take some steps; return their losses."""
    choose_tuned(pair.to(place), config)
    fixed = fixed_teacher(pair, tiny_data(), config)
    optimisation = joint_optimisation(pair, config, steps=10)
    batches = list(epoch_steps(tiny_data(), config, 1))
    return optimisation, [
        take_step(
            pair, batches[step], tiny_data(), optimisation, config=config, step=step, fixed=fixed
        )
        for step in steps
    ]


@pytest.mark.parametrize("case", STEPS)
def test_a_step_is_the_same_elsewhere(elsewhere: Elsewhere, make_pair: MakePair, case: str) -> None:
    """Losses and every parameter; a GPU would be waited for as often as a number is read."""
    ours, theirs = (a_pair(make_pair, STEPS[case]) for _ in range(2))
    _, (expected,) = learn(ours, CPU, STEPS[case])
    _, (found,) = learn(theirs, elsewhere.device, STEPS[case])
    # The losses of a batch at once, what transformers asks of its two masks, and the clipped norm.
    assert elsewhere.reads <= STEPS[case].distillation.accumulate * (1 + 2) + 1
    assert_equal(found, expected)
    assert_equal(snapshot(theirs), snapshot(ours))


@pytest.mark.parametrize("name", ["elsewhere", pytest.param("cuda", marks=WITHOUT_CUDA)])
def test_two_steps_with_a_resume_between_lose_what_the_cpu_loses(
    name: str, make_pair: MakePair, tmp_path: Path
) -> None:
    """Of every loss to 1e-4, and the optimiser goes on where it was."""
    config, path = STEPS["joint"], tmp_path / "state"
    _, expected = learn(a_pair(make_pair, config), CPU, config, steps=range(2))
    with Elsewhere() if name == "elsewhere" else nullcontext():
        place = torch.device(name, 0)
        pair = a_pair(make_pair, config)
        optimisation, found = learn(pair, place, config)
        save_state(path, model=pair, optimisation=optimisation, position=Position())
        again, state = a_pair(make_pair, config).to(place), load_state(path)
        state.restore_model(again)
        batches = list(epoch_steps(tiny_data(), config, 1))[1]
        resumed = joint_optimisation(again, config, steps=10)
        state.restore_optimiser(again, resumed)
        losses = take_step(again, batches, tiny_data(), resumed, config=config, step=1)
        for ours, theirs in zip(expected, [*found, losses], strict=True):
            for part, value in ours.items():
                assert float(theirs[part]) == pytest.approx(float(value), rel=1e-4), part


def test_the_scale_of_fp16_follows_the_parameters(
    elsewhere: Elsewhere, make_pair: MakePair
) -> None:
    """A step that overflows is left out there too."""
    pair = a_pair(make_pair, STEPS["joint"]).to(elsewhere.device)
    before = snapshot(pair)
    base = a_distillation()
    config = replace(base, run=replace(base.run, precision="fp16"))
    optimisation = joint_optimisation(pair, config, steps=10)
    pair.student.click_model.scale.register_hook(lambda gradient: gradient * torch.inf)
    take_step(pair, [a_batch(config)], tiny_data(), optimisation, config=config, step=0)
    assert optimisation.scaler.get_scale() == 32768.0
    assert_equal(snapshot(pair), before)


def test_half_the_bits_are_used_there_and_not_for_vectors(
    elsewhere: Elsewhere, make_pair: MakePair
) -> None:
    """Autocast is on for the device of the transformer, and off for the same device after it."""
    encoder = make_pair().to(elsewhere.device).student.news_encoder
    is_on: list[bool] = []
    for module in (encoder.backbone, encoder.dense):
        module.register_forward_pre_hook(
            lambda *_: is_on.append(torch.is_autocast_enabled(elsewhere.device.type))
        )
    with autocast("bf16", elsewhere.device):
        encoder(*tiny_data().texts.tokens([0, 1], elsewhere.device))
    assert is_on == [True, False]


def test_the_devices_own_chance_is_saved_and_restored(
    elsewhere: Elsewhere, make_pair: MakePair, tmp_path: Path
) -> None:
    """A state that was saved on the CPU leaves it as it is."""
    here, there = make_pair(), make_pair().to(elsewhere.device)
    for name, model in (("cpu", here), ("there", there)):
        torch.manual_seed(5)
        save_state(tmp_path / name, model=model, optimisation=None, position=Position())
    seeded = CHANCE.state
    for name, expected in (("there", seeded), ("cpu", torch.zeros(8))):
        CHANCE.state = torch.zeros(8, dtype=torch.uint8)
        load_state(tmp_path / name).restore_model(there)
        assert CHANCE.state.tolist() == expected.tolist()


def test_a_stage_with_a_seed_of_its_own_leaves_the_devices_chance_alone(
    elsewhere: Elsewhere, make_pair: MakePair
) -> None:
    """It starts the same on every device, and dropout goes on as the run's seed has it."""
    here, there = make_pair().student.news_encoder, make_pair().student.news_encoder
    CHANCE.manual_seed_all(5)
    before = CHANCE.state
    for encoder in (here, there.to(elsewhere.device)):
        start_anew(encoder.pooling, seed=3)
    assert_equal(snapshot(here.pooling.projection), snapshot(there.pooling.projection))
    assert CHANCE.state is before


def test_what_is_gathered_is_where_each_share_is(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process stands for several here, because no message leaves for elsewhere."""
    monkeypatch.setattr(distributed, "all_gather", lambda found, own: found[0].copy_(own))
    own = torch.arange(6.0).reshape(3, 2)
    share = own.to(elsewhere.device).requires_grad_()
    whole = parallel._Gather.apply(share, [np.array([2, 0, 1])])  # type: ignore[no-untyped-call]
    whole.square().sum().backward()
    assert share.grad is not None
    assert_equal({"own": own[[1, 2, 0]], "grad": 2 * own}, {"own": whole, "grad": share.grad})


def test_elsewhere_refuses_what_a_gpu_refuses(elsewhere: Elsewhere) -> None:
    """A tensor of the CPU beside its own, NumPy, and a copy or a single number it lets pass."""
    ours, other = torch.ones(2), torch.ones(2).to(elsewhere.device)
    number, places = torch.tensor(2.0), torch.tensor([0])
    for mixed in (
        lambda: ours + other,
        lambda: other + ours,
        lambda: ours.add_(other),
        lambda: number.add_(other.sum()),
        lambda: torch.stack([number, other[0]]),
        lambda: other[places],
        lambda: torch.where(ours > 0, other, other),
    ):
        with pytest.raises(RuntimeError, match="tensors of the CPU"):
            mixed()
    with pytest.raises(RuntimeError, match="numpy"):
        other.numpy()
    assert (number * other).device == elsewhere.device
    assert ours.copy_(3 * other).tolist() == other.cpu().mul(3).tolist() == [3.0, 3.0]


def test_an_encoder_answers_from_elsewhere_in_numpy(elsewhere: Elsewhere, whole: Path) -> None:
    """Vectors, topics and readers, as on the CPU."""
    checkpoint = load_student(whole)
    there = copy.deepcopy(checkpoint.model).to(elsewhere.device)
    ours, theirs = (TorchEncoder(m, checkpoint.tokenizer()) for m in (checkpoint.model, there))
    texts = ["goal match", "rain"]
    vectors = ours.vectors(texts)
    np.testing.assert_array_equal(theirs.vectors(texts), vectors)
    np.testing.assert_array_equal(theirs.topic_logits(texts), ours.topic_logits(texts))
    history = vectors[None], np.ones((1, 2), bool)
    np.testing.assert_array_equal(theirs.users(*history), ours.users(*history))

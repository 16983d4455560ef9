"""A device that is none: its tensors compute on the CPU but refuse to meet those of the CPU.

torch lets Python stand in for a device. A tensor "elsewhere" holds one of the CPU, on which every
operator runs, so that results are the CPU's to the last bit. What a GPU refuses is refused here: an
operator on tensors of both devices, and NumPy. A GPU lets itself be indexed by the CPU, but copies
the indices and waits; here that is refused as well.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from training.device import CPU

NAME = "elsewhere"
aten = torch.ops.aten
COPIES = {aten._to_copy.default, aten.copy_.default}
# All others take a single number of the CPU beside their own tensors.
JOINS = {aten.cat.default, aten.stack.default}


class HeldElsewhere(Tensor):
    """Hold a tensor of the CPU and say that it is elsewhere."""

    held: Tensor

    @staticmethod
    def __new__(cls: type["HeldElsewhere"], held: Tensor) -> "HeldElsewhere":
        """Stand for a tensor."""
        made: HeldElsewhere = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]  # torch
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device(NAME, 0),
        )
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]  # torch

    @classmethod
    def __torch_dispatch__(cls, func: Any, *_: Any) -> Any:
        """Refuse to work where nobody watches."""
        raise RuntimeError(f"{func} outside of `Elsewhere`")

    def __repr__(self, **_: Any) -> str:
        """Show what it holds."""
        return f"{NAME}: {self.held!r}"


class Elsewhere(TorchDispatchMode):
    """Let tensors be elsewhere, and count how often one of their numbers is read."""

    def __init__(self) -> None:
        super().__init__()
        register()
        self.device = torch.device(NAME, 0)
        self.reads = 0
        self._own_thread: Any = None

    def __enter__(self) -> "Elsewhere":
        """Go back through losses in this thread: torch starts those of its devices only once."""
        self._own_thread = torch.autograd.set_multithreading_enabled(False)
        return super().__enter__()

    def __exit__(self, *failure: Any) -> None:
        """Leave everything as it was."""
        super().__exit__(*failure)
        self._own_thread.__exit__(*failure)

    def __torch_dispatch__(self, func: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator on the CPU; what it gives is where it is told, or else where it came."""
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        ours = {id(t.held): t for t in tensors if isinstance(t, HeldElsewhere)}
        is_ours = isinstance(args[0], HeldElsewhere) if func is aten.copy_.default else bool(ours)
        if func not in COPIES and ours:
            refuse_strangers(func, [t for t in tensors if not isinstance(t, HeldElsewhere)])
        if kwargs.get("device") is not None:
            is_ours = kwargs["device"].type == NAME
            kwargs = {**kwargs, "device": CPU} if is_ours else kwargs
        self.reads += bool(ours) and (func is aten._local_scalar_dense.default or not is_ours)
        args, kwargs = tree_map(_held, (args, kwargs))
        found = func(*args, **kwargs)
        return tree_map(lambda value: _placed(value, ours), found) if is_ours else found


def refuse_strangers(func: Any, strangers: Sequence[Tensor]) -> None:
    """Raise as a GPU does where an operator is given tensors of the CPU besides."""
    is_strict = func in JOINS or func._schema.is_mutable
    if any(tensor.dim() or is_strict for tensor in strangers):
        raise RuntimeError(f"{func}: tensors {NAME} and tensors of the CPU")


def _held(value: Any) -> Any:
    return value.held if isinstance(value, HeldElsewhere) else value


def _placed(value: Any, known: dict[int, HeldElsewhere]) -> Any:
    # What was changed in its place stays the tensor that it was.
    if not isinstance(value, Tensor) or id(value) in known:
        return known.get(id(value), value)
    return HeldElsewhere(value)


class Chance:
    """Be the device's own random generator, as far as a run that saves its state can tell."""

    def __init__(self) -> None:
        self.state = torch.zeros(8, dtype=torch.uint8)

    def manual_seed_all(self, seed: int) -> None:
        """Begin where a seed says."""
        self.state = torch.tensor(list(seed.to_bytes(8, "big")), dtype=torch.uint8)

    def get_rng_state(self, _: torch.device) -> Tensor:
        """Return the state."""
        return self.state

    def set_rng_state(self, state: Tensor, _: torch.device) -> None:
        """Go on from a state."""
        self.state = state

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        """Allow autocast, which changes nothing here."""
        return [torch.bfloat16, torch.float16]

    def is_available(self) -> bool:
        """Stay unknown to whatever asks torch for a device, in all other tests too."""
        return False

    def _is_in_bad_fork(self) -> bool:
        return False


CHANCE = Chance()
AUTOCAST: list[torch.library.Library] = []


@lru_cache
def register() -> None:
    """Make torch know the device, once in a process."""
    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=CHANCE)
    # torch keeps what a library registers for as long as the library lives.
    AUTOCAST.append(torch.library.Library("_", "IMPL", "AutocastPrivateUse1"))
    AUTOCAST[0].fallback(torch.library.fallthrough_kernel)

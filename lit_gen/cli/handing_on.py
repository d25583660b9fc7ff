"""What one stage of a staged run hands on to a later one, and whether it fits there."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Size, Tensor, nn

from lit_gen.cli.stages import Stage, nearest
from lit_gen.errors import UserError
from lit_gen.networks.pretrained import Pretrained
from lit_gen.protocols import HandsOn

Shapes = Mapping[str, Size]


class Transfer(NamedTuple):
    """One tensor's way from stage to stage.

    Attributes:
        target: its name in the state dict of the model that takes it.
        stage: the stage that it comes from.
        source: its name in what that stage hands on.
    """

    target: str
    stage: str
    source: str


def handed_on(model: nn.Module) -> Mapping[str, Tensor]:
    """What a model hands on: its ``hand_on()`` if it has one, else its state dict."""
    return model.hand_on() if isinstance(model, HandsOn) else model.state_dict()


def shapes(tensors: Mapping[str, Tensor]) -> Shapes:
    """The tensors' shapes."""
    return {name: tensor.shape for name, tensor in tensors.items()}


def transfers(stage: Stage, takes: Shapes, gives: Mapping[str, Shapes], later: list[str]) -> list[Transfer]:
    """What a stage's ``start_from`` asks for, tensor by tensor.

    Args:
        stage: the stage that starts from others.
        takes: its model's state dict.
        gives: for each earlier stage what it hands on.
        later: the names of the stage itself and those after it.

    Raises:
        UserError: on a stage that isn't an earlier one; where what is handed on and what takes it are not the same
            names below their prefixes, or not of the same shapes; where a tensor is taken twice.
    """
    planned: dict[str, Transfer] = {}
    for target, source in stage.start_from.items():
        giver, _, prefix = source.partition(".")
        if giver in later:
            raise UserError(f"stage '{stage.name}' cannot start from '{giver}': it is not an earlier stage")
        if giver not in gives:
            raise UserError(f"stage '{stage.name}' starts from '{giver}', which is no stage{nearest(giver, gives)}")
        for transfer in _matched(stage.name, target, takes, giver, prefix, gives[giver]):
            if transfer.target in planned:
                other = planned[transfer.target]
                raise UserError(
                    f"stage '{stage.name}' takes {transfer.target} twice: from {other.stage}'s {other.source} and "
                    f"from {giver}'s {transfer.source}"
                )
            planned[transfer.target] = transfer
    return list(planned.values())


def check_below(stage: Stage, model: nn.Module, planned: Sequence[Transfer]) -> None:
    """Refuse a stage whose frozen ``below`` would stay as it was initialised, in whole or in part.

    Raises:
        UserError: a parameter there that nothing hands over, and that isn't of a ``Pretrained`` network.
    """
    below = getattr(model, "below", None)
    if not isinstance(below, nn.Module):
        return
    filled = {transfer.target for transfer in planned}
    for name, module in below.named_modules(prefix="below"):
        if isinstance(module, Pretrained):
            filled |= {f"{name}.{parameter}" for parameter, _ in module.named_parameters()}
    for name, _ in below.named_parameters(prefix="below"):
        if name not in filled:
            raise UserError(f"stage '{stage.name}': {name} is frozen, and start_from hands nothing over to it")


def _matched(name: str, target: str, takes: Shapes, giver: str, prefix: str, gives: Shapes) -> list[Transfer]:
    wanted, given = _below(target, takes), _below(prefix, gives)
    if not wanted:
        raise UserError(f"stage '{name}' has no tensors named {target}…{nearest(target, _prefixes(takes))}")
    if not given:
        raise UserError(
            f"stage '{name}': {giver} hands on no tensors named {prefix}…{nearest(prefix, _prefixes(gives))}"
        )
    for rest in wanted:
        if rest not in given:
            raise UserError(
                f"stage '{name}': {giver} hands on nothing for {wanted[rest]}, there is no {_joined(prefix, rest)}"
            )
    for rest in given:
        if rest not in wanted:
            raise UserError(
                f"stage '{name}' has no place for {giver}'s {given[rest]}: its model has no {_joined(target, rest)}"
            )
    for rest, tensor in wanted.items():
        if takes[tensor] != gives[given[rest]]:
            raise UserError(
                f"stage '{name}': {tensor} is {tuple(takes[tensor])}, but {giver} hands on {given[rest]} of "
                f"{tuple(gives[given[rest]])}"
            )
    return [Transfer(tensor, giver, given[rest]) for rest, tensor in wanted.items()]


def _below(prefix: str, names: Shapes) -> dict[str, str]:
    """What remains of each name after the prefix -> the name; the prefix may be a whole name."""
    if not prefix:
        return {name: name for name in names}
    return {name[len(prefix) + 1 :]: name for name in names if name == prefix or name.startswith(f"{prefix}.")}


def _joined(prefix: str, rest: str) -> str:
    return ".".join(part for part in (prefix, rest) if part)


def _prefixes(names: Shapes) -> list[str]:
    parts = [name.split(".") for name in names]
    found = {".".join(words[:count]): None for words in parts for count in range(1, len(words) + 1)}
    return list(found)

"""Which tensor of an earlier stage goes where, and every way in which stages don't chain."""

import pytest
import torch
from torch import nn

from lit_gen.cli.handing_on import Transfer, check_below, handed_on, shapes, transfers
from lit_gen.cli.stages import Stage
from lit_gen.errors import UserError
from lit_gen.networks.pretrained import Pretrained

SMALL = {"weight": torch.Size([3, 4]), "bias": torch.Size([3])}


def below(prefix: str, tensors: dict = SMALL) -> dict:
    return {f"{prefix}.{name}": shape for name, shape in tensors.items()}


TAKES = {**below("encoder.layers.0"), **below("encoder.layers.10"), "scale": torch.Size([1])}
GIVES = {
    "rbm": {**below("encoder"), "chains": torch.Size([9])},
    "scales": {"deep.scale": torch.Size([1])},
    "same": TAKES,
}


def planned(start_from: dict[str, str]) -> list[Transfer]:
    return transfers(Stage(4, "net", start_from, [], []), TAKES, GIVES, ["net", "after"])


def test_names_below_the_prefixes_meet():
    assert planned({"encoder.layers.0": "rbm.encoder"}) == [
        Transfer("encoder.layers.0.weight", "rbm", "encoder.weight"),
        Transfer("encoder.layers.0.bias", "rbm", "encoder.bias"),
    ]


def test_a_prefix_may_be_a_whole_name():
    assert planned({"scale": "scales.deep.scale", "encoder.layers.10.bias": "rbm.encoder.bias"}) == [
        Transfer("scale", "scales", "deep.scale"),
        Transfer("encoder.layers.10.bias", "rbm", "encoder.bias"),
    ]


def test_a_stage_alone_is_everything_below_its_root():
    assert planned({"": "same"}) == [Transfer(name, "same", name) for name in TAKES]
    assert planned({"encoder": "same.encoder"}) == [Transfer(name, "same", name) for name in list(TAKES)[:4]]


MISTAKES = {
    ("encoder.layers.0", "rmb.encoder"): "starts from 'rmb', which is no stage; the nearest is 'rbm'",
    ("encoder.layers.0", "net.encoder"): "'net' cannot start from 'net': it is not an earlier stage",
    ("encoder.layers.0", "after.encoder"): "'net' cannot start from 'after': it is not an earlier stage",
    ("encoder.layers.1", "rbm.encoder"): "has no tensors named encoder.layers.1…; the nearest is 'encoder.layers.10'",
    ("encoder.layers.0", "rbm.encodr"): "rbm hands on no tensors named encodr…; the nearest is 'encoder'",
    ("encoder.layers", "rbm.encoder"): "nothing for encoder.layers.0.weight, there is no encoder.0.weight",
    ("encoder.layers.0", "rbm"): "rbm hands on nothing for encoder.layers.0.weight, there is no weight",
    ("", "rbm"): "rbm hands on nothing for encoder.layers.0.weight, there is no encoder.layers.0.weight",
    ("encoder.layers.0.weight", "rbm.encoder"): "rbm hands on nothing for encoder.layers.0.weight, there is no encoder",
    ("encoder.layers.0.weight", "rbm.chains"): "encoder.layers.0.weight is (3, 4), but rbm hands on chains of (9,)",
}


@pytest.mark.parametrize("pair", MISTAKES, ids=str)
def test_stages_that_do_not_chain(pair):
    with pytest.raises(UserError) as told:
        planned(dict([pair]))
    assert MISTAKES[pair] in str(told.value)
    assert "'net'" in str(told.value)


def test_what_is_handed_on_must_have_its_place():
    gives = {"rbm": {**GIVES["rbm"], "encoder.scale": torch.Size([3])}}
    with pytest.raises(UserError, match=r"has no place for rbm's encoder\.scale: its model has no"):
        transfers(Stage(2, "net", {"encoder.layers.0": "rbm.encoder"}, [], []), TAKES, gives, ["net"])


def test_nothing_is_taken_twice():
    with pytest.raises(
        UserError, match=r"takes encoder\.layers\.0\.bias twice: from rbm's encoder\.bias and from same's"
    ):
        planned({"encoder.layers.0": "rbm.encoder", "encoder.layers.0.bias": "same.encoder.layers.10.bias"})


class Halved(nn.Linear):
    def hand_on(self) -> dict[str, torch.Tensor]:
        return {"half": self.weight / 2}


def test_a_model_hands_on_what_it_says_or_its_state_dict():
    plain, own = nn.Linear(4, 3), Halved(4, 3)
    assert shapes(handed_on(plain)) == SMALL
    assert list(handed_on(own)) == ["half"]
    assert torch.equal(handed_on(own)["half"], own.weight / 2)


class OnTop(nn.Module):
    def __init__(self, below: nn.Module) -> None:
        super().__init__()
        self.below = below


def test_nothing_below_stays_as_it_was_initialised():
    stage = Stage(2, "rbm_2", {}, [], [])
    model = OnTop(nn.ModuleDict({"encoder": nn.Linear(2, 3), "decoder": nn.Linear(3, 2)}))
    everything = [Transfer(name, "rbm_1", name) for name in model.state_dict()]
    check_below(stage, model, everything)
    check_below(stage, nn.Linear(2, 2), [])
    with pytest.raises(UserError, match=r"'rbm_2': below.decoder.weight is frozen, and start_from hands nothing over"):
        check_below(stage, model, everything[:2])


def test_a_pretrained_network_below_needs_nothing_handed_over(tmp_path):
    network = nn.Linear(2, 3)
    state = {f"encoder.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "last.ckpt")
    model = OnTop(nn.Sequential(Pretrained(network, str(tmp_path / "last.ckpt"), "encoder")))
    check_below(Stage(2, "net", {}, [], []), model, [])

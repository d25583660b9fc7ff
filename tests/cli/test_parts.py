import copy

import pytest
import torch
from jsonargparse import Namespace
from lightning.pytorch import LightningModule

from lit_gen.cli import parser
from lit_gen.cli.parts import Part, Parts
from lit_gen.errors import UserError

MLP = {"class_path": "lit_gen.networks.MLP", "init_args": {"in_shape": 4, "out_shape": 2, "hidden_dims": [3]}}


def built(**init_args) -> tuple[Parts, LightningModule]:
    builder = parser.Parser(parser_mode="omegaconf+")
    builder.add_subclass_arguments(LightningModule, "model", required=True)
    arguments = {"encoder": MLP, "decoder": MLP, "posterior": "lit_gen.distributions.NormalHead", **init_args}
    prior = {"class_path": "lit_gen.distributions.StandardNormal", "init_args": {"dim": 1}}
    arguments |= {"likelihood": "torch.nn.Identity", "prior": prior}
    config = builder.parse_object({"model": {"class_path": "lit_gen.models.VAE", "init_args": arguments}})
    before = copy.deepcopy(config)
    parts = Parts()
    model = parts.build(builder, config).model
    assert config == before, "the config itself isn't marked"
    return parts, model


def optimizer(**init_args) -> dict:
    return {"optimizer": {"class_path": "torch.optim.Adam", "init_args": init_args}}


def test_what_is_made_later_knows_its_path():
    parts, model = built(**optimizer(lr=-1.0))
    with pytest.raises(UserError, match=r"^model.optimizer \(torch.optim.Adam\): Invalid learning rate: -1.0$"):
        parts.try_optimizers(model)
    _, model = built(**optimizer(lr=0.5))
    assert model.configure_optimizers().defaults["lr"] == 0.5


def test_a_trial_leaves_the_optimizer_and_the_noise_as_they_were():
    _, model = built(**optimizer(lr=0.5))
    state, weights = torch.get_rng_state(), copy.deepcopy(model.state_dict())
    made = model.configure_optimizers()
    assert made.state == {}
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_the_innermost_part_is_named():
    parts, model = built()
    with pytest.raises(UserError, match=r"^model.encoder \(lit_gen.networks.MLP\): "), parts.mistakes_told():
        model.encode(torch.zeros(2, 5))


def test_an_error_of_no_part_is_let_through():
    parts, _ = built()
    with pytest.raises(ZeroDivisionError), parts.mistakes_told():
        raise ZeroDivisionError


def test_after_the_first_step_errors_are_let_through():
    parts, model = built()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), parts.mistakes_told(when=lambda: False):
        model.encode(torch.zeros(2, 5))


def test_a_copy_of_a_model_does_not_copy_the_parts():
    _, model = built(**optimizer(lr=0.5))
    twin = copy.deepcopy(model)
    assert twin.encoder is not model.encoder
    assert twin.configure_optimizers().defaults["lr"] == 0.5


def test_a_long_account_is_cut_short():
    parts, _ = built()
    parts._built[id(parts)] = (parts, Part("model.encoder", "lit_gen.networks.MLP"))
    with pytest.raises(UserError) as raised, parts.mistakes_told():
        parts.build(_Failing(), Namespace())
    assert len(str(raised.value)) < 330
    assert str(raised.value).endswith(" …")


class _Failing:
    def instantiate(self, *args, **kwargs):
        raise ValueError("word " * 200)

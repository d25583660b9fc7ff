"""Mistakes of a first hour: in what is asked of help and of the list of runs."""

import pytest

VAE = ["--config", "conf/vaes/vae_digits.yaml"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--help=nonsense"], "there is no such key or class"),
        (["--help=modl"], "the nearest is 'model'"),
        (["--help=monitr"], "the nearest is 'monitor'"),
        (["--help=lit_gen.networks.MPL"], "the nearest is 'lit_gen.networks.MLP'"),
        (["--help=no_such_module.MLP"], "there is no such key or class"),
        (["--help=model.encodr"], "the nearest is 'encoder'"),
        (["--help=model.encodr", *VAE], "lit_gen.models.VAE has no 'encodr'; the nearest is 'encoder'"),
        (["--help=model.encoder.hidden_dim", *VAE], "lit_gen.networks.MLP has no 'hidden_dim'; the nearest is"),
        (["--help=model.encoder.hidden_dims"], "add --config NAME"),
        (["--help=model.encoder.hidden_dims.x", *VAE], "add --config NAME"),
        (["--help=trainer.max_epoch"], "the nearest is 'max_epochs'"),
        (["--help=data.path.to"], "add --config NAME"),
        (["--help=model..encoder", *VAE], "has no ''"),
        (["--help=stages.rbm.model", "--config", "conf/autoencoders/rbm_pretrained_digits.yaml"], "no stage 'rbm'"),
        (["--help=stages.rbm_1.model", *VAE], "no config that has stages"),
        (["--help=model.encoder", "--config", "nowhere.yaml"], "there is no config 'nowhere.yaml'"),
        (["--help=model.encoder", "--config", "conf/vaes/vae_digit"], "the nearest"),
    ],
)
def test_help_of_what_is_not_there(refused, arguments, says):
    assert says in refused("fit", *arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--runs=nowhere"], "there is no folder nowhere"),
        (["--runs=README.md"], "there is no folder README.md"),
        (["--num=0"], "--num must be at least 1"),
        (["--num=-3"], "--num must be at least 1"),
        (["--num=many"], "invalid int value"),
        (["vae_digits", "too_many"], "unrecognized arguments"),
        (["--folder=conf"], "unrecognized arguments"),
    ],
)
def test_a_list_of_runs_that_cannot_be(refused, arguments, says):
    assert says in refused("list", "runs", *arguments)


def test_a_name_that_no_run_has(refused, tmp_path):
    assert "there is no run named 'vae'" in refused("list", "runs", f"--runs={tmp_path}", "vae")
    (tmp_path / "vae_digits" / "20260101-000000-0000").mkdir(parents=True)
    assert "the nearest is 'vae_digits'" in refused("list", "runs", f"--runs={tmp_path}", "vae_digit")

"""What a person can get wrong in an autoencoder's config: one clear line, exit status 2."""

import pytest

from lit_gen.cli.main import main

SHORT = ["--trainer.max_steps=1", "--trainer.callbacks=[]", "--wandb=false", "--trainer.limit_val_batches=1"]
MLP_HIDDEN_2 = "{class_path: lit_gen.networks.MLP, init_args: {in_shape: 2, out_shape: 2, hidden_dims: [4]}}"


@pytest.fixture
def refused(tmp_path, capsys):
    """Run ``fit``; the one line it refuses with."""

    def refused(config: str, *arguments: str) -> str:
        command = ["fit", "--config", f"conf/autoencoders/{config}.yaml", *SHORT, f"--runs={tmp_path}", *arguments]
        assert main(command) == 2
        told = capsys.readouterr().err.strip()
        assert told.startswith("lit-gen: error: ")
        assert "\n" not in told
        assert len(told) < 400
        return told

    return refused


def test_cross_entropy_of_points_outside_its_range(refused):
    points = ["--data=lit_gen.data.TwoMoons", "--data.num_train=500", "--data.num_validation=100"]
    networks = [f"--model.encoder={MLP_HIDDEN_2}", f"--model.decoder={MLP_HIDDEN_2}"]
    told = refused("deep_digits", *points, *networks)
    assert "CrossEntropy needs targets in [0, 1]" in told
    assert "SquaredError" in told


@pytest.mark.parametrize(
    ("regularizer", "what"),
    [
        ("{class_path: lit_gen.regularizers.Contractive, init_args: {weight: -1}}", "Contractive needs a weight of 0"),
        ("{class_path: lit_gen.regularizers.KLSparsity, init_args: {weight: -1}}", "KLSparsity needs a weight of 0"),
        ("{class_path: lit_gen.regularizers.L1Sparsity, init_args: {weight: -1}}", "L1Sparsity needs a weight of 0"),
        ("{class_path: lit_gen.regularizers.KLSparsity}", "KLSparsity needs codes in [0, 1]"),
    ],
)
def test_penalties_of_negative_weight_or_on_codes_that_are_no_activations(refused, regularizer, what):
    assert what in refused("linear_digits", f"--model.regularizers=[{regularizer}]")


def test_a_corruption_that_is_no_probability(refused):
    layer = "{class_path: lit_gen.networks.layers.MaskingNoise, init_args: {probability: 1.5}}"
    assert "probability in [0, 1], got 1.5" in refused("linear_digits", f"--model.corruption={layer}")


def test_shapes_that_do_not_fit(refused):
    assert "the decoder takes inputs of shape (7,)" in refused("linear_digits", "--model.decoder.in_shape=7")
    assert "outputs of shape (1, 8, 9)" in refused("linear_digits", "--model.decoder.out_shape=[1,8,9]")
    assert "codes must be vectors" in refused("linear_digits", "--model.encoder.params_per_output=2")


def test_weights_that_cannot_be_tied(refused):
    encoder = "{class_path: lit_gen.networks.ConvEncoder, init_args: {image_shape: [1, 8, 8], latent_dim: 3}}"
    assert "only be tied to an MLP" in refused("tied_digits", f"--model.encoder={encoder}")

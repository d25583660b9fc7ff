import pytest
import torch

from lit_gen.cli.main import main
from lit_gen.errors import UserError
from lit_gen.networks.mlp import MLP
from lit_gen.networks.pretrained import Pretrained


@pytest.fixture
def checkpoint(tmp_path) -> str:
    """A checkpoint of a model with an encoder and a decoder."""
    encoder, decoder = MLP(6, 3, [4]), MLP(3, 6, [4])
    parts = (("encoder", encoder), ("decoder", decoder))
    state = {f"{name}.{key}": value for name, part in parts for key, value in part.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3, "loops": {"fit_loop": {}}}, tmp_path / "last.ckpt")
    return str(tmp_path / "last.ckpt")


def test_the_part_is_taken_and_trains_on(checkpoint):
    network = Pretrained(MLP(6, 3, [4]), checkpoint, "encoder")
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert all(torch.equal(value, state[f"encoder.{key}"]) for key, value in network.network.state_dict().items())
    x = torch.randn(2, 6)
    assert torch.equal(network(x), network.network(x)) and all(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize(
    ("network", "prefix", "message"),
    [
        (MLP(6, 3, [4]), "encode", "no weights named encode.…; there are encoder, decoder"),
        (MLP(6, 3, [5]), "encoder", r"does not fit the network: size mismatch.*\[3, 4\]"),
        (MLP(6, 3, []), "encoder", "does not fit the network"),
    ],
)
def test_what_does_not_fit_is_said(checkpoint, network, prefix, message):
    with pytest.raises(UserError, match=message) as caught:
        Pretrained(network, checkpoint, prefix)
    assert "\n" not in str(caught.value)


def test_missing_and_other_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"no checkpoint .*nowhere.ckpt"):
        Pretrained(MLP(6, 3, []), str(tmp_path / "nowhere.ckpt"), "encoder")
    for number, content in enumerate((b"", b"not a checkpoint", None)):
        file = tmp_path / f"{number}.ckpt"
        if content is None:
            torch.save([1, 2], file)
        else:
            file.write_bytes(content)
        with pytest.raises(UserError, match=r"cannot be read as a checkpoint") as caught:
            Pretrained(MLP(6, 3, []), str(file), "encoder")
        assert "\n" not in str(caught.value)


CONFIG = """
model:
  class_path: lit_gen.models.classifiers.Classifier
  init_args:
    network:
      class_path: lit_gen.networks.Chain
      init_args:
        parts:
          - class_path: lit_gen.networks.Pretrained
            init_args:
              network:
                class_path: lit_gen.networks.MLP
                init_args: {in_shape: "${data.image_shape}", out_shape: 5, hidden_dims: []}
              checkpoint: CHECKPOINT
              prefix: encoder
          - {class_path: torch.nn.Linear, init_args: {in_features: 5, out_features: 10}}
data:
  class_path: lit_gen.data.Digits
  init_args: {image_shape: [1, 8, 8], num_labels: 20, batch_size: 10}
"""


def test_any_runs_encoder_below_a_head(tmp_path, capsys):
    state = {f"encoder.{key}": value for key, value in MLP((1, 8, 8), 5, []).state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "last.ckpt")
    words = ["--trainer.fast_dev_run=2", f"--runs={tmp_path / 'runs'}", "--wandb=false"]
    (tmp_path / "few.yaml").write_text(CONFIG.replace("CHECKPOINT", str(tmp_path / "last.ckpt")))
    assert main(["fit", "--config", str(tmp_path / "few.yaml"), *words]) == 0
    (tmp_path / "few.yaml").write_text(CONFIG.replace("CHECKPOINT", str(tmp_path / "none.ckpt")))
    assert main(["fit", "--config", str(tmp_path / "few.yaml"), *words]) == 2
    assert "There is no checkpoint" in capsys.readouterr().err

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader

from lit_gen.callbacks.export_weights import ExportWeights
from lit_gen.errors import UserError


class Regression(LightningModule):
    def __init__(self):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        self.network.append(self.network[0])  # tensors that share storage

    def training_step(self, batch, batch_idx):
        return self.network(batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(folder, callback) -> Regression:
    model = Regression()
    trainer = Trainer(
        default_root_dir=folder,
        max_steps=3,
        accelerator="cpu",
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, DataLoader(torch.randn(12, 2), batch_size=4))
    return model


def test_the_trained_part_lies_in_the_run_folder(tmp_path):
    model = fit(tmp_path, ExportWeights("parts/network.safetensors"))
    written = load_file(tmp_path / "parts" / "network.safetensors")
    assert written.keys() == model.network.state_dict().keys()
    for key, value in model.network.state_dict().items():
        assert torch.equal(written[key], value)


def test_a_part_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="no part 'decoder', but network"):
        fit(tmp_path, ExportWeights(module="decoder"))

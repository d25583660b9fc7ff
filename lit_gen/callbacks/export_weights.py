"""A part of the trained model as a file of its own."""

from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from safetensors.torch import save

from lit_gen.atomic_file import replacing
from lit_gen.errors import UserError


class ExportWeights(Callback):
    """Writes the weights of one part of the model into the run folder when training ends, as safetensors.

    Args:
        file: name of the file in the run folder.
        module: the part, a dotted path of attributes of the model.

    Raises:
        UserError: at setup, if the model has no such part.
    """

    def __init__(self, file: str = "weights.safetensors", module: str = "network") -> None:
        self.file = file
        self.module = module

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        try:
            pl_module.get_submodule(self.module)
        except AttributeError:
            parts = ", ".join(name for name, _ in pl_module.named_children())
            raise UserError(
                f"ExportWeights: a {type(pl_module).__name__} has no part '{self.module}', but {parts}."
            ) from None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            state = pl_module.get_submodule(self.module).state_dict()
            # Clones: safetensors refuses tensors that share storage.
            content = save({key: value.detach().cpu().contiguous().clone() for key, value in state.items()})
            with replacing(Path(trainer.default_root_dir) / self.file) as part:
                part.write_bytes(content)

"""What a pretrained encoder is worth where labels are few: the error beside that of the same network from scratch.

The first stage of the config is run once, without labels. Then for each number of labels and each seed, which draws the
labels and the head and orders the batches, the second stage is run twice: from what the first handed on, and as it is
initialised. Both take the same number of steps on the same batches at the same learning rates; nothing is chosen by a
validation or test figure. The mean and the standard deviation over the seeds go to stderr, as a table.
"""

import contextlib
import io
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lightning.pytorch import LightningModule, Trainer, seed_everything
from torch import Tensor

from benchmarks.harness import Result, summarise
from lit_gen.cli import handing_on, stages
from lit_gen.cli.lit_gen_cli import LitGenCLI
from lit_gen.cli.run_record import quiet_libraries

CONFIG = "conf/classifiers/few_labels_mnist.yaml"
COUNTS = (10, 100, 1000)
SEEDS = range(5)
GOAL = 1.0


class Pair(NamedTuple):
    """Test accuracies of one draw of labels."""

    pretrained: float
    scratch: float

    @property
    def error_ratio(self) -> float:
        """Error of the pretrained network / error of the one from scratch."""
        return (1 - self.pretrained) / (1 - self.scratch)


class FewLabels:
    """A config of two stages, parsed once and run as often as need be.

    Args:
        config: its file.
        arguments: overrides for both stages.
    """

    def __init__(self, config: str, *arguments: str) -> None:
        self.before, self.stage = stages.read(["--config", config, *arguments])

    def pretrain(self, folder: Path) -> Mapping[str, Tensor]:
        """Run the first stage; what it hands on."""
        cli = self._build(self.before, folder)
        cli.trainer.fit(cli.model, datamodule=cli.datamodule)
        cli.record.close()
        return {name: value.detach().clone() for name, value in handing_on.handed_on(cli.model).items()}

    def pairs(
        self, given: Mapping[str, Tensor], counts: Sequence[int], seeds: Sequence[int], folder: Path
    ) -> Iterator[tuple[int, list[Pair]]]:
        """For each number of labels the accuracies at every seed."""
        cli = self._build(self.stage, folder)
        cli.record.close()
        for count in counts:
            yield count, [Pair(self._accuracy(cli, count, s, given), self._accuracy(cli, count, s)) for s in seeds]

    def _build(self, stage: stages.Stage, folder: Path) -> LitGenCLI:
        return LitGenCLI("fit", [*stage.arguments, f"--runs={folder}", "--wandb=false", "--trainer.accelerator=cpu"])

    def _accuracy(self, cli: LitGenCLI, count: int, seed: int, given: Mapping[str, Tensor] | None = None) -> float:
        """Test accuracy after one run of the second stage."""
        seed_everything(seed, verbose=False)
        config = cli.config.clone()
        data = config.data.init_args
        data.num_labels, data.label_seed, data.batch_size = count, seed, min(count, data.batch_size)
        made = cli.parser.instantiate_classes(config)
        if given is not None:
            self._start_from(made.model, given)
        trainer = Trainer(
            accelerator="cpu",
            max_steps=steps_of(cli),
            max_epochs=-1,
            limit_val_batches=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(made.model, datamodule=made.data)
        trainer.test(made.model, datamodule=made.data, verbose=False)
        return float(trainer.callback_metrics["test/accuracy"])

    def _start_from(self, model: LightningModule, given: Mapping[str, Tensor]) -> None:
        state = model.state_dict()
        gives = {self.before.name: handing_on.shapes(given)}
        for transfer in handing_on.transfers(self.stage, handing_on.shapes(state), gives, [self.stage.name]):
            state[transfer.target] = given[transfer.source]
        model.load_state_dict(state)


def steps_of(cli: LitGenCLI) -> int:
    """Steps that the config's second stage takes: as many whatever the number of labels."""
    return cli.trainer.max_epochs * len(cli.datamodule.train_dataloader())


def table_row(count: int, pairs: Sequence[Pair]) -> str:
    """Mean and standard deviation of both accuracies, in percent."""
    cells = []
    for name in Pair._fields:
        values = [100 * getattr(pair, name) for pair in pairs]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        cells.append(f"{name} {statistics.mean(values):.2f} +- {spread:.2f}")
    better = sum(pair.pretrained > pair.scratch for pair in pairs)
    return f"{count} labels: {', '.join(cells)} % of the test split; pretrained better in {better} of {len(pairs)}"


def results() -> Iterator[Result]:
    """A row for each number of labels."""
    quiet_libraries()
    bench = FewLabels(CONFIG)
    with tempfile.TemporaryDirectory() as name:
        with contextlib.redirect_stdout(io.StringIO()):
            given = bench.pretrain(Path(name))
        pairs = bench.pairs(given, COUNTS, SEEDS, Path(name))
        while True:
            with contextlib.redirect_stdout(io.StringIO()):
                measured = next(pairs, None)
            if measured is None:
                return
            count, accuracies = measured
            line = table_row(count, accuracies)
            print(line, file=sys.stderr, flush=True)
            yield summarise(f"few_labels_{count}", [pair.error_ratio for pair in accuracies], GOAL, f"{CONFIG}: {line}")

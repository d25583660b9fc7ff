"""How well a code takes the factors of its data apart, where they are known."""

from lightning.pytorch import Callback, LightningModule, Trainer

from lit_gen.callbacks.coded_split import check_codes, coded_split
from lit_gen.callbacks.intervals import due_or_asked_for
from lit_gen.errors import UserError
from lit_gen.metrics.factor_vae_score import factor_vae_score
from lit_gen.metrics.mig import mutual_information_gap
from lit_gen.randomness import make_generator


class Disentanglement(Callback):
    """The mutual information gap and the FactorVAE score of the codes of a split.

    Figures: ``mig_b<bins>_<examples>`` (see ``mutual_information_gap``), ``mig_b..._<factor>``, its part for each
    factor, and ``factor_vae_score_l<group>_<examples>`` (see ``factor_vae_score``). All are in [0, 1], 1 where each
    factor has a coordinate of its own. The codes are those of examples that aren't binarized, all ranks' together: the
    figures depend neither on the batch size nor on the number of processes.

    The data module tells the factors: ``factors(split, index)``, (B,) numbers of examples -> (B, F) values from 0, and
    ``factor_names``, as ``lit_gen.data.Shapes``.

    Args:
        num_bins: of each coordinate, for the mutual information.
        group_size: examples in a group of the FactorVAE score.
        num_votes: its votes to learn from, and to score.
        min_variance: coordinates of less variance are left out of both.
        num_examples: of a larger split as many are taken, evenly spaced.
        every_n_epochs: also measures at the validation of every n-th epoch; 0 only at the test (and at ``validate``).
        seed: names the votes and groups.

    Raises:
        UserError: on a number out of range; at setup, if the model has no codes or the data tell no factors.
    """

    def __init__(
        self,
        num_bins: int = 20,
        group_size: int = 64,
        num_votes: int = 10_000,
        min_variance: float = 0.05,
        num_examples: int = 10_000,
        every_n_epochs: int = 0,
        seed: int = 0,
    ) -> None:
        for name, value, least in [
            ("num_bins", num_bins, 2),
            ("group_size", group_size, 2),
            ("num_votes", num_votes, 1),
            ("min_variance", min_variance, 0),
            ("num_examples", num_examples, 1),
            ("every_n_epochs", every_n_epochs, 0),
        ]:
            if not value >= least:
                raise UserError(f"Disentanglement needs {name} of at least {least}, got {value}.")
        self.num_bins = num_bins
        self.group_size = group_size
        self.num_votes = num_votes
        self.min_variance = min_variance
        self.num_examples = num_examples
        self.every_n_epochs = every_n_epochs
        self.seed = seed
        self.protocols: dict[str, str] = {}
        """The line that states how each logged figure was measured, by the figure's name."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        check_codes("Disentanglement", trainer, pl_module)
        if not hasattr(trainer.datamodule, "factors"):
            raise UserError(
                "Disentanglement needs data with known factors, as lit_gen.data.Shapes; take it out of the config."
            )

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if due_or_asked_for(trainer, self.every_n_epochs):
            self._measure(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._measure(trainer, pl_module, "test")

    def _measure(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        data = trainer.datamodule
        coded = coded_split(trainer, pl_module, split, self.num_examples, keep_x=False).over_ranks()
        codes, factors = coded.code.cpu(), data.factors(split, coded.index.cpu())
        count = f"{len(codes) // 1000}k" if len(codes) % 1000 == 0 else str(len(codes))
        gap = mutual_information_gap(codes, factors, self.num_bins, self.min_variance)
        score = factor_vae_score(
            codes,
            factors,
            self.num_votes,
            self.group_size,
            self.min_variance,
            make_generator(self.seed, "disentanglement"),
        )
        mig, fvs = f"{split}/mig_b{self.num_bins}_{count}", f"{split}/factor_vae_score_l{self.group_size}_{count}"
        figures = {mig: float(gap.mean), fvs: score}
        for name, value, varies in zip(data.factor_names, gap.gaps.tolist(), ~gap.gaps.isnan(), strict=True):
            if varies:
                figures[f"{mig}_{name}"] = value
        # Equal on all ranks already; sync_dist takes the mean of equal values and spares Lightning's warning.
        pl_module.log_dict(figures, sync_dist=True, batch_size=1)
        whole = (
            f"{len(codes)} {split} examples, codes of {codes.shape[1]}, those of variance below {self.min_variance} out"
        )
        self.protocols[mig] = f"{self.num_bins} bins of equal width of the codes as encode(x) gives them; {whole}"
        self.protocols[fvs] = (
            f"{self.num_votes} votes and as many to score, groups of {self.group_size}, seed {self.seed}; {whole}"
        )

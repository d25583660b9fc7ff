"""One table for all objectives: modes, share of high-quality samples and KL on the grid of 25, over several seeds.

    python -m benchmarks.games [name …] [--config FILE] [--steps 4000] [--seeds 5] [--json FILE]

Every game has the networks, optimizers, penalties and batches of conf/gans/r3gan_grid.yaml (or another config that
names its modes), a learning rate that after 40 % of the steps fades to nothing, and what its row says. Figures are of
the averaged generator's 2,500 samples after the last step. What ``--json`` names is gone on with, so that a table can
be made in several goes.
"""

import argparse
import contextlib
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from lit_gen.cli.lit_gen_cli import LitGenCLI
from lit_gen.cli.run_record import quiet_libraries
from lit_gen.errors import UserError

CONFIG = "conf/gans/r3gan_grid.yaml"
PLAIN = "--model.regularizers=null"


def objective(name: str, **arguments: object) -> str:
    """An argument that plays for another objective."""
    return "--model.objective=" + json.dumps({"class_path": f"lit_gen.objectives.{name}", "init_args": arguments})


def regularizers(*names: str, **arguments: object) -> str:
    """An argument that takes these regularizers, all with these arguments."""
    terms = [{"class_path": f"lit_gen.regularizers.{name}", "init_args": arguments} for name in names]
    return f"--model.regularizers={json.dumps(terms)}"


def divergence(name: str, **arguments: object) -> list[str]:
    """Arguments that play for an f-divergence."""
    part = {"class_path": f"lit_gen.objectives.{name}", "init_args": arguments}
    return [objective("FDivergence", divergence=part), PLAIN]


def network(name: str, **arguments: object) -> dict:
    """A network as a config has it."""
    return {"class_path": f"lit_gen.networks.{name}", "init_args": arguments}


def discriminator(part: dict) -> str:
    """An argument that plays with another discriminator."""
    return f"--model.discriminator={json.dumps(part)}"


HIDDEN = [128, 128, 128]
MLP = network("MLP", in_shape=[2], out_shape=[], hidden_dims=HIDDEN)
AUTOENCODER = network(
    "AutoencodingDiscriminator",
    encoder=network("MLP", in_shape=[2], out_shape=[2], hidden_dims=[128, 128]),
    decoder=network("MLP", in_shape=[2], out_shape=[2], hidden_dims=[128, 128]),
)
LAYERS = "lit_gen.networks.layers"
KERNELS = {"class_path": f"{LAYERS}.MinibatchDiscrimination", "init_args": {"num_kernels": 5, "kernel_dim": 3}}
DEVIATION = {"class_path": f"{LAYERS}.MinibatchStandardDeviation"}
FIVE = "--model.discriminator_steps=5"
GAMES: dict[str, list[str]] = {
    "minimax": [objective("Minimax"), PLAIN],
    "non-saturating": [objective("NonSaturating"), PLAIN],
    "halved cross entropy": [objective("HalvedCrossEntropy"), PLAIN],
    "non-saturating, labels 0.9": [objective("NonSaturating", real_smoothing=0.1), PLAIN],
    "least squares": [objective("LeastSquares"), PLAIN],
    "Wasserstein, clipped at 0.1": [objective("Wasserstein"), regularizers("WeightClipping", limit=0.1), FIVE],
    "Wasserstein, gradient penalty": [objective("Wasserstein"), regularizers("GradientPenalty", weight=1.0), FIVE],
    "hinge": [objective("Hinge"), PLAIN],
    "hinge, spectral norm": [objective("Hinge"), PLAIN, discriminator(network("SpectralNorm", network=MLP))],
    "f: Kullback-Leibler": divergence("KullbackLeibler"),
    "f: reverse Kullback-Leibler": divergence("ReverseKullbackLeibler"),
    "f: Pearson": divergence("Pearson"),
    "f: Neyman": divergence("Neyman"),
    "f: squared Hellinger": divergence("SquaredHellinger"),
    "f: Jensen-Shannon": divergence("JensenShannon"),
    "f: GAN": divergence("GANDivergence"),
    "f: total variation": divergence("TotalVariation"),
    "f: alpha 0.5": divergence("Alpha", alpha=0.5),
    "boundary seeking": [objective("BoundarySeeking"), PLAIN],
    "relativistic pairs": [objective("RelativisticPaired"), PLAIN],
    "energy-based": [objective("EnergyBased"), PLAIN, discriminator(AUTOENCODER)],
    "energy-based, pulling away": [
        objective("EnergyBased"),
        regularizers("PullingAway", weight=0.1),
        discriminator(AUTOENCODER),
    ],
    "boundary equilibrium": [objective("BoundaryEquilibrium"), PLAIN, discriminator(AUTOENCODER)],
    "non-saturating, R1": [objective("NonSaturating"), regularizers("R1")],
    "non-saturating, DRAGAN": [objective("NonSaturating"), regularizers("DRAGAN", weight=1.0)],
    "non-saturating, packs of 2": [
        objective("NonSaturating"),
        PLAIN,
        discriminator(
            network("Packed", num_packed=2, network=network("MLP", in_shape=[4], out_shape=[], hidden_dims=HIDDEN))
        ),
    ],
    "non-saturating, minibatch deviation": [
        objective("NonSaturating"),
        PLAIN,
        discriminator(network("MLPDiscriminator", in_shape=[2], hidden_dims=HIDDEN, minibatch=DEVIATION)),
    ],
    "non-saturating, minibatch discrimination": [
        objective("NonSaturating"),
        PLAIN,
        discriminator(network("MLPDiscriminator", in_shape=[2], hidden_dims=HIDDEN, minibatch=KERNELS)),
    ],
    "relativistic pairs, R1 and R2": [],
}
"""What each game changes in the config."""

FIGURES = ("modes", "high_quality", "mode_kl")


def schedules(steps: int) -> list[str]:
    """Arguments for both players' learning rates."""
    fading = {"class_path": "lit_gen.schedules.CosineAnnealing", "init_args": {"num_steps": steps, "hold": 0.4}}
    made = {"class_path": "torch.optim.lr_scheduler.LambdaLR", "init_args": {"lr_lambda": fading}}
    return [f"--model.{player}_scheduler={json.dumps(made)}" for player in ("generator", "discriminator")]


def play(name: str, seed: int, steps: int, folder: Path, config: str = CONFIG) -> dict:
    """One run; its figures. A game that diverged has no modes, nothing of high quality and no KL."""
    began = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        cli = LitGenCLI(
            "fit",
            [
                "--config",
                config,
                *schedules(steps),
                *GAMES[name],
                f"--seed_everything={seed}",
                f"--trainer.max_steps={steps}",
                "--trainer.limit_val_batches=0",
                f"--runs={folder}",
                "--wandb=false",
                "--trainer.accelerator=cpu",
            ],
        )
        try:
            cli.trainer.fit(cli.model, datamodule=cli.datamodule)
            cli.trainer.test(cli.model, datamodule=cli.datamodule, verbose=False)
        except UserError as error:
            if "the run has diverged" not in str(error):
                raise
            return {"game": name, "seed": seed, "steps": steps, "diverged": str(error)} | dict.fromkeys(FIGURES, 0.0)
        finally:
            cli.record.close()
    found = cli.trainer.callback_metrics
    figures = {key: float(found[f"test/{key}_2500"]) for key in FIGURES}
    return {"game": name, "seed": seed, "steps": steps, **figures, "seconds": time.perf_counter() - began}


def table(runs: Sequence[dict]) -> Iterator[str]:
    """Lines of Markdown: mean and worst over the seeds."""
    yield "| game | modes, mean (fewest) | % high quality, mean (lowest) | KL, mean (highest) | seeds | diverged |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name in GAMES:
        own = [run for run in runs if run["game"] == name]
        if not own:
            continue
        modes, quality = ([run[key] for run in own] for key in ("modes", "high_quality"))
        kl = [run["mode_kl"] for run in own if "diverged" not in run]
        told = f"{statistics.mean(kl):.3f} ({max(kl):.3f})" if kl else "none"
        yield (
            f"| {name} | {statistics.mean(modes):.1f} ({min(modes):.0f}) | {100 * statistics.mean(quality):.1f} "
            f"({100 * min(quality):.1f}) | {told} | {len(own)} | {len(own) - len(kl)} |"
        )


def main() -> int:
    """Play the games named, or all, and print the table; 2 for a name that is none."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.games", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of: {'; '.join(GAMES)}")
    parser.add_argument("--config", default=CONFIG, help=f"another game to differ from (default {CONFIG})")
    parser.add_argument("--steps", type=int, default=4000, help="batches of 256 a run (default 4000)")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each game (default 5)")
    parser.add_argument("--json", type=Path, help="where the runs are kept and gone on with")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(GAMES))
    if unknown:
        print(f"there is no game {', '.join(unknown)}: they are {'; '.join(GAMES)}", file=sys.stderr)
        return 2
    quiet_libraries()
    runs = json.loads(options.json.read_text()) if options.json and options.json.exists() else []
    done = {(run["game"], run["seed"], run["steps"]) for run in runs}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seeds):
            for name in options.names or GAMES:
                if (name, seed, options.steps) in done:
                    continue
                runs.append(play(name, seed, options.steps, Path(folder), options.config))
                print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
                if options.json:
                    options.json.write_text(json.dumps(runs, indent=1))
    print("\n".join(table([run for run in runs if run["steps"] == options.steps])))
    return 0


if __name__ == "__main__":
    sys.exit(main())

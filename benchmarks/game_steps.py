"""A batch of a game under ``lit-gen fit`` and by hand, for every objective: what it costs, and its passes.

Rows ``fit_overhead_game_<name>`` are among those of ``fit_overhead``. Rows ``game_passes_<name>`` count, over the steps
of a few batches, how many examples either network was run on and through how many of its outputs a gradient came back,
on our side and in the hand-written loop: no more is 1, however they are put together.
"""

import tempfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from lightning.pytorch import Callback
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.fitting import BATCH, GOAL, Turn, build, fit, timed
from benchmarks.games import FIVE, GAMES, objective, regularizers
from benchmarks.harness import Result, compare, summarise
from lit_gen.cli.lit_gen_cli import LitGenCLI
from lit_gen.cli.run_record import quiet_libraries

CONFIG = "conf/gans/r3gan_ring.yaml"
TURN, COUNTED = Turn(20, 150), Turn(2, 10)
TURNS = 15

Loss = Callable[[Tensor, Tensor], Tensor]


class ByHand(NamedTuple):
    """A game as one would write it in a script.

    Attributes:
        discriminator_loss: scores of real and fake -> the scalar to minimise.
        generator_loss: the same for the generator; ``real`` is None unless ``generator_sees_real``.
        generator_sees_real: whether it looks at the scores of real examples.
        penalty: of the discriminator, and examples and scores of either kind -> the scalar to add.
        discriminator_steps: for each of the generator.
        after_discriminator: done with the discriminator after each of its steps.
        generator_penalty: of the features of fakes -> the scalar to add.
        after_generator: done with the mean scores of real and fake after each of the generator's steps.
    """

    discriminator_loss: Loss
    generator_loss: Loss
    generator_sees_real: bool = False
    penalty: Callable[..., Tensor] | None = None
    discriminator_steps: int = 1
    after_discriminator: Callable[[nn.Module], None] | None = None
    generator_penalty: Callable[[Tensor], Tensor] | None = None
    after_generator: Loss | None = None


def slope(scores: Tensor, x: Tensor) -> Tensor:
    """(B, F) gradients of scores."""
    return torch.autograd.grad(scores.sum(), x, create_graph=True)[0].flatten(1)


def r1_r2(discriminator: nn.Module, x: Tensor, fake: Tensor, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """Half the mean squared slopes on real and on fake, at the weight that the config begins with."""
    return (slope(real_scores, x).square().sum(1).mean() + slope(fake_scores, fake).square().sum(1).mean()) / 2


def gradient_penalty(discriminator: nn.Module, x: Tensor, fake: Tensor, *scores: Tensor) -> Tensor:
    """That of WGAN-GP with weight 1."""
    mix = torch.rand(len(x), 1)
    between = (mix * x + (1 - mix) * fake).requires_grad_()
    return (slope(discriminator(between), between).norm(dim=1) - 1).square().mean()


def pulling_away(features: Tensor) -> Tensor:
    """A tenth of the mean squared cosine of two examples' features."""
    unit, num = F.normalize(features), len(features)
    return 0.1 * ((unit @ unit.T).square().sum() - num) / (num * (num - 1))


def cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's of the original game."""
    return (F.softplus(-real) + F.softplus(fake)).mean()


def saturating_free(real: Tensor, fake: Tensor) -> Tensor:
    """The non-saturating generator's."""
    return F.softplus(-fake).mean()


@torch.no_grad()
def clip(discriminator: nn.Module) -> None:
    """WGAN's box."""
    for parameter in discriminator.parameters():
        parameter.clamp_(-0.1, 0.1)


def equilibrium() -> ByHand:
    """BEGAN, whose k follows the balance of energies."""
    k = 0.0

    def follow(real: Tensor, fake: Tensor) -> None:
        nonlocal k
        k = min(max(k + 0.001 * (0.5 * real - fake).item(), 0.0), 1.0)

    return ByHand(lambda r, f: (r - k * f).mean(), lambda r, f: f.mean(), after_generator=follow)


HAND: dict[str, ByHand] = {
    "minimax": ByHand(cross_entropy, lambda real, fake: -F.softplus(fake).mean()),
    "non-saturating": ByHand(cross_entropy, saturating_free),
    "halved cross entropy": ByHand(lambda r, f: cross_entropy(r, f) / 2, lambda r, f: saturating_free(r, f) / 2),
    "least squares": ByHand(
        lambda r, f: ((r - 1).square() + f.square()).mean() / 2, lambda r, f: (f - 1).square().mean() / 2
    ),
    "Wasserstein, clipped at 0.1": ByHand(
        lambda r, f: (f - r).mean(), lambda r, f: -f.mean(), discriminator_steps=5, after_discriminator=clip
    ),
    "Wasserstein, gradient penalty": ByHand(
        lambda r, f: (f - r).mean(), lambda r, f: -f.mean(), penalty=gradient_penalty, discriminator_steps=5
    ),
    "hinge": ByHand(lambda r, f: (F.relu(1 - r) + F.relu(1 + f)).mean(), lambda r, f: -f.mean()),
    "f: Kullback-Leibler": ByHand(lambda r, f: ((f - 1).exp() - r).mean(), lambda r, f: -f.mean()),
    "f: reverse Kullback-Leibler": ByHand(lambda r, f: (f - 1 + (-r).exp()).mean(), lambda r, f: (-f).exp().mean()),
    "f: Pearson": ByHand(lambda r, f: (f.square() / 4 + f - r).mean(), lambda r, f: -f.mean()),
    "f: Neyman": ByHand(
        lambda r, f: (torch.expm1(-r) - 2 * torch.expm1(-f / 2)).mean(), lambda r, f: torch.expm1(-f).mean()
    ),
    "f: squared Hellinger": ByHand(
        lambda r, f: (torch.expm1(f) + torch.expm1(-r)).mean(), lambda r, f: torch.expm1(-f).mean()
    ),
    "f: Jensen-Shannon": ByHand(cross_entropy, saturating_free),
    "f: GAN": ByHand(cross_entropy, saturating_free),
    "f: alpha 0.5": ByHand(lambda r, f: (4 / F.softplus(-f) - F.logsigmoid(r)).mean(), saturating_free),
    "f: total variation": ByHand(lambda r, f: (f.tanh() - r.tanh()).mean() / 2, lambda r, f: -f.tanh().mean() / 2),
    "boundary seeking": ByHand(cross_entropy, lambda r, f: f.square().mean() / 2),
    "relativistic pairs": ByHand(
        lambda r, f: F.softplus(f - r).mean(), lambda r, f: F.softplus(r - f).mean(), generator_sees_real=True
    ),
    "relativistic pairs, R1 and R2": ByHand(
        lambda r, f: F.softplus(f - r).mean(),
        lambda r, f: F.softplus(r - f).mean(),
        generator_sees_real=True,
        penalty=r1_r2,
    ),
    "energy-based": ByHand(lambda r, f: (r + F.relu(1 - f)).mean(), lambda r, f: f.mean()),
    "energy-based, pulling away": ByHand(
        lambda r, f: (r + F.relu(1 - f)).mean(), lambda r, f: f.mean(), generator_penalty=pulling_away
    ),
    "boundary equilibrium": equilibrium(),
}
"""The objectives of ``benchmarks.games`` by hand."""

OURS = {
    **GAMES,
    "Wasserstein, gradient penalty": [objective("Wasserstein"), regularizers("GradientPenalty", weight=1.0), FIVE],
    "relativistic pairs, R1 and R2": [regularizers("R1", "R2", weight=1.0)],
}


def prepared(folder: Path, turn: Turn, name: str) -> LitGenCLI:
    """Our side, ready to fit, without schedules and the callbacks of the config."""
    nothing = ["--model.generator_scheduler=null", "--model.discriminator_scheduler=null"]
    return build(folder, turn, CONFIG, *OURS[name], *nothing)


def by_hand(game: ByHand, turn: Turn, model: nn.Module, x: Tensor) -> float:
    """The other side, on a copy of the model."""
    return timed(turn, hand_written(game, deepcopy(model)), x)


def hand_written(game: ByHand, model) -> Callable[[Tensor], None]:
    """A step on one batch with the model's networks, prior and optimizers."""
    generator, discriminator, dim = model.generator, model.discriminator, model.prior.dim
    for_generator = model.generator_optimizer(generator.parameters())
    for_discriminator = model.discriminator_optimizer(discriminator.parameters())
    average, done = model.generator_average, 0

    def step(x: Tensor) -> None:
        nonlocal done
        with torch.no_grad():
            fake = generator(torch.randn(len(x), dim))
        if game.penalty is r1_r2:
            x, fake = x.clone().requires_grad_(), fake.requires_grad_()
        scores = discriminator(x), discriminator(fake)
        loss = game.discriminator_loss(*scores)
        if game.penalty is not None:
            loss = loss + game.penalty(discriminator, x, fake, *scores)
        for_discriminator.zero_grad()
        # A penalty's own examples need no gradient.
        loss.backward(inputs=None if game.penalty is None else list(discriminator.parameters()))
        for_discriminator.step()
        if game.after_discriminator is not None:
            game.after_discriminator(discriminator)
        done += 1
        if done % game.discriminator_steps:
            return
        discriminator.requires_grad_(False)
        real = discriminator(x.detach()) if game.generator_sees_real else None
        fakes = generator(torch.randn(len(x), dim))
        if game.generator_penalty is None:
            fake = discriminator(fakes)
            loss = game.generator_loss(real, fake)
        else:
            _, fake, features, _ = discriminator.judge(fakes)
            loss = game.generator_loss(real, fake) + game.generator_penalty(features)
        for_generator.zero_grad()
        loss.backward()
        for_generator.step()
        discriminator.requires_grad_(True)
        if average is not None:
            average.update_parameters(generator)
        if game.after_generator is not None:
            game.after_generator(scores[0].detach().mean(), fake.detach().mean())

    return step


class Passes(Callback):
    """Counts the examples that networks are run on, and the gradients that come back through what they gave."""

    def __init__(self) -> None:
        self.forward, self.backward = 0, 0

    def watch(self, model) -> None:
        """Count from now on."""
        for network in (model.generator, model.discriminator):
            network.register_forward_hook(self._ran)

    def on_train_start(self, trainer, pl_module) -> None:
        self.watch(pl_module)  # not before: whether the parts fit each other is tried once a run

    def _ran(self, network: nn.Module, inputs: tuple, output: Tensor) -> None:
        self.forward += len(output)
        if output.requires_grad:
            output.register_hook(self._came_back)

    def _came_back(self, gradient: Tensor) -> None:
        self.backward += len(gradient)

    @property
    def total(self) -> int:
        """Both."""
        return self.forward + self.backward


def passes(name: str, folder: Path, x: Tensor) -> Result:
    """The row of a game's passes."""
    ours, theirs = Passes(), Passes()

    def watched() -> LitGenCLI:
        cli = prepared(folder, COUNTED, name)
        cli.trainer.callbacks.append(ours)
        return cli

    fit(COUNTED, watched)
    model = prepared(folder, COUNTED, name).model.train()
    theirs.watch(model)
    timed(COUNTED, hand_written(HAND[name], model), x)
    told = f"{name}: {ours.forward} examples forward and {ours.backward} backward in {COUNTED.total} batches"
    return summarise(f"game_passes_{slug(name)}", [ours.total / theirs.total], 1.0, told)


def slug(name: str) -> str:
    """A name for a row."""
    return "_".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


def points(folder: Path) -> Tensor:
    """(N, 2) examples for the other side."""
    return next(iter(build(folder, TURN, CONFIG).datamodule.train_dataloader())).x.repeat(100, 1)


def times(folder: Path, suffix: str, clock: Callable[[], float]) -> Iterator[Result]:
    """A row of time for each game."""
    x, turn = points(folder), TURN._replace(clock=clock)
    for name, game in HAND.items():
        prepare = partial(prepared, folder, turn, name)
        detail = f"{name}, {torch.get_num_threads()} threads, batch {BATCH}, {turn.steps} steps a turn"
        ours, other = partial(fit, turn, prepare), partial(by_hand, game, turn, prepare().model.train(), x)
        yield compare(f"fit_overhead_game_{slug(name)}{suffix}", ours, other, GOAL, detail, TURNS)


def results() -> Iterator[Result]:
    """Passes of all games."""
    quiet_libraries()
    with tempfile.TemporaryDirectory() as place:
        x = points(Path(place))
        for name in HAND:
            yield passes(name, Path(place), x)

"""Whether the parts of a game fit each other and the data, found out before the first step."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lit_gen.errors import UserError
from lit_gen.models.dry_run import try_network
from lit_gen.protocols import Game, Judged, JudgesWithFeatures, ReadsFeatures, Reconstructs
from lit_gen.randomness import make_generator


def check_game(model, shape: tuple[int, ...]) -> None:
    """Try the parts of a ``GAN`` on each other for examples of ``shape``; call it within ``undisturbed``.

    Raises:
        UserError: they don't fit.
    """
    objective, discriminator = model.objective, model.discriminator
    if objective.scores_are_energies and not isinstance(discriminator, Reconstructs):
        raise UserError(
            f"{type(objective).__name__} plays with a discriminator that is an autoencoder, such as "
            f"lit_gen.networks.AutoencodingDiscriminator; a {type(discriminator).__name__} doesn't reconstruct"
        )
    num_judged = getattr(discriminator, "num_packed", 1)
    z = torch.randn(2 * num_judged, model.prior.dim, generator=make_generator("GAN dry run")).to(model.device)
    x = try_network("the generator", model.generator, z, "the prior's latents")
    check_examples(x, shape)
    scores = try_network("the discriminator", discriminator, x, "the data's examples")
    if tuple(scores.shape) != (2,):
        raise UserError(
            f"the discriminator must give one score for each example, (B,), but gave {tuple(scores.shape)} for B = 2"
        )
    for regularizer in model.regularizers:
        if regularizer.needs_features and not isinstance(discriminator, ReadsFeatures | JudgesWithFeatures):
            raise UserError(
                f"{type(regularizer).__name__} needs a discriminator with features and from_features, which a "
                f"{type(discriminator).__name__} hasn't: take lit_gen.networks.MLPDiscriminator or DCGANDiscriminator"
            )
        if regularizer.needs_second_derivatives:
            try_penalty(model, regularizer, x)
    if model.looks_through_steps:
        try_step(model, x)


def check_examples(x: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse a generator that makes ``x``, (B, ...), where the data's examples have ``shape``.

    Raises:
        UserError: shapes differ, or pixels leave [0, 1].
    """
    if tuple(x.shape[1:]) != shape:
        raise UserError(f"the generator makes examples of shape {tuple(x.shape[1:])}, but the data's are {shape}")
    if len(shape) == 3 and not (x.min() >= 0.0 and x.max() <= 1.0):
        raise UserError(
            f"the generator's pixels must lie in [0, 1], got {float(x.min()):.3g} to {float(x.max()):.3g}: move "
            f"its output there at its own edge, as (tanh + 1) / 2"
        )


def try_penalty(model, regularizer: nn.Module, x: Tensor) -> None:
    """Take the gradient of a penalty on gradients, which needs the discriminator's second derivatives.

    Raises:
        UserError: it has none.
    """
    with torch.enable_grad(), differentiable_twice(model, type(regularizer).__name__):
        real, fake = (x.clone().requires_grad_() for _ in range(2))
        judged = [Judged(examples, model.scores(examples)) for examples in (real, fake)]
        game = Game(model.generator, model.discriminator, *judged, regularizer.noise(x))
        # All the way: asked for some gradients alone, autograd goes round what has none, and they come out wrong.
        regularizer(game).mean().backward()


def try_step(model, x: Tensor) -> None:
    """Take the gradient of the discriminator's gradient, as steps that are looked through do.

    Raises:
        UserError: it has none.
    """
    with torch.enable_grad(), differentiable_twice(model, type(model).__name__):
        scores = model.scores(x.clone().requires_grad_())
        loss = model.objective.discriminator_loss(real=scores, fake=scores).mean()
        weights = [weight for weight in model.discriminator.parameters() if weight.requires_grad]
        gradients = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True)
        squares = [gradient.square().sum() for gradient in gradients if gradient is not None]
        torch.stack(squares).sum().backward()


@contextmanager
def differentiable_twice(model, who: str) -> Iterator[None]:
    """Say of an error in differentiating twice who needed that; leave no gradients behind."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"{who} needs a discriminator that is differentiable twice, which a "
            f"{type(model.discriminator).__name__} is not: {reason}"
        ) from error
    finally:
        model.zero_grad()

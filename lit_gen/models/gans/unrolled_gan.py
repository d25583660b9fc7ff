"""The game against a discriminator that has moved already."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from lit_gen.errors import UserError
from lit_gen.models.differentiable_steps import check_differentiable, look_ahead
from lit_gen.models.gans.gan import GAN
from lit_gen.models.gans.terms import Due
from lit_gen.models.gradients import parameters_of


class UnrolledGAN(GAN):
    """A generator that minimises its loss against the discriminator as it will be after k more steps.

    The steps are those of the discriminator's own optimizer, on the batch at hand and on the very examples whose
    generator is to move, and the gradient passes through them. The discriminator itself steps once a batch as ever.

    Memory: k graphs of a discriminator's step, each about as large as a discriminator's forward and backward pass, and
    k copies of its weights and its optimizer's state, until the generator's gradient is known. Time: each of the
    generator's steps costs k discriminator's steps and passes back through them.

    Metz et al., Unrolled Generative Adversarial Networks (2017), Section 2, https://arxiv.org/abs/1611.02163

    Args:
        unrolled_steps: k; 0 is the plain game.
        **kwargs: as in ``GAN``. The discriminator's optimizer is one of torch's that can be differentiated. Its
            regularizers' terms are of the looked-ahead steps too, but for those that are not of every step.

    Raises:
        UserError: as ``GAN``; a negative number of steps, or a clipping of gradients or of the discriminator's weights,
            which the steps ahead would not see; in ``setup``, a discriminator that is not differentiable twice; in
            ``on_fit_start``, an optimizer whose steps cannot be differentiated.
    """

    makes_leaves = True  # the discriminator's weights that the steps ahead begin from

    def __init__(self, *, unrolled_steps: int = 5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if unrolled_steps < 0:
            raise UserError(f"unrolled_steps must not be negative, got {unrolled_steps}")
        clipped = any(part.changes_weights and part.player == "discriminator" for part in self.regularizers)
        if unrolled_steps and (clipped or self.gradient_clip_norm is not None):
            raise UserError(
                "an UnrolledGAN doesn't look through clipped steps: leave gradient_clip_norm and WeightClipping out"
            )
        self.unrolled_steps = unrolled_steps

    @property
    def looks_through_steps(self) -> bool:
        """Whether there are any."""
        return self.unrolled_steps > 0

    def on_fit_start(self) -> None:
        check_differentiable(self.trainer.strategy.optimizers[0])
        super().on_fit_start()

    def _generator_terms(self, x: Tensor, z: Tensor, due: Sequence[Due] = ()) -> dict[str, Tensor]:
        if self.unrolled_steps == 0:
            return super()._generator_terms(x, z, due)
        generated = self.generator(z)
        ahead = self._look_ahead(x, generated)
        return self._with_discriminator(ahead, lambda: self._generator_loss(x, generated, due))

    def _look_ahead(self, x: Tensor, generated: Tensor) -> dict[str, Tensor]:
        """The discriminator's parameters after the steps, by their names."""
        optimizer = self.trainer.strategy.optimizers[0]
        names = {id(parameter): name for name, parameter in self.discriminator.named_parameters()}
        order = [names[id(parameter)] for parameter in parameters_of(optimizer)]
        terms = self._terms["discriminator"]

        def loss(tensors: list[Tensor]) -> Tensor:
            due = [Due(name, part, part.noise(x)) for name, part in terms if part.every_n_steps == 1]
            made = self._with_discriminator(
                dict(zip(order, tensors, strict=True)), lambda: self._discriminator_loss(x, generated, due)
            )
            return made["discriminator_loss"].mean()

        return dict(zip(order, look_ahead(optimizer, loss, self.unrolled_steps), strict=True))

    def _with_discriminator(self, parameters: dict[str, Tensor], function: Callable[[], Any]) -> Any:
        """What ``function`` gives with these tensors in the discriminator's place; its buffers stay as they are."""
        tensors = parameters | {name: buffer.clone() for name, buffer in self.discriminator.named_buffers()}
        within = _Within(self.discriminator, function)
        return functional_call(within, {f"discriminator.{name}": tensor for name, tensor in tensors.items()}, ())


class _Within(nn.Module):
    """A function of nothing that looks at a network, for ``functional_call`` to exchange the network's tensors."""

    def __init__(self, discriminator: nn.Module, function: Callable[[], Any]) -> None:
        super().__init__()
        self.discriminator = discriminator
        self.function = function

    def forward(self) -> Any:
        return self.function()

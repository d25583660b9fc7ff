"""A discriminator that classifies: the part that games of logits have in common."""

from torch import Tensor
from torch.nn.functional import softplus

from lit_gen.errors import UserError
from lit_gen.objectives.adversarial.base import AdversarialObjective


class CrossEntropyObjective(AdversarialObjective):
    """Base of the objectives whose discriminator minimises a cross entropy, D being the logistic function of a score.

    With labels 1 - a for real and b for generated examples the optimum is D = ((1 - a) p + b q) / (p + q). One-sided
    smoothing is b = 0: with b > 0 the optimum has q in its numerator too, and where there are no data D is b and not 0,
    which holds the generator's mistakes in place. Salimans et al., Improved Techniques for Training GANs (2016),
    Section 3.4, https://arxiv.org/abs/1606.03498

    Args:
        real_smoothing: a, in [0, 1).
        fake_smoothing: b, in [0, 1).

    Raises:
        UserError: a smoothing outside [0, 1).
    """

    def __init__(self, real_smoothing: float = 0.0, fake_smoothing: float = 0.0) -> None:
        super().__init__()
        for name, value in (("real_smoothing", real_smoothing), ("fake_smoothing", fake_smoothing)):
            if not 0.0 <= value < 1.0:
                raise UserError(f"a {type(self).__name__}'s {name} must be in [0, 1), got {value}")
        self.real_smoothing = real_smoothing
        self.fake_smoothing = fake_smoothing

    def discriminator_loss(self, *, real: Tensor, fake: Tensor) -> Tensor:
        """-log D(x) - log(1 - D(G(z))) of each pair without smoothing: the two terms summed. (B,), in nats."""
        loss = softplus(-real) + softplus(fake)
        # -(1 - a) log D - a log(1 - D) = softplus(-score) + a score, and likewise with the signs turned.
        if self.real_smoothing > 0:
            loss = loss + self.real_smoothing * real
        if self.fake_smoothing > 0:
            loss = loss - self.fake_smoothing * fake
        return loss

    def probability_real(self, scores: Tensor) -> Tensor:
        """D: the logistic function of the scores."""
        return scores.sigmoid()

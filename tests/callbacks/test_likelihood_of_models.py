"""The same figure at any batch size, in any order and split over any number of ranks, for networks of convolutions and
models that are given labels: of what a model does in a batch, nothing may reach another example."""

import pytest
import torch
from torch import Tensor

from lit_gen.callbacks.likelihood import estimate_log_px
from lit_gen.distributions.normal import NormalHead
from lit_gen.distributions.priors import StandardNormal
from lit_gen.metrics.nll import NegativeLogLikelihood
from lit_gen.models.vaes.conditional_vae import ClassConditionalVAE
from lit_gen.models.vaes.vae import VAE
from lit_gen.networks.conditioned import Conditioned
from lit_gen.networks.conv import ConvEncoder
from lit_gen.networks.dcgan import DCGANGenerator
from lit_gen.randomness import seeded

IMAGE, NUM_CLASSES, COUNT = (1, 8, 8), 3, 37
X = torch.randint(256, (COUNT, *IMAGE), generator=torch.Generator().manual_seed(0)) / 255
LABEL = torch.arange(COUNT) % NUM_CLASSES


def of_class() -> ClassConditionalVAE:
    encoder = Conditioned(ConvEncoder((1 + NUM_CLASSES, 8, 8), 2, base_channels=4))
    decoder = Conditioned(DCGANGenerator(2 + NUM_CLASSES, IMAGE, base_channels=4))
    return ClassConditionalVAE(
        num_classes=NUM_CLASSES,
        encoder=encoder,
        decoder=decoder,
        posterior=NormalHead(),
        likelihood=NormalHead(scale=0.3),
        prior=StandardNormal(2),
    )


def convolutional() -> VAE:
    encoder, decoder = ConvEncoder(IMAGE, 2, base_channels=4), DCGANGenerator(2, IMAGE, base_channels=4)
    return VAE(encoder, decoder, NormalHead(), NormalHead(scale=0.3), StandardNormal(2))


@pytest.mark.parametrize("num_samples", [3, 30])  # in groups of examples, and one by one
@pytest.mark.parametrize("make", [of_class, convolutional])
def test_batches_order_and_ranks_make_no_difference(make, num_samples):
    torch.manual_seed(0)
    model = make()
    model.log_importance_weights(X, 2, LABEL)  # so that batch norms have statistics to go by
    model.eval()

    def measure(parts: list[Tensor]) -> NegativeLogLikelihood:
        metric = NegativeLogLikelihood()
        for part in parts:
            with torch.no_grad(), seeded(0, X.device):
                metric.update(estimate_log_px(model, X[part], part.tolist(), num_samples, 20, 0, LABEL[part]).log_px)
        return metric

    index = torch.arange(COUNT)
    whole = measure([index]).compute()
    shuffled = torch.randperm(COUNT, generator=torch.Generator().manual_seed(2))
    figures = [measure(list(order.split(size))).compute() for order, size in ((index, 1), (index, 10), (shuffled, 8))]
    for world_size in (2, 3):
        joint = NegativeLogLikelihood()
        for rank in range(world_size):
            joint.merge_state(measure(list(index[rank::world_size].split(5))))
        figures.append(joint.compute())
    for figure in figures:
        assert figure.count == COUNT
        torch.testing.assert_close(figure.mean, whole.mean, rtol=1e-6, atol=0)
        torch.testing.assert_close(figure.standard_error, whole.standard_error, rtol=1e-5, atol=0)


def test_labels_matter():
    """Else their test above would pass with labels that are mixed up."""
    torch.manual_seed(0)
    model = of_class().eval()
    with torch.no_grad(), seeded(0, X.device):
        right, wrong = (
            estimate_log_px(model, X, range(COUNT), 30, 20, 0, label).log_px for label in (LABEL, (LABEL + 1) % 3)
        )
    assert not torch.isclose(right, wrong).any()

"""What every generative model owes, over every member."""

from functools import partial

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.distributions import Distribution

from lit_gen.callbacks.likelihood import estimate_log_px
from lit_gen.distributions.bernoulli import BernoulliHead
from lit_gen.distributions.categorical import CategoricalHead
from lit_gen.distributions.conditional_prior import ConditionalPrior
from lit_gen.distributions.flows.distribution import FlowPosterior, FlowPrior
from lit_gen.distributions.flows.iaf import IAF
from lit_gen.distributions.flows.planar import Planar
from lit_gen.distributions.flows.realnvp import RealNVP
from lit_gen.distributions.full_normal import FullNormalHead
from lit_gen.distributions.gumbel_softmax import GumbelSoftmaxHead
from lit_gen.distributions.hierarchical import HierarchicalHead, HierarchicalPrior
from lit_gen.distributions.ladder import LadderHead
from lit_gen.distributions.mixture import MixturePrior
from lit_gen.distributions.normal import NormalHead
from lit_gen.distributions.one_hot import UniformCategorical
from lit_gen.distributions.priors import StandardNormal
from lit_gen.distributions.units import BernoulliUnits, GaussianUnits
from lit_gen.distributions.vamp_prior import VampPrior
from lit_gen.models.autoencoders.autoencoder import Autoencoder
from lit_gen.models.autoregressive.autoregressive_model import (
    AutoregressiveModel,
    ClassConditionalAutoregressiveModel,
)
from lit_gen.models.energy.rbm import RBM
from lit_gen.models.gans.gan import GAN
from lit_gen.models.vaes.condition import GivenHalf
from lit_gen.models.vaes.conditional_vae import ClassConditionalVAE, ConditionalVAE
from lit_gen.models.vaes.cvae_gan import CVAEGAN
from lit_gen.models.vaes.factor_vae import FactorVAE
from lit_gen.models.vaes.ladder_vae import LadderVAE
from lit_gen.models.vaes.naive import NaiveMonteCarlo
from lit_gen.models.vaes.vae import VAE
from lit_gen.models.vaes.vae_gan import VAEGAN
from lit_gen.models.vaes.vamp_vae import VampVAE
from lit_gen.models.vaes.vq_vae import VQVAE
from lit_gen.networks.autoregressive.belief_network import FullyVisibleBeliefNetwork
from lit_gen.networks.bottom_layer import BottomLayer
from lit_gen.networks.codec import Codec
from lit_gen.networks.conditioned import Conditioned, ConditionedMLP
from lit_gen.networks.conv import ConvDecoder, ConvEncoder
from lit_gen.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from lit_gen.networks.feature_network import FeatureNetwork
from lit_gen.networks.ladder_encoder import LadderEncoder
from lit_gen.networks.layers.corruption import MaskingNoise
from lit_gen.networks.layers.quantize import VectorQuantizer
from lit_gen.networks.mlp import MLP
from lit_gen.networks.tied import TransposedMLP
from lit_gen.objectives.adversarial.minimax import Minimax
from lit_gen.objectives.adversarial.non_saturating import NonSaturating
from lit_gen.objectives.reconstruction import CrossEntropy, SquaredError
from lit_gen.objectives.total_correlation import BetaTCVAE
from lit_gen.objectives.variational import ELBO, ImportanceWeighted
from lit_gen.protocols import Batch, Codes, Completes, ImportanceWeights, PriorQuantiles, Samples
from lit_gen.randomness import seeded
from lit_gen.regularizers.contractive import Contractive
from lit_gen.regularizers.sparsity import KLSparsity, L1Sparsity

IMAGE = (1, 8, 8)


def mlp_vae(likelihood=BernoulliHead, **kwargs):
    head = likelihood()
    return VAE(
        MLP(IMAGE, 3, [8], params_per_output=2),
        MLP(3, IMAGE, [8], params_per_output=head.params_per_output),
        NormalHead(),
        head,
        StandardNormal(3),
        **kwargs,
    )


def richer_vae(posterior=NormalHead, prior=StandardNormal, model=VAE, dim=4, objective=None):
    head = posterior()
    encoder = MLP(IMAGE, dim, [8], params_per_output=head.params_per_output)
    objective = objective or ELBO(closed_form_kl=False)
    return model(encoder, MLP(dim, IMAGE, [8]), head, BernoulliHead(), prior(dim), objective=objective)


def flow_vae(flow, **kwargs):
    return richer_vae(lambda: FlowPosterior(NormalHead(), flow()), **kwargs)


def conv_vae():
    encoder, decoder = ConvEncoder(IMAGE, 3, base_channels=4), ConvDecoder(3, IMAGE, base_channels=4)
    return VAE(encoder, decoder, NormalHead(), BernoulliHead(), StandardNormal(3))


def parts_in_layers():
    """A decoder and a prior of z_1 in two dimensions and z_2 in one."""
    prior = HierarchicalPrior(StandardNormal(1), NormalHead(), [MLP(1, 2, [4], params_per_output=2)])
    return {"decoder": BottomLayer(MLP(2, IMAGE, [8]), 1), "likelihood": BernoulliHead(), "prior": prior}


def two_layer_vae(objective):
    posterior = HierarchicalHead(NormalHead(), [MLP(2, 1, [4], params_per_output=2)])
    encoder = MLP(IMAGE, 2, [8], params_per_output=2)
    return VAE(encoder=encoder, posterior=posterior, objective=objective, **parts_in_layers())


def ladder_vae(objective):
    encoder = LadderEncoder(IMAGE, [2, 1], [[8], [4]])
    return LadderVAE(encoder=encoder, posterior=LadderHead(NormalHead()), objective=objective, **parts_in_layers())


def gumbel_vae(objective=None, **kwargs):
    encoder, decoder = MLP(IMAGE, 1, [8], params_per_output=3), MLP(3, IMAGE, [8])
    head = GumbelSoftmaxHead(3, **kwargs)
    return VAE(encoder, decoder, head, BernoulliHead(), UniformCategorical(1, 3), objective=objective)


def naive_monte_carlo():
    return NaiveMonteCarlo(MLP(3, IMAGE, [8]), BernoulliHead(), StandardNormal(3), num_samples=4)


def factor_vae():
    encoder, decoder = MLP(IMAGE, 3, [8], params_per_output=2), MLP(3, IMAGE, [8])
    return FactorVAE(encoder, decoder, NormalHead(), BernoulliHead(), StandardNormal(3), MLP(3, (), [8]), gamma=5.0)


def point_gan(**kwargs):
    return GAN(MLP(3, 2, [8]), MLP(2, (), [8]), StandardNormal(3), **kwargs)


def dcgan(**kwargs):
    generator, discriminator = DCGANGenerator(3, IMAGE, base_channels=4), DCGANDiscriminator(IMAGE, base_channels=4)
    return GAN(generator, discriminator, StandardNormal(3), NonSaturating(), **kwargs)


def autoencoder(**kwargs):
    parts = {"encoder": MLP(IMAGE, 3, [8]), "decoder": MLP(3, IMAGE, [8]), "objective": CrossEntropy()}
    return Autoencoder(**(parts | kwargs))


def tied_autoencoder():
    encoder = MLP(IMAGE, 3, [8], torch.nn.Tanh, output_activation=torch.nn.Sigmoid)
    penalties = [Contractive(0.1), KLSparsity(0.1, 1.0), L1Sparsity(0.1)]
    return autoencoder(encoder=encoder, decoder=TransposedMLP(), corruption=MaskingNoise(0.3), regularizers=penalties)


def conv_autoencoder():
    encoder = ConvEncoder(IMAGE, 3, params_per_output=1, base_channels=4)
    decoder = ConvDecoder(3, IMAGE, base_channels=4)
    return autoencoder(encoder=encoder, decoder=decoder, regularizers=[Contractive(0.1, num_projections=2)])


def autoencoder_on_codes():
    below = Codec(MLP(IMAGE, 6, []), MLP(6, IMAGE, [], output_activation=torch.nn.Sigmoid))
    return autoencoder(encoder=MLP(6, 3, []), decoder=MLP(3, 6, []), objective=SquaredError(), below=below)


def rbm(units=BernoulliUnits, **kwargs):
    return RBM(units(IMAGE), BernoulliUnits(3), num_sample_steps=3, **kwargs)


def stacked_rbm():
    encoder = MLP(IMAGE, 5, [], output_activation=torch.nn.Sigmoid)
    below = Codec(encoder, MLP(5, IMAGE, [], output_activation=torch.nn.Sigmoid))
    return RBM(BernoulliUnits(5), GaussianUnits(3), num_sample_steps=3, below=below)


def class_conditional_vae(**kwargs):
    networks = {
        "encoder": ConditionedMLP(IMAGE, 3, 3, [8], params_per_output=2),
        "decoder": ConditionedMLP(3, 3, IMAGE, [8]),
    }
    return ClassConditionalVAE(
        3, posterior=NormalHead(), likelihood=BernoulliHead(), prior=StandardNormal(3), **networks, **kwargs
    )


def convolutional_class_conditional_vae():
    """With batch norms in its decoder."""
    networks = {
        "encoder": Conditioned(ConvEncoder((4, 8, 8), 3, base_channels=4)),
        "decoder": Conditioned(DCGANGenerator(6, IMAGE, base_channels=4)),
    }
    return ClassConditionalVAE(
        3, posterior=NormalHead(), likelihood=NormalHead(scale=0.3), prior=StandardNormal(3), **networks
    )


def half_image_vae():
    half = (1, 8, 4)
    encoder, decoder = ConditionedMLP(half, half, 3, [8], params_per_output=2), ConditionedMLP(3, half, half, [8])
    prior = ConditionalPrior(3, MLP(half, 3, [], params_per_output=2), NormalHead())
    return ConditionalVAE(GivenHalf(IMAGE), encoder, decoder, NormalHead(), BernoulliHead(), prior)


def vq_vae(**kwargs):
    networks = MLP(IMAGE, (2, 3), [8]), MLP((2, 3), IMAGE, [8])
    return VQVAE(*networks, VectorQuantizer(4, 2, **kwargs), BernoulliHead(), positions=(3,))


def gan_parts():
    head = lambda size: FeatureNetwork(MLP(IMAGE, 5, [], output_activation=torch.nn.Tanh), MLP(5, size, []))  # noqa: E731
    return {"posterior": NormalHead(), "prior": StandardNormal(3), "discriminator": head(())}, head(3)


def vae_gan(**kwargs):
    encoder, decoder = ConvEncoder(IMAGE, 3, base_channels=4), DCGANGenerator(3, IMAGE, base_channels=4)
    return VAEGAN(encoder, decoder, objective=NonSaturating(), **(gan_parts()[0] | kwargs))


def cvae_gan(**kwargs):
    encoder = Conditioned(ConvEncoder((4, *IMAGE[1:]), 3, base_channels=4))
    decoder = Conditioned(DCGANGenerator(6, IMAGE, base_channels=4))
    parts, classifier = gan_parts()
    return CVAEGAN(3, encoder, decoder, classifier=classifier, **(parts | kwargs))


def autoregressive():
    return AutoregressiveModel(FullyVisibleBeliefNetwork(IMAGE), BernoulliHead())


def averaged_autoregressive_of_class():
    network = FullyVisibleBeliefNetwork(IMAGE, 3, num_classes=3)
    return ClassConditionalAutoregressiveModel(network, CategoricalHead(3), ema_decay=0.9)


MODELS = {
    "autoregressive": autoregressive,
    "autoregressive_averaged_of_class": averaged_autoregressive_of_class,
    "vae_bernoulli": mlp_vae,
    "vae_normal": partial(mlp_vae, partial(NormalHead, scale=0.1)),
    "vae_normal_learned_scale": partial(mlp_vae, partial(NormalHead, min_scale=0.01)),
    "vae_weighted": partial(mlp_vae, beta=4.0),
    "vae_free_bits": partial(mlp_vae, objective=ELBO(num_samples=2, free_bits=0.1)),
    "vae_sampled_kl": partial(mlp_vae, objective=ELBO(closed_form_kl=False)),
    "iwae": partial(mlp_vae, objective=ImportanceWeighted(3, num_monte_carlo=2)),
    "iwae_stl": partial(mlp_vae, objective=ImportanceWeighted(3, gradient="stl")),
    "iwae_dreg": partial(mlp_vae, objective=ImportanceWeighted(3, gradient="dreg"), beta=0.5),
    "vae_full_covariance": partial(richer_vae, partial(FullNormalHead, 4), objective=ELBO()),
    "vae_planar": partial(flow_vae, partial(Planar, 4, 2)),
    "vae_iaf": partial(flow_vae, partial(IAF, 4, 2, [8], 3)),
    "iwae_realnvp_dreg": partial(
        flow_vae, partial(RealNVP, 4, 2, [8], 3), objective=ImportanceWeighted(3, gradient="dreg")
    ),
    "vae_mixture_prior": partial(richer_vae, prior=partial(MixturePrior, num_components=3)),
    "vae_flow_prior": partial(richer_vae, prior=lambda dim: FlowPrior(StandardNormal(dim), RealNVP(dim, 2, [8]))),
    "vae_vamp_prior": partial(richer_vae, prior=lambda dim: VampPrior(dim, IMAGE, 3), model=VampVAE),
    "vae_convolutional": conv_vae,
    "vae_two_layers": partial(two_layer_vae, ELBO(closed_form_kl=False)),
    "iwae_two_layers_dreg": partial(two_layer_vae, ImportanceWeighted(3, gradient="dreg")),
    "vae_ladder": partial(ladder_vae, ELBO(closed_form_kl=False)),
    "iwae_ladder_stl": partial(ladder_vae, ImportanceWeighted(3, gradient="stl")),
    "vae_gumbel": gumbel_vae,
    "iwae_gumbel_straight_through": partial(gumbel_vae, ImportanceWeighted(3), straight_through=True),
    "conditional_vae_of_class": class_conditional_vae,
    "conditional_vae_of_class_convolutional": convolutional_class_conditional_vae,
    "conditional_iwae_dreg": partial(class_conditional_vae, objective=ImportanceWeighted(3, gradient="dreg")),
    "conditional_vae_of_half": half_image_vae,
    "vq_vae": vq_vae,
    "vq_vae_without_restarts": partial(vq_vae, restart_below=0.0),
    "naive_monte_carlo": naive_monte_carlo,
    "vae_total_correlation": partial(mlp_vae, objective=BetaTCVAE(), beta=6.0),
    "vae_factor": factor_vae,
    "gan_with_encoder": vae_gan,
    "gan_with_encoder_in_micro_batches": partial(vae_gan, num_micro_batches=2, gradient_clip_norm=1.0),
    "gan_with_conditional_encoder": cvae_gan,
    "gan_minimax": partial(point_gan, objective=Minimax()),
    "gan_non_saturating": partial(point_gan, objective=NonSaturating(), discriminator_steps=2),
    "dcgan": dcgan,
    "dcgan_averaged": partial(dcgan, ema_decay=0.9, gradient_clip_norm=1.0, num_micro_batches=2),
    "autoencoder": autoencoder,
    "autoencoder_tied_denoising_contractive_sparse": tied_autoencoder,
    "autoencoder_convolutional": conv_autoencoder,
    "autoencoder_on_codes": autoencoder_on_codes,
    "rbm": rbm,
    "rbm_persistent": partial(rbm, num_chains=4, num_gibbs_steps=2),
    "rbm_gaussian": partial(rbm, partial(GaussianUnits, std=0.5, learned_std=True)),
    "rbm_stacked": stacked_rbm,
}
AUTOENCODERS = [name for name in MODELS if name.startswith("autoencoder")]
WITHOUT_SAMPLES = [*AUTOENCODERS, "conditional_vae_of_half"]


class Loader:
    def __init__(self, shape, num_levels=None):
        self.x = torch.rand(12, *shape, generator=torch.Generator().manual_seed(0))
        if num_levels is not None:
            self.x = (self.x * (num_levels - 1)).round() / (num_levels - 1)

    def __len__(self):
        return 3

    def __iter__(self):
        for i, x in zip(torch.arange(12).split(4), self.x.split(4), strict=True):
            yield Batch(x, i % 3, i)


class FiniteGradients(Callback):
    def __init__(self):
        self.num_steps = 0

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.num_steps += 1
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
        assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
        assert any(gradient.abs().sum() > 0 for gradient in gradients)


@pytest.fixture(params=MODELS)
def make(request):
    def build(seed=0):
        torch.manual_seed(seed)
        return MODELS[request.param]()

    return build


def event_shape(model):
    return (2,) if isinstance(model, GAN) and isinstance(model.generator, MLP) else IMAGE


def loader_of(model):
    return Loader(event_shape(model), getattr(model, "num_levels", None))


def fitted(model, folder):
    callbacks = [FiniteGradients(), ModelCheckpoint(folder, filename="step", every_n_train_steps=4)]
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=4,
        logger=False,
        callbacks=callbacks,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        log_every_n_steps=1,
    )
    trainer.fit(model, loader_of(model), loader_of(model))
    assert callbacks[0].num_steps >= 4
    return trainer


def drawn(model, num=5):
    """Samples, or where the model has none, completions or reconstructions."""
    torch.manual_seed(7)
    model.eval()
    with torch.no_grad():
        if isinstance(model, Samples):
            return model.sample(num)
        if isinstance(model, Completes):
            return model.complete(Loader(event_shape(model)).x[:num], 1)[0]
        return model.decode(model.encode(Loader(event_shape(model)).x[:num]))


def test_trains_with_finite_gradients_and_logs_finite_terms_by_their_split(make, tmp_path):
    trainer = fitted(make(), tmp_path)
    assert trainer.global_step == 4
    metrics = trainer.callback_metrics
    assert all(torch.as_tensor(value).isfinite() for value in metrics.values())
    assert {name.split("/")[0] for name in metrics} == {"train", "val"}


def test_a_checkpoint_without_code_restores_the_model_to_the_bit(make, tmp_path):
    model = make()
    fitted(model, tmp_path)
    content = torch.load(tmp_path / "step.ckpt", weights_only=True)
    other = make(seed=1)
    assert not torch.equal(drawn(model), drawn(other))
    other.load_state_dict(content["state_dict"], strict=True)
    assert torch.equal(drawn(model), drawn(other))


@pytest.mark.parametrize("make", [name for name in MODELS if name not in WITHOUT_SAMPLES], indirect=True)
def test_samples_have_the_events_shape_the_pixels_range_and_follow_the_seed(make):
    model = make()
    assert isinstance(model, Samples)
    x = drawn(model)
    assert x.shape == (5, *event_shape(model))
    assert x.dtype == torch.float32
    if len(event_shape(model)) == 3:
        assert x.min() >= 0
        assert x.max() <= 1
    assert torch.equal(x, drawn(model))
    assert not torch.equal(x[0], x[1])


def test_evaluation_changes_nothing_and_does_not_depend_on_companions(make):
    """In evaluation mode an example's figures are its own, whatever else is in the batch."""
    model = make().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x = loader_of(model).x

    def score(rows):
        if isinstance(model, AutoregressiveModel):
            return model.log_prob(x[rows], rows % 3)
        if isinstance(model, Codes):
            return model.encode(x[rows])
        if isinstance(model, Completes):
            return model.predict_step(Batch(x[rows], rows % 3, rows), 0).code
        if isinstance(model, NaiveMonteCarlo):  # draws an example's codes without a look at it
            return model.decode(x[rows].flatten(1)[:, :3])
        return model.discriminator(x[rows])

    rows = torch.arange(12)
    with torch.no_grad():
        parts = torch.cat([score(part) for part in rows.split(5)])
        torch.testing.assert_close(parts, score(rows), rtol=1e-4, atol=1e-6)
        terms = model.validation_step(Batch(x, rows % 3, rows), 0)
    assert all(value.shape == (12,) for value in terms.values())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_evaluation_terms_do_not_depend_on_how_the_set_is_cut(make):
    """Noise and all: batches of any size, in any order, shared among ranks."""
    model, index = make().eval(), torch.arange(12)
    x = loader_of(model).x
    step = type(model).validation_step

    @torch.no_grad()
    def terms(parts, step=step):
        values = [step(model, Batch(x[part], part % 3, part), number) for number, part in enumerate(parts)]
        order = torch.cat(parts).argsort()
        return {name: torch.cat([terms[name] for terms in values])[order] for name in values[0]}

    whole = terms([index])
    shuffled = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    for parts in (index.split(1), index.split(5), shuffled.split(4), [index[0::2], index[1::2]]):
        torch.testing.assert_close(terms(parts), whole, rtol=1e-5, atol=1e-5)
    noise = model._noise("val")
    assert noise.is_tied
    if noise.draws:  # the control: by the batches' seeds alone another cut is another value
        untied = [terms(index.split(size), step.__wrapped__) for size in (12, 5)]
        assert any(not torch.allclose(untied[0][name], untied[1][name], rtol=1e-3) for name in whole)


@pytest.mark.parametrize(
    "make", [name for name, build in MODELS.items() if isinstance(build(), ImportanceWeights)], indirect=True
)
@pytest.mark.parametrize("num_samples", [3, 30])  # in groups of examples, and one by one
def test_a_likelihood_by_importance_weights_does_not_depend_on_how_the_set_is_cut(make, num_samples):
    model = make()
    x, index = loader_of(model).x.round(), torch.arange(12)
    label = index % 3
    model.log_importance_weights(x, 1, label)  # so that batch norms have statistics to go by
    model.eval()

    def measure(parts):
        log_px = torch.empty(12, dtype=torch.float64)
        for part in parts:
            with torch.no_grad(), seeded(0, x.device):
                log_px[part] = estimate_log_px(model, x[part], part.tolist(), num_samples, 20, 0, label[part]).log_px
        return log_px

    whole = measure([index])
    shuffled = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    ranks = [index[rank::3] for rank in range(3)]
    for parts in (index.split(1), index.split(5), shuffled.split(4), ranks):
        torch.testing.assert_close(measure(parts), whole, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", [name for name in MODELS if name.startswith(("vae", "iwae"))])
def test_latent_variable_models_keep_their_protocols(name):
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    assert isinstance(model, ImportanceWeights)
    assert isinstance(model, Codes)
    assert isinstance(model, PriorQuantiles)
    x = Loader(IMAGE).x
    log_weights = model.log_importance_weights(x, 6)
    assert log_weights.shape == (6, 12)
    assert log_weights.isfinite().all()
    assert log_weights.std(0).min() > 0  # independent draws for each sample
    codes = model.encode(x)
    assert codes.shape == (12, model.prior.dim)
    pixels = model.decode(codes)
    assert pixels.shape == x.shape
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    assert isinstance(model.latent_prior(), Distribution)
    assert model.latent_prior().event_shape == (model.prior.dim,)


@pytest.mark.parametrize("make", AUTOENCODERS, indirect=True)
def test_autoencoders_have_codes_and_pictures_and_report_their_squared_error(make):
    model = make().eval()
    assert isinstance(model, Codes)
    assert not isinstance(model, Samples)
    x = Loader(IMAGE).x
    codes = model.encode(x)
    assert codes.shape == (12, 3)
    pixels = model.decode(codes)
    assert pixels.shape == x.shape
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    assert {"loss", "reconstruction", "squared_error"} <= set(model.validation_step(Batch(x, None, None), 0))

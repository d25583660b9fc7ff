"""The VQ-VAE against the sum over all its codes, against its loss written out, and through a resumption."""

import itertools
import math
from functools import partial

import pytest
import torch
from lightning.pytorch import seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.optim import SGD

from lit_gen.callbacks.likelihood import Likelihood
from lit_gen.distributions.bernoulli import BernoulliHead
from lit_gen.errors import UserError
from lit_gen.models.vaes.vq_vae import VQVAE
from lit_gen.networks.layers.quantize import VectorQuantizer, perplexity
from lit_gen.networks.mlp import MLP
from lit_gen.protocols import Batch, Codes, ImportanceWeights, Samples, StartsAtMean

X = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(1)).round()
NUM_CODES, DIM, POSITIONS = 3, 2, 4


def vq_vae(seed=0, shape=(1, 4, 4), **kwargs):
    torch.manual_seed(seed)
    parts = {
        "encoder": MLP(shape, (DIM, POSITIONS), [8]),
        "decoder": MLP((DIM, POSITIONS), shape, [8]),
        "quantizer": VectorQuantizer(NUM_CODES, DIM),
        "likelihood": BernoulliHead(),
        "positions": (POSITIONS,),
    }
    return VQVAE(**(parts | kwargs))


@torch.no_grad()
def test_its_bound_is_below_the_likelihood_summed_over_all_codes():
    """log p(x) = log sum_c K^-N p(x|c) over all 81 fields; the bound is one term of that sum, and the greatest one
    where the encoder finds it. p(x) sums to 1 over all x, so that the prior is counted rightly."""
    model = vq_vae(shape=(1, 2, 2)).eval()
    model.quantizer.codebook.mul_(3.0)
    x = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4))).view(16, 1, 2, 2)
    fields = torch.tensor(list(itertools.product(range(NUM_CODES), repeat=POSITIONS)))  # (81, 4)
    p = model.likelihood(model.decoder(model.quantizer.look_up(fields)))
    joint = torch.stack([p.log_prob(one.expand(81, 1, 2, 2)) for one in x]) - POSITIONS * math.log(NUM_CODES)
    exact = joint.logsumexp(1)
    assert exact.exp().sum().item() == pytest.approx(1.0, abs=1e-5)
    bound = model.validation_step(Batch(x, None, torch.arange(16)), 0)["bound"]
    assert (bound < exact).all()
    weights = model.log_importance_weights(x, 5)
    torch.testing.assert_close(weights, bound.expand(5, 16))
    torch.testing.assert_close(model.log_prob_bound(x), bound)
    own = (fields[None] == model.quantizer(model.encoder(x)).index[:, None]).all(-1)  # (16, 81)
    assert (own.sum(1) == 1).all()
    torch.testing.assert_close(bound, joint[own])


def test_gradients_are_those_of_the_formula(tiny):
    """-log p(x|c) straight through, and the commitment; the codebook has no gradient."""
    model, gradients = vq_vae(commitment_weight=0.7, optimizer=partial(SGD, lr=0.0)), tiny.Gradients()
    model.quantizer.choices.fill_(1.0)  # nothing restarts
    codebook = model.quantizer.codebook.clone()
    trainer = tiny.trainer(max_steps=1, callbacks=[gradients])
    trainer.fit(model, tiny.Loader(X, 24))
    z = model.encoder(X)
    index = torch.cdist(z.transpose(1, 2), codebook).argmin(2)
    e = codebook[index].transpose(1, 2)
    p = model.decoder(z + (e - z).detach()).sigmoid()
    log_px = (X * p.log() + (1 - X) * (1 - p).log()).sum((1, 2, 3))
    commitment = (z - e).square().sum((1, 2))
    expected = torch.autograd.grad((0.7 * commitment - log_px).mean(), list(model.parameters()))
    for got, want in zip(gradients.steps[0][1], expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)
    metrics = trainer.callback_metrics
    torch.testing.assert_close(metrics["train/commitment"], commitment.mean())
    torch.testing.assert_close(metrics["train/reconstruction"], log_px.mean())
    torch.testing.assert_close(metrics["train/bound"], log_px.mean() - POSITIONS * math.log(NUM_CODES))
    torch.testing.assert_close(metrics["train/loss"], 0.7 * commitment.mean() - metrics["train/bound"])
    torch.testing.assert_close(metrics["train/perplexity"], perplexity(index.flatten().bincount(minlength=NUM_CODES)))


def test_the_likelihood_callback_gives_the_bound_by_its_name(tiny):
    callback = Likelihood(num_samples=50)
    model = vq_vae().eval()
    [metrics] = tiny.trainer(callbacks=[callback]).test(model, tiny.Loader(X, 5), verbose=False)
    assert metrics["test/nll_nats_bound"] == pytest.approx(-model.log_prob_bound(X).mean().item(), rel=1e-6)
    assert metrics["test/nll_nats_bound"] == pytest.approx(-metrics["test/bound"], rel=1e-6)
    assert callback.protocols["test/nll_nats_bound"].startswith("an upper bound without draws; 24 test examples")
    assert not any("_k50" in name or "_ess" in name for name in metrics)


@pytest.mark.parametrize("batch_size", [5, 24])
def test_evaluation_reports_the_bound_and_the_splits_own_perplexity(tiny, batch_size):
    model = vq_vae(commitment_weight=9.0)
    model.quantizer.codebook.mul_(0.3)
    before = model.quantizer.codebook.clone()
    [metrics] = tiny.trainer().validate(model, tiny.Loader(X, batch_size), verbose=False)
    quantized = model.eval().quantizer(model.encoder(X))
    counts = quantized.index.flatten().bincount(minlength=NUM_CODES)
    assert counts.count_nonzero() > 1
    assert metrics["val/perplexity"] == pytest.approx(perplexity(counts).item(), rel=1e-5)
    assert metrics["val/loss"] == pytest.approx(-metrics["val/bound"])
    assert metrics["val/bound"] == pytest.approx(metrics["val/reconstruction"] - 4 * math.log(3), rel=1e-5)
    assert torch.equal(model.quantizer.codebook, before)


def test_a_resumed_run_ends_where_the_unbroken_one_does(tiny, tmp_path):
    seed_everything(5)
    checkpoint = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=4, save_top_k=-1)
    # With so high a threshold codes are restarted throughout, by noise of the step.
    make = partial(vq_vae, quantizer=None, optimizer=partial(SGD, lr=0.01))
    unbroken = make(quantizer=VectorQuantizer(8, DIM, decay=0.5, restart_below=0.9))
    tiny.trainer(max_steps=8, callbacks=[checkpoint]).fit(unbroken, tiny.Loader(X, 6))
    resumed = make(seed=9, quantizer=VectorQuantizer(8, DIM, decay=0.5, restart_below=0.9))
    tiny.trainer(max_steps=8).fit(resumed, tiny.Loader(X, 6), ckpt_path=str(tmp_path / "step=4.ckpt"))
    for name, value in unbroken.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_it_learns_and_uses_its_codes(tiny):
    """Six images at random."""
    model = vq_vae(optimizer=partial(torch.optim.Adam, lr=0.01))
    x = X[:6].repeat(4, 1, 1, 1)
    trainer = tiny.trainer(max_steps=300)
    trainer.fit(model, tiny.Loader(x, 24))
    [metrics] = tiny.trainer().validate(model, tiny.Loader(x, 24), verbose=False)
    assert metrics["val/reconstruction"] > -4.0  # -11.1 at the start
    assert metrics["val/perplexity"] > 2.0


@torch.no_grad()
def test_codes_reconstructions_and_samples(tiny):
    model = vq_vae().eval()
    for protocol in (Codes, ImportanceWeights, Samples, StartsAtMean):
        assert isinstance(model, protocol)
    codes = model.encode(X)
    assert codes.shape == (24, DIM * POSITIONS)
    whole = model.likelihood(model.decoder(model.quantizer(model.encoder(X)).codes)).mean
    torch.testing.assert_close(model.decode(codes), whole)
    fields = torch.tensor(list(itertools.product(range(NUM_CODES), repeat=POSITIONS)))
    possible = model.decode(model.quantizer.look_up(fields).flatten(1)).flatten(1)
    torch.manual_seed(0)
    which = torch.cdist(model.sample(2000).flatten(1), possible).argmin(1).bincount(minlength=81)
    assert (which > 0).all()  # 25 of each expected
    assert which.max() < 50
    nn.init.zeros_(model.decoder.layers[-1].weight)
    mean = torch.linspace(0.1, 0.9, 16).view(1, 4, 4)
    model.start_at_mean(mean)
    torch.testing.assert_close(model.sample(1)[0], mean)
    [prediction] = tiny.trainer().predict(model, tiny.Loader(X, 24))
    torch.testing.assert_close(prediction.reconstruction[0], mean)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"encoder": MLP((1, 4, 4), (POSITIONS, DIM), [])}, r"encodings of shape \(4, 2\).* ask for \(2, 4\)"),
        ({"positions": (2, 2)}, r"ask for \(2, 2, 2\)"),
        ({"decoder": MLP((DIM, 5), (1, 4, 4), [])}, r"the decoder takes inputs of shape \(2, 5\)"),
        ({"decoder": MLP((DIM, POSITIONS), (1, 5, 5), [])}, r"examples of shape \(1, 5, 5\)"),
        ({"quantizer": VectorQuantizer(97, DIM)}, "a codebook of 97 codes is larger than the data: 24 .* 96 encodings"),
    ],
)
def test_what_does_not_fit_is_told_before_the_first_step(tiny, parts, message):
    data = tiny.TensorData(X, 6)
    data.num_examples = lambda split: 24
    with pytest.raises(UserError, match=message) as error:
        tiny.trainer(max_steps=1).fit(vq_vae(**parts), data)
    assert "\n" not in str(error.value)


def test_a_codebook_as_large_as_the_data_is_allowed(tiny):
    data = tiny.TensorData(X, 6)
    data.num_examples = lambda split: 24
    tiny.trainer(max_steps=1).fit(vq_vae(quantizer=VectorQuantizer(96, DIM)), data)


def test_a_negative_weight_is_refused():
    with pytest.raises(UserError, match="commitment_weight must not be negative"):
        vq_vae(commitment_weight=-1.0)

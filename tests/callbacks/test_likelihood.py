"""The likelihood callback on a linear-Gaussian model, whose exact likelihood is known.

z ~ N(0, I), x|z ~ N(W z + b, s^2 I): p(x) = N(b, W W' + s^2 I), and the posterior is Gaussian too.
"""

import math
import warnings

import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from torch import Tensor, nn
from torch.distributions import Independent, MultivariateNormal, Normal
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader

from lit_gen.callbacks.likelihood import Likelihood, estimate_log_px
from lit_gen.errors import UserError
from lit_gen.metrics.nll import ImportanceEstimate, ImportanceSampling, NegativeLogLikelihood
from lit_gen.protocols import Batch
from lit_gen.randomness import seeded

CPU = torch.device("cpu")
DIM = 6


class LinearGaussian(LightningModule):
    """``q_scale`` 1 proposes from the true posterior; another widens it and leaves its correlations out."""

    def __init__(self, q_scale: float = 1.2):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(DIM, 2, generator=generator))
        self.bias = nn.Parameter(torch.randn(DIM, generator=generator))
        self.std = 0.7
        self.q_scale = q_scale
        self.calls = []

    def exact_log_prob(self, x: Tensor) -> Tensor:
        covariance = self.weight @ self.weight.T + self.std**2 * torch.eye(DIM)
        return MultivariateNormal(self.bias, covariance).log_prob(x)

    def posterior(self, x: Tensor):
        precision = torch.eye(2) + self.weight.T @ self.weight / self.std**2
        mean = (x - self.bias) @ self.weight / self.std**2 @ precision.inverse()
        if self.q_scale == 1:
            return MultivariateNormal(mean, precision.inverse())
        return Independent(Normal(mean, self.q_scale * precision.inverse().diagonal().sqrt()), 1)

    def log_importance_weights(self, x: Tensor, num_samples: int, label: Tensor | None = None) -> Tensor:
        self.calls.append((num_samples, len(x), torch.is_grad_enabled(), self.training))
        q = self.posterior(x)
        z = q.rsample((num_samples,))
        log_prior = Normal(0, 1).log_prob(z).sum(-1)
        log_likelihood = Normal(z @ self.weight.T + self.bias, self.std).log_prob(x).sum(-1)
        return log_prior + log_likelihood - q.log_prob(z)

    def validation_step(self, batch, batch_idx):
        pass

    def test_step(self, batch, batch_idx):
        pass


class KnownDensity(LightningModule):
    """The same data density, known exactly."""

    def __init__(self):
        super().__init__()
        self.model = LinearGaussian()
        self.modes = []

    def log_prob(self, x: Tensor) -> Tensor:
        self.modes.append((torch.is_grad_enabled(), self.training))
        return self.model.exact_log_prob(x)

    def test_step(self, batch, batch_idx):
        pass


class Points(LightningDataModule):
    binarization = "none"

    def __init__(self, x: Tensor, batch_size: int, order: Tensor | None = None):
        super().__init__()
        order = torch.arange(len(x)) if order is None else order
        self.loader = DataLoader([Batch(x[i], None, i) for i in order.split(batch_size)], batch_size=None)

    def test_dataloader(self):
        return self.loader

    val_dataloader = test_dataloader


def draw(count: int) -> Tensor:
    """Points of the model's own density."""
    model = LinearGaussian()
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(count, 2, generator=generator)
    noise = model.std * torch.randn(count, DIM, generator=generator)
    return (z @ model.weight.T + model.bias + noise).detach()


def score(model: LightningModule, data: Points, callback: Likelihood, verb: str = "test") -> dict[str, float]:
    trainer = Trainer(
        accelerator="cpu",
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about workers of loaders
        (figures,) = getattr(trainer, verb)(model, datamodule=data, verbose=False)
    return figures


def add(callback: Likelihood, model: LightningModule, batch: Batch) -> None:
    """One test batch."""
    callback.on_test_epoch_start(None, model)
    callback.on_test_batch_end(None, model, None, batch, 0)


def test_with_the_true_posterior_one_sample_is_exact():
    x = draw(30)
    model = LinearGaussian(q_scale=1)
    figures = score(model, Points(x, 8), Likelihood(num_samples=1))
    exact = -model.exact_log_prob(x)
    assert figures["test/nll_nats_k1"] == pytest.approx(exact.mean().item(), rel=1e-5)
    assert figures["test/nll_nats_k1_se"] == pytest.approx(exact.std().item() / math.sqrt(30), rel=1e-4)


def test_figures_are_logged_in_double_precision():
    callback = Likelihood(num_samples=3)
    figures = score(LinearGaussian(), Points(draw(30), 7), callback)
    assert figures["test/nll_nats_k3"] == float(callback._metric.compute().mean)
    assert figures["test/nll_nats_k3_mc_se"] == float(callback._sampling.compute().standard_error)


def test_bounds_the_exact_likelihood_and_tends_to_it():
    x = draw(40)
    model = LinearGaussian(q_scale=2.5)
    exact = -model.exact_log_prob(x).mean().item()
    nll = {k: score(model, Points(x, 40), Likelihood(num_samples=k))[f"test/nll_nats_k{k}"] for k in (1, 10, 4000)}
    assert nll[1] > nll[10] + 0.05 > nll[4000] + 0.1
    assert nll[4000] == pytest.approx(exact, abs=0.01)


def test_exact_where_the_model_knows_its_density():
    x = draw(30)
    model = KnownDensity().train()
    callback = Likelihood()
    figures = score(model, Points(x, 7), callback)
    assert figures["test/nll_nats_exact"] == pytest.approx(-model.model.exact_log_prob(x).mean().item(), rel=1e-6)
    assert set(figures) == {"test/nll_nats_exact", "test/nll_nats_exact_se"}
    assert callback.protocols == {"test/nll_nats_exact": "exact; 30 test examples; binarization none"}
    assert set(model.modes) == {(False, False)}


@pytest.mark.parametrize(("num_samples", "chunk_size"), [(7, 4), (3, 50), (5, 5)])
def test_batch_size_and_order_make_no_difference(num_samples, chunk_size):
    x = draw(37)
    shuffled = torch.randperm(37, generator=torch.Generator().manual_seed(2))
    name = f"test/nll_nats_k{num_samples}"
    figures = [
        score(LinearGaussian(), data, Likelihood(num_samples, chunk_size))[name]
        for data in (Points(x, 37), Points(x, 1), Points(x, 10), Points(x, 8, shuffled))
    ]
    assert figures[1:] == pytest.approx(figures[:1] * 3, rel=1e-6)


@pytest.mark.parametrize("num_samples", [3, 20])
@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_make_no_difference(world_size, num_samples):
    x, model = draw(37), LinearGaussian()

    def share(index) -> NegativeLogLikelihood:
        metric = NegativeLogLikelihood()
        for part in index.split(5):
            with torch.no_grad(), seeded(0, CPU):
                metric.update(estimate_log_px(model, x[part], part.tolist(), num_samples, 10, seed=0).log_px)
        return metric

    whole, joint = share(torch.arange(37)), NegativeLogLikelihood()
    for rank in range(world_size):
        joint.merge_state(share(torch.arange(37)[rank::world_size]))
    assert joint.compute().count == 37
    torch.testing.assert_close(joint.compute().mean, whole.compute().mean, rtol=1e-6, atol=0)
    torch.testing.assert_close(joint.compute().standard_error, whole.compute().standard_error, rtol=1e-5, atol=0)


def test_examples_chunks_and_seeds_have_noise_of_their_own():
    x = draw(1).expand(4, -1)

    def estimates(seed: int, num_samples: int = 5, chunk_size: int = 5) -> list[float]:
        with torch.no_grad(), seeded(0, CPU):
            return estimate_log_px(LinearGaussian(), x, range(4), num_samples, chunk_size, seed).log_px.tolist()

    assert len(set(estimates(0) + estimates(1))) == 8
    assert estimates(0) == estimates(0)
    # Were the second chunk's noise the first's, twice the samples would make no difference.
    assert all(one != two for one, two in zip(estimates(0), estimates(0, num_samples=10), strict=True))


@pytest.mark.parametrize(("num_samples", "chunk_size"), [(1, 4), (4, 4), (11, 4), (3, 100)])
def test_draws_as_many_samples_as_asked_for_without_gradients_in_evaluation_mode(num_samples, chunk_size):
    model = LinearGaussian().train()
    x = draw(5)
    callback = Likelihood(num_samples, chunk_size)
    add(callback, model, Batch(x, None, torch.arange(5)))
    assert sum(count * rows for count, rows, _, _ in model.calls) >= 5 * num_samples
    if num_samples >= chunk_size:
        assert sum(count * rows for count, rows, _, _ in model.calls) == 5 * num_samples
    assert max(count * rows for count, rows, _, _ in model.calls) <= chunk_size
    assert {call[2:] for call in model.calls} == {(False, False)}
    assert model.training


def test_leaves_the_callers_random_stream_alone():
    model, x = LinearGaussian(), draw(5)
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    add(Likelihood(3), model, Batch(x, None, torch.arange(5)))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("chunk_size", [3, 12])
def test_estimates_come_in_the_order_of_the_examples(chunk_size):
    x, model = draw(20), LinearGaussian(q_scale=1)
    index = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), seeded(0, CPU):
        estimates = estimate_log_px(model, x[index], index.tolist(), 3, chunk_size, seed=0).log_px
    torch.testing.assert_close(estimates, model.exact_log_prob(x[index]).detach().double(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("chunk_size", [3, 12])
def test_every_example_keeps_its_label(chunk_size):
    class Labelled(LinearGaussian):
        def log_importance_weights(self, x, num_samples, label=None):
            return (x[:, 0] + 100 * label).expand(num_samples, -1)

    x, index, label = draw(20), torch.randperm(20), torch.arange(20) % 7
    with torch.no_grad(), seeded(0, CPU):
        estimates = estimate_log_px(Labelled(), x[index], index.tolist(), 3, chunk_size, 0, label[index]).log_px
    torch.testing.assert_close(estimates, (x[:, 0] + 100 * label)[index].double())


class LargestTensor(TorchDispatchMode):
    """Notes the most elements that any operation returned."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else [result]:
            if isinstance(value, Tensor):
                self.elements = max(self.elements, value.numel())
        return result


def test_memory_does_not_grow_with_the_number_of_samples():
    x, largest = draw(3), {}
    for num_chunks in (10, 100):
        with torch.no_grad(), seeded(0, CPU), LargestTensor() as seen:
            estimate_log_px(LinearGaussian(), x, range(3), 20 * num_chunks, chunk_size=20, seed=0)
        largest[num_chunks] = seen.elements
    assert largest[10] == largest[100] == 20 * DIM


def test_a_non_finite_example_makes_the_figure_non_finite():
    x = draw(10)
    x[6, 2] = torch.nan
    model = LinearGaussian()
    model.posterior = lambda x: Independent(Normal(torch.zeros(len(x), 2), torch.ones(2)), 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Normal, "_validate_args", False)
        figures = score(model, Points(x, 4), Likelihood(3))
    assert math.isnan(figures["test/nll_nats_k3"])


class TestValidation:
    def test_off_in_fit_unless_asked_for(self):
        for val_num_samples, names in [(None, set()), (2, self.names(2))]:
            trainer = self.fit(Likelihood(num_samples=5, val_num_samples=val_num_samples))
            assert set(trainer.callback_metrics) == names

    def test_on_when_validation_is_all_there_is(self):
        figures = score(LinearGaussian(), Points(draw(5), 5), Likelihood(num_samples=4), "validate")
        assert set(figures) == self.names(4)

    @staticmethod
    def names(num_samples: int) -> set[str]:
        return {f"val/nll_nats_k{num_samples}{what}" for what in ("", "_se", "_mc_se", "_ess")}

    @staticmethod
    def fit(callback):
        class Fitted(LinearGaussian):
            def training_step(self, batch, batch_idx):
                return self.weight.sum()

            def configure_optimizers(self):
                return torch.optim.SGD(self.parameters(), lr=0.0)

        trainer = Trainer(
            max_epochs=1,
            accelerator="cpu",
            callbacks=[callback],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        data = Points(draw(6), 3)
        data.train_dataloader = data.test_dataloader
        trainer.fit(Fitted(), datamodule=data)
        return trainer


def test_the_protocol_names_samples_split_and_binarization():
    data = Points(draw(9), 4)
    data.binarization, data.binarization_seed = "fixed", 12
    callback = Likelihood(num_samples=50, seed=3)
    figures = score(LinearGaussian(), data, callback)
    assert set(figures) == set(callback.protocols) | {"test/nll_nats_k50_se"}
    assert callback.protocols["test/nll_nats_k50"] == (
        "importance-weighted, K=50, noise seed 3; 9 test examples; binarization fixed (seed 12)"
    )
    assert "effective sample size" in callback.protocols["test/nll_nats_k50_ess"]


def test_the_effective_sample_size_is_that_of_the_weights_and_all_of_k_at_the_true_posterior():
    x = draw(12)
    figures = score(LinearGaussian(q_scale=1), Points(x, 5), Likelihood(40, chunk_size=15))
    assert figures["test/nll_nats_k40_ess"] == pytest.approx(40, rel=1e-4)
    assert figures["test/nll_nats_k40_mc_se"] == pytest.approx(0, abs=1e-3)
    # E[w^2] / E[w]^2 of a normal weight function has a closed form; K over it is what the estimate tends to.
    model = LinearGaussian(q_scale=1.5)
    figures = score(model, Points(x, 12), Likelihood(20_000, chunk_size=20_000))
    truth = model_truth(model, x)
    assert figures["test/nll_nats_k20000_ess"] == pytest.approx(20_000 / truth, rel=0.02)


def model_truth(model: LinearGaussian, x: Tensor) -> float:
    """E_q[(p(z|x) / q(z|x))^2] = integral of p^2 / q for normal p, q of equal means and covariances S, T:
    |T|^(1/2) |S|^-1 |2 S^-1 - T^-1|^(-1/2)."""
    precision = (torch.eye(2) + model.weight.T @ model.weight / model.std**2).detach()
    scales = model.posterior(x[:1]).stddev[0].detach()
    proposal = torch.diag(scales**-2)
    return float(precision.det() / proposal.det().sqrt() / (2 * precision - proposal).det().sqrt())


def test_the_monte_carlo_error_is_the_spread_over_seeds():
    x, model, k = draw(20), LinearGaussian(q_scale=1.5), 60
    name = f"test/nll_nats_k{k}"
    runs = [score(model, Points(x, 20), Likelihood(k, chunk_size=1200, seed=seed)) for seed in range(40)]
    spread = torch.tensor([run[name] for run in runs]).std().item()
    told = sum(run[f"{name}_mc_se"] for run in runs) / len(runs)
    assert told == pytest.approx(spread, rel=0.3)  # of 40 draws the standard deviation is known to 11 percent
    assert told < runs[0][f"{name}_se"] / 4


@pytest.mark.parametrize("num_samples", [4, 400])
def test_says_when_k_is_too_small_to_trust(num_samples):
    callback = Likelihood(num_samples)
    with pytest.MonkeyPatch.context() as patch:
        told = []
        patch.setattr(warnings, "warn", lambda message, *_, **__: told.append(str(message)))
        score(LinearGaussian(q_scale=4.0), Points(draw(40), 40), callback)
    doubted = "K is too small to trust it" in callback.protocols[f"test/nll_nats_k{num_samples}"]
    assert doubted == any("K is too small to trust it" in message for message in told) == (num_samples == 4)


@pytest.mark.parametrize(("num_dominated", "too_few"), [(5, False), (6, True)])
def test_one_example_in_twenty_may_rest_on_a_single_draw(num_dominated, too_few):
    sampling = ImportanceSampling(num_samples=3)
    share = torch.full((100,), 0.5)
    share[:num_dominated] = 0.51
    sampling.update(ImportanceEstimate(torch.zeros(100), torch.full((100,), 2.0), share))
    assert sampling.compute().too_few_samples == too_few
    assert sampling.compute().num_dominated == num_dominated


@pytest.mark.parametrize("name", ["num_samples", "chunk_size", "val_num_samples"])
def test_refuses_counts_below_one(name):
    with pytest.raises(UserError, match=f"{name} of at least 1"):
        Likelihood(**{name: 0})


def test_refuses_a_model_without_a_likelihood():
    class Sampler(LightningModule):
        def test_step(self, batch, batch_idx):
            pass

    with pytest.raises(UserError, match=r"Sampler.*log_prob\(x\).*log_importance_weights"):
        score(Sampler(), Points(draw(3), 3), Likelihood())


def test_a_trial_run_takes_few_samples_and_says_so(make_trainer):
    trainer = make_trainer(Likelihood(num_samples=5000), fast_dev_run=1)
    (figures,) = trainer.test(LinearGaussian(), datamodule=Points(draw(9), 4), verbose=False)
    assert "test/nll_nats_k10" in figures

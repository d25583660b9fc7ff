import json

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from sklearn.decomposition import PCA as Reference
from torch.distributions import MultivariateNormal

from lit_gen.cli.main import main
from lit_gen.data.digits import Digits
from lit_gen.data.toy import ToyData
from lit_gen.errors import UserError
from lit_gen.models.autoencoders.pca import MOMENTS_KEY, PCA
from lit_gen.protocols import Batch, Codes, ExactLikelihood, Filters, PriorQuantiles, Samples

IMAGE = (1, 8, 8)
CONFIG = "conf/autoencoders/pca_digits.yaml"


def split(name):
    data = Digits()
    data.setup()
    return torch.cat([batch.x for batch in data.reference_loader(name)])


@pytest.fixture(scope="module")
def train():
    return split("train")


@pytest.fixture(scope="module")
def test():
    return split("test")


@pytest.fixture
def fitted(tiny):
    def fit(num_components=10, batch_size=100, whiten=False, **options):
        model = PCA(IMAGE, num_components, whiten)
        trainer = tiny.trainer(max_epochs=1, **options)
        trainer.fit(model, datamodule=Digits(batch_size=batch_size))
        return model.eval(), trainer

    return fit


def reference(x, num_components=10, **options):
    return Reference(num_components, svd_solver="full", **options).fit(x.flatten(1).double().numpy())


@pytest.mark.parametrize("num_components", [1, 10, 40])
def test_it_is_scikit_learns(fitted, train, test, num_components):
    model, _ = fitted(num_components)
    expected = reference(train, num_components)
    x = test.flatten(1).double().numpy()
    np.testing.assert_allclose(model.components, expected.components_, atol=1e-5)  # signs included
    np.testing.assert_allclose(model.eigenvalues[:num_components], expected.explained_variance_, rtol=1e-5)
    np.testing.assert_allclose(model.mean, expected.mean_, atol=1e-5)
    np.testing.assert_allclose(model.noise_variance, expected.noise_variance_, rtol=1e-5)
    np.testing.assert_allclose(model.encode(test), expected.transform(x), atol=1e-5)
    reconstruction = expected.inverse_transform(expected.transform(x))
    np.testing.assert_allclose(model.decode(model.encode(test)).flatten(1), reconstruction.clip(0, 1), atol=1e-5)
    np.testing.assert_allclose(model.log_prob(test), expected.score_samples(x), rtol=1e-4, atol=1e-3)
    assert int(model.num_examples) == len(train) == 1100


def test_double_precision_is_scikit_learns_to_double_precision(fitted, train):
    model, _ = fitted(40, precision="64-true")
    np.testing.assert_allclose(model.components, reference(train, 40).components_, atol=1e-10)


def test_whitened_codes_are_scikit_learns_and_decode_back(fitted, train, test):
    model, _ = fitted(whiten=True)
    expected = reference(train, whiten=True)
    np.testing.assert_allclose(model.encode(test), expected.transform(test.flatten(1).double().numpy()), atol=1e-4)
    plain, _ = fitted()
    torch.testing.assert_close(model.decode(model.encode(test)), plain.decode(plain.encode(test)))
    torch.testing.assert_close(model.encode(train).var(0), torch.ones(10), rtol=1e-4, atol=0)


def test_training_error_is_the_sum_of_the_dropped_eigenvalues(fitted, train):
    model, _ = fitted()
    squared_error = (train.flatten(1) - model.found.decode(model.found.encode(train))).square().sum()
    dropped = model.eigenvalues[10:].sum() * (len(train) - 1)
    torch.testing.assert_close(squared_error, dropped, rtol=1e-5, atol=0)


def test_figures_are_sums_over_the_event_and_shares_of_the_split(fitted, train, test):
    model, trainer = fitted()
    trainer.test(model, datamodule=Digits(eval_batch_size=60), verbose=False)
    x = test.flatten(1).double().numpy()
    expected = reference(train)
    error = ((x - expected.inverse_transform(expected.transform(x))) ** 2).sum(1).mean()
    variance = ((x - expected.mean_) ** 2).sum(1).mean()
    figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert figures["test/squared_error"] == pytest.approx(error, rel=1e-5)
    assert figures["test/variance"] == pytest.approx(variance, rel=1e-5)
    assert figures["test/explained_variance_ratio"] == pytest.approx(1 - error / variance, rel=1e-5)


def test_density_is_the_normal_of_probabilistic_pca(fitted, test):
    model, _ = fitted(5)
    kept, sigma2 = model.eigenvalues[:5].double(), model.noise_variance.double()
    u = model.components.double()
    covariance = u.T @ torch.diag(kept - sigma2) @ u + sigma2 * torch.eye(64).double()
    expected = MultivariateNormal(model.mean.double(), covariance).log_prob(test.flatten(1).double())
    torch.testing.assert_close(model.log_prob(test).double(), expected, rtol=1e-4, atol=1e-3)


def test_there_is_no_density_where_nothing_varies(fitted, test):
    model, _ = fitted(64)  # three pixels of the digits are always black
    with pytest.raises(UserError, match=r"no density.*outside of 6[01] directions.*fewer num_components"):
        model.log_prob(test)
    torch.testing.assert_close(model.decode(model.encode(test)), test, rtol=0, atol=1e-5)


class OnALine(ToyData):
    """Points of a line in three dimensions, with so much noise about it."""

    def __init__(self, noise=0.0):
        super().__init__(event_shape=(3,), num_train=2000, num_validation=0, num_test=10)
        self.noise = noise

    def sample(self, num_samples, generator=None):
        along = torch.randn(num_samples, 1, generator=generator) * torch.tensor([0.3, -1.1, 0.7])
        return along + 0.5 + self.noise * torch.randn(num_samples, 3, generator=generator)


@pytest.mark.parametrize("precision", ["32-true", "64-true"])
@pytest.mark.parametrize("num_components", [1, 2])
def test_rounding_is_no_variance_that_a_density_could_have(tiny, precision, num_components):
    """It was one of 1e-15, and log p thus +30 and more; in double precision the data's own rounding is left."""
    model, data = PCA((3,), num_components), OnALine()
    tiny.trainer(max_epochs=1, precision=precision).fit(model, datamodule=data)
    x = next(iter(data.reference_loader("test"))).x.to(model.mean.dtype)
    with pytest.raises(UserError, match=r"no density.*outside of 1 directions.*fewer num_components.*min_variance"):
        model.log_prob(x)
    model.min_variance = 1e-4
    direction = torch.tensor([0.3, -1.1, 0.7]).double()
    scatter = float(model.eigenvalues[0])
    unit = direction / direction.norm()
    covariance = (scatter - 1e-4) * torch.outer(unit, unit) + 1e-4 * torch.eye(3)
    expected = MultivariateNormal(model.mean.double(), covariance).log_prob(x.double())
    torch.testing.assert_close(model.log_prob(x).double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("noise", "precision"), [(5e-3, "32-true"), (1e-4, "64-true")])
def test_a_density_of_little_noise_is_kept(tiny, noise, precision):
    model, data = PCA((3,), 1), OnALine(noise)
    tiny.trainer(max_epochs=1, precision=precision).fit(model, datamodule=data)
    x = next(iter(data.reference_loader("test"))).x.to(model.mean.dtype)
    train = torch.cat([batch.x for batch in data.reference_loader("train")]).double().numpy()
    expected = Reference(1, svd_solver="full").fit(train).score_samples(x.double().numpy())
    np.testing.assert_allclose(model.log_prob(x), expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_least_variance_that_is_none_is_refused(value):
    with pytest.raises(UserError, match="min_variance"):
        PCA((3,), 1, min_variance=value)


def test_samples_have_the_latents_covariance_and_the_pixels_range():
    model = with_moments()
    torch.manual_seed(0)
    x = model.sample(200_000)
    u = model.components
    expected = u.T @ torch.diag(model.eigenvalues[:2] - model.noise_variance) @ u
    torch.testing.assert_close(torch.cov(x.T), expected, rtol=0, atol=0.05)
    torch.testing.assert_close(x.mean(0), model.mean, rtol=0, atol=0.02)
    image = PCA((1, 1, 3), 2)
    image.load_state_dict(model.state_dict())
    drawn = image.sample(50)
    assert drawn.shape == (50, 1, 1, 3)
    assert drawn.min() == 0
    assert drawn.max() == 1


def with_moments() -> PCA:
    """Variances 4, 1 and 0.25 along rotated axes."""
    model = PCA(3, 2)
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1))).Q
    model.mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    model.components.copy_(rotation[:2])
    model.eigenvalues.copy_(torch.tensor([4.0, 1.0, 0.25]))
    model.num_examples.fill_(100)
    return model


def test_quantiles_of_the_codes():
    p = torch.tensor([[0.5, 0.5], [0.8413447, 0.1586553]])
    torch.testing.assert_close(
        with_moments().prior_quantile(p), torch.tensor([[0.0, 0.0], [2.0, -1.0]]), atol=1e-5, rtol=0
    )


def test_protocols_and_shapes(fitted, test):
    model, _ = fitted()
    assert isinstance(model, Codes)
    assert isinstance(model, Samples)
    assert isinstance(model, ExactLikelihood)
    assert isinstance(model, PriorQuantiles)
    assert isinstance(model, Filters)
    assert model.filters().shape == (10, *IMAGE)
    assert model.encode(test).shape == (500, 10)
    assert model.decode(model.encode(test)).shape == test.shape
    torch.testing.assert_close(model.log_prob(test[:7]), model.log_prob(test)[:7])
    assert not list(model.parameters())


def test_resumed_within_the_pass_it_has_the_bits_of_the_unbroken_run(tiny, tmp_path):
    def run(folder, stop, **options):
        callback = ModelCheckpoint(folder, filename="{step}", every_n_train_steps=4, save_top_k=-1)
        model = PCA(IMAGE, 10)
        options |= {"limit_val_batches": 0, "callbacks": [callback]}
        trainer = tiny.trainer(max_epochs=1, **options)
        trainer.fit(model, datamodule=Digits(batch_size=100), ckpt_path=stop, weights_only=True)
        return model, trainer

    whole, _ = run(tmp_path / "whole", None)
    middle = tmp_path / "whole" / "step=4.ckpt"
    content = torch.load(middle, weights_only=True)
    assert content[MOMENTS_KEY]["count"] == 400
    assert content["state_dict"]["num_examples"] == 0
    resumed, trainer = run(tmp_path / "resumed", middle)
    assert trainer.global_step == 11
    assert whole.state_dict().keys() == resumed.state_dict().keys()
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    assert MOMENTS_KEY not in torch.load(tmp_path / "end.ckpt", weights_only=True)


def test_every_rank_of_a_resumed_pass_takes_part_in_a_save_before_its_first_batch(monkeypatch, train):
    """Each joins the sums of all ranks then, and one that stayed away would leave the others waiting."""
    source = PCA(IMAGE, 10)
    source.gather(Batch(train[:100], None, None))
    saved = {}
    source.on_save_checkpoint(saved)
    total = 0
    for number in range(2):
        monkeypatch.setattr("lit_gen.models.autoencoders.pca.rank", lambda number=number: number)
        model, again = PCA(IMAGE, 10), {}
        model.on_load_checkpoint(saved)
        model.on_save_checkpoint(again)
        total += again[MOMENTS_KEY]["count"]
    assert total == 100


def test_a_checkpoint_within_the_pass_is_not_taken_for_a_result(tiny, test):
    model = PCA(IMAGE, 10)
    for use in (lambda: model.encode(test), lambda: model.sample(3), lambda: model.log_prob(test), model.filters):
        with pytest.raises(UserError, match="has found nothing yet"):
            use()
    with pytest.raises(UserError, match="has found nothing yet"):
        tiny.trainer().test(model, datamodule=Digits(), verbose=False)


def test_the_whole_road_of_the_command_line(tmp_path):
    common = [f"--runs={tmp_path}", "--wandb=false"]
    assert main(["fit", "--config", CONFIG, *common]) == 0
    (run,) = tmp_path.glob("pca_digits/*")
    summary = json.loads((run / "summary.json").read_text())
    assert summary["steps"] == 11
    assert summary["epochs"] == 1
    names = {"squared_error", "variance", "explained_variance_ratio", "nll_nats_exact", "nll_nats_exact_se"}
    assert summary["figures"].keys() == {f"test/{name}" for name in names}
    pictures = {path.name for path in (run / "samples").iterdir()}
    assert pictures == {f"{name}_0000011.png" for name in ("filters", "reconstructions", "samples")}
    again = ["--config", str(run / "config.yaml"), f"--ckpt_path={run}", *common, "--name=again"]
    assert main(["test", *again]) == 0
    assert main(["predict", *again]) == 0
    (predicted,) = tmp_path.glob("again/*/predictions.npz")
    with np.load(predicted) as arrays:
        assert arrays["code"].shape == (500, 10)
    assert main(["sample", "--ckpt", str(run), "--num=4", f"--out={tmp_path / 'drawn.png'}"]) == 0
    assert (tmp_path / "drawn.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--model.num_components=65"], "PCA can't have 65 components of examples of 64 dimensions: at most 64"),
        (["--data.num_validation=1287", "--data.batch_size=5"], "10 components of 10 examples: at most 9"),
        (["--trainer.limit_train_batches=2", "--data.batch_size=5"], "10 components of 10 examples: at most 9"),
        (["--trainer.max_epochs=2"], "set trainer.max_epochs to 1, not to 2"),
        (["--model.in_shape=[1,4,4]"], "inputs of shape (1, 4, 4), but the data's examples have shape (1, 8, 8)"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path, capsys, arguments, told):
    assert main(["fit", "--config", CONFIG, f"--runs={tmp_path}", "--wandb=false", *arguments]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lit-gen: error")]
    assert told in line

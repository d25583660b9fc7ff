"""Noise that belongs to the examples: the same terms however the split is cut, and the right distributions."""

import math

import pytest
import torch
from lightning.pytorch import Trainer
from scipy import stats
from torch.nn import functional as F

from lit_gen.cli.run_record import protocols_of
from lit_gen.data.loader import EvaluationLoader, Examples
from lit_gen.distributions.bernoulli import BernoulliHead
from lit_gen.distributions.gumbel_softmax import GumbelSoftmaxHead
from lit_gen.distributions.normal import NormalHead
from lit_gen.distributions.one_hot import UniformCategorical
from lit_gen.distributions.priors import StandardNormal
from lit_gen.models.base import GenerativeModel
from lit_gen.models.noise_by_example import (
    ExampleBits,
    NoiseByExample,
    standard_exponential,
    standard_normal,
    uniform,
)
from lit_gen.models.vaes.vae import VAE
from lit_gen.networks.mlp import MLP
from lit_gen.objectives.variational import ELBO, ImportanceWeighted
from lit_gen.protocols import Batch
from lit_gen.randomness import derive_seed, seed_torch

X = torch.rand(500, 6, generator=torch.Generator().manual_seed(0)).round()
CUTS = {"batches of 7": (7, 1), "batches of 64": (64, 1), "batches of 500": (500, 1), "two ranks": (64, 2)}


def vae(objective=None):
    torch.manual_seed(0)
    encoder, decoder = MLP(6, 3, [16], params_per_output=2), MLP(3, 6, [16])
    return VAE(encoder, decoder, NormalHead(), BernoulliHead(), StandardNormal(3), objective=objective)


def discrete_vae(num_variables=7):
    torch.manual_seed(0)
    encoder = MLP(6, num_variables, [16], params_per_output=3)
    decoder, prior = MLP(3 * num_variables, 6, [16]), UniformCategorical(num_variables, 3)
    return VAE(encoder, decoder, GumbelSoftmaxHead(3), BernoulliHead(), prior, objective=ELBO(num_samples=7))


class Trial(GenerativeModel):
    """Whose validation step is ``draw(batch)``, called ``noise``."""

    def __init__(self, draw):
        super().__init__()
        self.draw = draw

    def validation_step(self, batch, batch_idx):
        return {"noise": self.draw(batch)}

    def test_step(self, batch, batch_idx):
        return self.validation_step(batch, batch_idx)


def parts(cut):
    """The batches of all ranks, each with its rank and number."""
    batch_size, world_size = CUTS[cut]
    for rank in range(world_size):
        loader = EvaluationLoader(Examples(X, None, None), batch_size, rank, world_size)
        yield from ((rank, number, batch) for number, batch in enumerate(loader))


@torch.no_grad()
def terms(model, cut, tied=True):
    """Each term's mean over the split: by the step as it is, or with the seeds of the batch alone."""
    step = type(model).validation_step
    model, sums, count = model.eval(), {}, 0
    for rank, number, batch in parts(cut):
        seed_torch(derive_seed(0, "val", rank, number), torch.device("cpu"))
        values = step(model, batch, number) if tied else step.__wrapped__(model, batch, number)
        sums = {name: sums.get(name, 0.0) + value.double().sum() for name, value in values.items()}
        count += len(batch.x)
    assert count == len(X)
    return {name: float(total / count) for name, total in sums.items()}


MODELS = {
    "elbo": vae,
    "importance weighted": lambda: vae(ImportanceWeighted(7, 2)),
    "discrete": discrete_vae,
}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_validation_terms_are_the_same_however_the_split_is_cut(make):
    model = make()
    whole = terms(model, "batches of 500")
    assert {"loss", "kl", "reconstruction"} <= set(whole)
    for cut in CUTS:
        assert terms(model, cut) == pytest.approx(whole, rel=1e-6)
    # The control: with the seeds of the batches, as it was, another cut is another loss.
    assert terms(model, "batches of 7", tied=False)["loss"] != pytest.approx(
        terms(model, "batches of 500", tied=False)["loss"], rel=1e-4
    )


def test_a_trainer_validates_to_the_same_loss_at_any_batch_size(tiny):
    model = vae()
    losses = [
        tiny.trainer().validate(model, EvaluationLoader(Examples(X), batch_size), verbose=False)[0]["val/loss"]
        for batch_size in (7, 64, 500)
    ]
    assert losses[1:] == pytest.approx(losses[:1] * 2, rel=1e-6)


def test_noise_changes_no_expectation():
    """Over many examples a tied bound and an untied one differ by no more than Monte-Carlo error."""
    model = vae().eval()
    x = X.repeat(40, 1)
    batch = Batch(x, None, torch.arange(len(x)))
    with torch.no_grad():
        seed_torch(3, torch.device("cpu"))
        tied, untied = (f(model, batch, 0)["loss"] for f in (VAE.validation_step, VAE.validation_step.__wrapped__))
    difference = (tied - untied).double()
    assert not torch.equal(tied, untied)
    assert abs(difference.mean()) < 4 * difference.std() / math.sqrt(len(x))


DRAWS = {
    "randn": (lambda n: torch.randn(n, 4), stats.norm.cdf),
    "randn_like": (lambda n: torch.randn_like(torch.empty(n, 4)), stats.norm.cdf),
    "normal": (lambda n: torch.normal(torch.full((n, 4), 2.0), torch.full((n, 4), 3.0)), stats.norm(2, 3).cdf),
    "normal_": (lambda n: torch.empty(n, 4).normal_(2.0, 3.0), stats.norm(2, 3).cdf),
    "torch.distributions": (lambda n: torch.distributions.Normal(torch.zeros(n, 4), 1.0).rsample(), stats.norm.cdf),
    "double": (lambda n: torch.randn(n, 4, dtype=torch.float64), stats.norm.cdf),
    "rand": (lambda n: torch.rand(n, 4), stats.uniform.cdf),
    "rand_like": (lambda n: torch.rand_like(torch.empty(n, 4)), stats.uniform.cdf),
    "uniform_": (lambda n: torch.empty(n, 4).uniform_(-1.0, 3.0), stats.uniform(-1, 4).cdf),
    "exponential_": (lambda n: torch.empty(n, 4).exponential_(2.0), stats.expon(scale=0.5).cdf),
}


@pytest.mark.parametrize(("draw", "cdf"), DRAWS.values(), ids=DRAWS)
def test_draws_have_the_distribution_that_was_asked_for(draw, cdf):
    model = Trial(lambda batch: draw(len(batch.x)))
    noise = model.validation_step(Batch(torch.zeros(20_000, 1), None, torch.arange(20_000)), 0)["noise"]
    assert stats.kstest(noise.flatten().double().numpy(), cdf).pvalue > 1e-3
    correlations = torch.corrcoef(torch.cat([noise[:-1], noise[1:]], 1).T.double()).fill_diagonal_(0)
    assert correlations.abs().max() < 5 / math.sqrt(20_000)  # between places, and between neighbouring examples
    assert len(noise.unique()) > 0.98 * noise.numel()


COUNTS = {
    "bernoulli": (lambda n: torch.bernoulli(torch.full((n,), 0.3)), [0.7, 0.3]),
    "method": (lambda n: torch.tensor(0.3).expand(n).bernoulli(), [0.7, 0.3]),
    "bernoulli_": (lambda n: torch.empty(n).bernoulli_(0.3), [0.7, 0.3]),
    "randint": (lambda n: torch.randint(3, (n,)), [1 / 3] * 3),
    "randint from": (lambda n: torch.randint(2, 5, (n,)) - 2, [1 / 3] * 3),
    "multinomial": (lambda n: torch.tensor([1.0, 0.0, 3.0]).multinomial(n, replacement=True), [0.25, 0.0, 0.75]),
}


@pytest.mark.parametrize(("draw", "shares"), COUNTS.values(), ids=COUNTS)
def test_discrete_draws_have_the_shares_that_were_asked_for(draw, shares):
    model = Trial(lambda batch: draw(len(batch.x)))
    noise = model.validation_step(Batch(torch.zeros(20_000, 1), None, torch.arange(20_000)), 0)["noise"]
    counts = torch.bincount(noise.long(), minlength=len(shares))
    for count, share in zip(counts.tolist(), shares, strict=True):
        assert abs(count - 20_000 * share) <= 4.5 * math.sqrt(20_000 * share * (1 - share))
    again = Trial(lambda batch: draw(len(batch.x)))
    rows = torch.arange(20_000)[5::1000]
    assert torch.equal(again.validation_step(Batch(torch.zeros(20, 1), None, rows), 0)["noise"], noise[rows])


def test_the_counting_generator_is_no_worse_than_torchs():
    """Neighbouring examples, places and seeds: where counters that aren't well mixed show."""
    bits = ExampleBits(torch.arange(3000), 5, 3, 11).draw()
    assert bits.shape == (3, 3000, 11)
    assert len(bits.unique()) == bits.numel()
    for places in range(64):  # each bit is fair and so is its exclusive or with the next example's
        one = (bits >> places) & 1
        for share in (one.double().mean(), (one[:, 1:] ^ one[:, :-1]).double().mean()):
            assert abs(share - 0.5) < 5 * 0.5 / math.sqrt(bits.numel())
    assert not (bits == ExampleBits(torch.arange(3000), 6, 3, 11).draw()).any()


def test_extreme_bits_give_finite_noise():
    ends = torch.tensor([0, -1, 2**63 - 1, -(2**63), 1])
    for dtype in (torch.float32, torch.float64):
        assert standard_normal(ends, dtype).isfinite().all()
        assert standard_exponential(ends, dtype).isfinite().all()
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        assert uniform(ends, dtype).to(dtype).max() < 1
        assert uniform(ends, dtype).min() >= 0


@pytest.mark.parametrize("num_examples", [1, 2, 5, 12, 24])
@pytest.mark.parametrize(
    "shape",
    [
        lambda n: (n, 5, 3),  # an example's own 5 variables
        lambda n: (5, n, 3),  # 5 draws of each example
        lambda n: (5 * n, 3),  # both in one dimension
        lambda n: (2, 12, n),
        lambda n: (n,),
    ],
)
def test_the_batchs_dimension_is_found_where_sizes_agree(shape, num_examples):
    """Also where draws, variables and examples are as many of each."""
    model = Trial(lambda batch: torch.randn(shape(len(batch.x))))

    def of(rows):
        noise = model.validation_step(Batch(torch.zeros(len(rows), 1), None, rows), 0)["noise"]
        dim = next(dim for dim, size in enumerate(shape(1000)) if size % 1000 == 0)
        return noise.unflatten(dim, (-1, len(rows))).movedim(dim + 1, 0)

    whole = of(torch.arange(60))
    assert len(whole.unique()) == whole.numel()
    for rows in torch.arange(60).split(num_examples):
        assert torch.equal(of(rows), whole[rows])
    assert model._noise("val").is_tied


def test_one_draw_for_all_examples_is_the_same_for_all_batches():
    model = Trial(lambda batch: (torch.randn(len(batch.x), 2) + torch.randn(2)).sum(1))
    index = torch.arange(50)
    whole = model.validation_step(Batch(torch.zeros(50, 1), None, index), 0)["noise"]
    halves = [
        model.validation_step(Batch(torch.zeros(25, 1), None, half), n)["noise"]
        for n, half in enumerate(index.split(25))
    ]
    assert torch.equal(torch.cat(halves), whole)


def test_steps_and_seeds_have_noise_of_their_own(monkeypatch):
    model, batch = Trial(lambda batch: torch.randn(len(batch.x))), Batch(torch.zeros(9, 1), None, torch.arange(9))
    val, test = model.validation_step(batch, 0)["noise"], model.test_step(batch, 0)["noise"]
    assert not torch.isclose(val, test).any()
    assert torch.equal(model.test_step(batch, 3)["noise"], test)
    monkeypatch.setenv("PL_GLOBAL_SEED", "8")
    assert not torch.isclose(model.validation_step(batch, 0)["noise"], val).any()


def test_a_step_that_begins_to_draw_later_is_tied_too():
    model = Trial(lambda batch: torch.randn(len(batch.x)) if model.late else torch.zeros(len(batch.x)))
    model.late = False
    batch = Batch(torch.zeros(6, 1), None, torch.arange(6))
    assert not model.validation_step(batch, 0)["noise"].any()
    assert not model._noise("val").draws
    model.late = True
    whole = model.validation_step(batch, 0)["noise"]
    assert whole.any()
    assert torch.equal(model.validation_step(Batch(batch.x[3:], None, batch.index[3:]), 0)["noise"], whole[3:])


@pytest.mark.parametrize(
    "draw",
    [
        lambda n: F.gumbel_softmax(torch.zeros(n, 3))[:, 0],
        lambda n: F.dropout(torch.ones(n)),
        lambda n: torch.randn(n, n).sum(1),
        lambda n: torch.randperm(n).float() + torch.randn(n),
        lambda n: torch.ones(n, 3).multinomial(2).float().sum(1),
    ],
    ids=["within", "dropout", "pairs", "order", "without replacement"],
)
def test_what_cant_be_tied_stays_the_batchs_and_the_protocol_says_so(draw):
    model = Trial(lambda batch: draw(len(batch.x)))
    batch = Batch(torch.zeros(30, 1), None, torch.arange(30))
    expected = None
    for _ in range(2):
        seed_torch(4, torch.device("cpu"))
        model.validation_step(batch, 0)
    seed_torch(4, torch.device("cpu"))
    expected = draw(30)
    seed_torch(4, torch.device("cpu"))
    assert torch.equal(model.validation_step(batch, 0)["noise"], expected)
    assert "depends on batch size and number of processes" in model._protocol("val", 30)


def test_training_draws_and_generators_of_ones_own_are_left_alone():
    generator = torch.Generator().manual_seed(1)
    model = Trial(lambda batch: torch.randn(len(batch.x), generator=generator))
    own = model.validation_step(Batch(torch.zeros(4, 1), None, torch.arange(4)), 0)["noise"]
    assert torch.equal(own, torch.randn(4, generator=torch.Generator().manual_seed(1)))
    assert not model._noise("val").draws
    noise = NoiseByExample()
    noise.run(lambda batch: torch.randn(len(batch.x)), Batch(torch.zeros(4, 1), None, torch.arange(4)), 0)
    torch.manual_seed(5)
    after = torch.randn(3)
    torch.manual_seed(5)
    assert torch.equal(torch.randn(3), after)


def test_the_summary_says_how_each_term_was_measured(monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    trainer = Trainer(
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    loader = EvaluationLoader(Examples(X, None, None), 64)
    for model, expected in (
        (vae(ImportanceWeighted(5)), "500 test examples; ImportanceWeighted, 5 draws of z each, tied to the example's"),
        (vae(), "500 test examples; ELBO, 1 draw of z each, tied to the example's number, seed 3"),
        (Trial(lambda batch: batch.x.sum(1)), "mean over 500 test examples"),
    ):
        trainer.test(model, loader, verbose=False)
        stated = protocols_of(trainer)
        name = "test/noise" if isinstance(model, Trial) else "test/loss"
        assert expected in stated[name]
        assert set(stated) >= {f"test/{term}" for term in ("loss", "kl", "reconstruction")} or name == "test/noise"

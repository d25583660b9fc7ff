"""The machine against enumeration: energies, probabilities, gradients, chains."""

import copy
from functools import partial
from math import log

import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins import MixedPrecision
from torch import nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import LinearLR

from lit_gen.distributions.units import BernoulliUnits, GaussianUnits
from lit_gen.errors import UserError
from lit_gen.metrics.ais import exact_log_partition
from lit_gen.models.energy.momentum import MomentumChange
from lit_gen.models.energy.rbm import RBM
from lit_gen.networks.codec import Codec
from lit_gen.protocols import Batch, Codes, ExactLikelihood, Samples
from lit_gen.randomness import derive_seed, run_seed


def gaussian(**kwargs):
    return {"visible": GaussianUnits(2, std=0.6, **kwargs), "hidden": BernoulliUnits(3), "scale": 0.7}


def plane():
    """A fine grid of the plane, (N, 2), and the area of a cell, in float64."""
    line = torch.linspace(-7, 7, 281, dtype=torch.float64)
    return torch.cartesian_prod(line, line), (line[1] - line[0]) ** 2


def gradients(rbm):
    return torch.cat([p.grad.flatten() for p in rbm.parameters()])


def cosine(a, b):
    return torch.nn.functional.cosine_similarity(a, b, dim=0).item()


# Energies and probabilities


def test_free_energy_is_the_sum_over_hidden_states(small):
    for kwargs in ({}, gaussian()):
        rbm = small.rbm(**kwargs)
        v = torch.randn(7, 2) if kwargs else small.binary(5)
        expected = -small.log_joint(rbm, v, small.binary(rbm.hidden.num_units)).logsumexp(1)
        torch.testing.assert_close(rbm.free_energy(v), expected)


def test_free_energy_of_linear_hidden_units_is_the_integral(small):
    rbm = small.rbm(hidden=GaussianUnits(2), scale=0.5).double()
    h, area = plane()
    v = small.binary(5).double()
    expected = -(small.log_joint(rbm, v, h).logsumexp(1) + area.log())
    torch.testing.assert_close(rbm.free_energy(v), expected, rtol=1e-6, atol=1e-6)


def test_probabilities_of_all_visible_states_sum_to_one(small):
    for kwargs in ({}, {"hidden": GaussianUnits(3)}):
        rbm = small.rbm(**kwargs)
        total = (-rbm.free_energy(small.binary(5)).double() - exact_log_partition(rbm)).exp().sum()
        assert total.item() == pytest.approx(1.0, abs=1e-5)


def test_density_of_gaussian_units_integrates_to_one(small):
    rbm = small.rbm(**gaussian()).double()
    v, area = plane()
    total = (-rbm.free_energy(v) - exact_log_partition(rbm)).exp().sum() * area
    assert total.item() == pytest.approx(1.0, abs=1e-5)


def test_conditional_means_are_those_of_the_joint(small):
    rbm = small.rbm()
    v, h = small.binary(5), small.binary(4)
    joint = small.log_joint(rbm, v, h).exp()
    torch.testing.assert_close(rbm.encode(v), joint @ h / joint.sum(1, keepdim=True))
    torch.testing.assert_close(rbm.decode(h), joint.T @ v / joint.sum(0).unsqueeze(1))


def test_conditional_mean_of_gaussian_units_is_that_of_the_joint(small):
    rbm = small.rbm(**gaussian()).double()
    v, _ = plane()
    h = small.binary(3).double()
    joint = small.log_joint(rbm, v, h).exp()
    torch.testing.assert_close(rbm.decode(h), joint.T @ v / joint.sum(0).unsqueeze(1), rtol=1e-6, atol=1e-8)


def test_only_what_is_known_is_claimed(small):
    rbm = small.rbm()
    assert isinstance(rbm, Codes)
    assert isinstance(rbm, Samples)
    assert not isinstance(rbm, ExactLikelihood)


# Gradients


def exact_gradient(small, rbm, v):
    """Of -mean log p(v), through the enumerated partition function."""
    rbm.zero_grad()
    if isinstance(rbm.visible, GaussianUnits):
        h = small.binary(rbm.hidden.num_units)
        log_z = (h @ rbm.hidden.bias + rbm.visible.log_normalizer(rbm.visible.bias + h @ rbm.weight)).logsumexp(0)
    else:
        log_z = (-rbm.free_energy(small.binary(rbm.visible.num_units))).logsumexp(0)
    (rbm.free_energy(v).mean() + log_z).backward()
    return gradients(rbm)


def cd_gradient(rbm, v):
    rbm.zero_grad()
    rbm.set_gradients(v)
    return gradients(rbm)


def test_gradient_of_the_likelihood_is_the_difference_of_free_energies_at_the_models_own_states(small):
    rbm = small.rbm()
    v, data = small.binary(5), small.binary(5)[[3, 9, 9, 20, 31]]
    exact = exact_gradient(small, rbm, data)
    rbm.zero_grad()
    own = (-rbm.free_energy(v) - exact_log_partition(rbm)).exp().float().detach()
    (rbm.free_energy(data).mean() - own @ rbm.free_energy(v)).backward()
    torch.testing.assert_close(gradients(rbm), exact, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kinds", ["bernoulli", "gaussian", "gaussian_learned", "linear_hidden", "all_learned"])
@pytest.mark.parametrize("num_chains", [None, 6])
def test_gradients_by_the_formula_are_those_of_the_free_energies_graph(small, kinds, num_chains):
    visible, hidden = {
        "bernoulli": (BernoulliUnits(5), BernoulliUnits(4)),
        "gaussian": (GaussianUnits(5, std=0.6), BernoulliUnits(4)),
        "gaussian_learned": (GaussianUnits(5, std=0.6, learned_std=True), BernoulliUnits(4)),
        "linear_hidden": (BernoulliUnits(5), GaussianUnits(4, std=0.8)),
        "all_learned": (GaussianUnits(5, learned_std=True), GaussianUnits(4, std=0.8, learned_std=True)),
    }[kinds]
    rbm = small.rbm(visible, hidden, scale=0.2, num_chains=num_chains)
    seen, model_states = [], rbm._model_states
    rbm._model_states = lambda mean: seen.append(model_states(mean)) or seen[0]
    v = torch.rand(8, 5)
    terms = rbm.set_gradients(v)
    found = [p.grad.clone() for p in rbm.parameters()]
    rbm.zero_grad()
    loss = rbm.free_energy(v).mean() - rbm.free_energy(seen[0]).mean()
    loss.backward()
    torch.testing.assert_close(terms["loss"], loss.detach())
    torch.testing.assert_close(terms["free_energy"], rbm.free_energy(v).mean().detach())
    for got, p in zip(found, rbm.parameters(), strict=True):
        torch.testing.assert_close(got, p.grad)
        assert got.abs().sum() > 0


def test_longer_chains_point_more_nearly_along_the_exact_gradient(small):
    """At weights great enough that one step is far from equilibrium; averaged over 6,000 chains."""
    v = torch.tensor([[1.0, 1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0, 1.0]]).repeat(3000, 1)
    exact = exact_gradient(small, small.rbm(scale=2.0, seed=2), v)
    found = []
    for num_steps in (1, 3, 10, 40):
        rbm = small.rbm(scale=2.0, seed=2, num_gibbs_steps=num_steps)
        found.append(cosine(cd_gradient(rbm, v), exact))
    assert found == sorted(found), found
    assert found[0] > 0.5, found
    assert found[0] < 0.9, found
    assert found[-1] > 0.99, found


def test_persistent_chains_point_along_the_exact_gradient(small):
    v = torch.tensor([[1.0, 1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0, 1.0]]).repeat(3000, 1)
    rbm = small.rbm(scale=2.0, seed=2, num_chains=6000)
    exact = exact_gradient(small, rbm, v)
    at_first = cosine(cd_gradient(rbm, v), exact)  # the chains have made one step from where they were
    for _ in range(40):
        last = cosine(cd_gradient(rbm, v), exact)
    assert last > max(0.995, at_first)


@pytest.mark.parametrize("learned", [False, True])
def test_gradient_of_gaussian_units_is_that_of_the_exact_likelihood(small, learned):
    """Of all parameters, the learned standard deviations among them."""
    v = torch.randn(20_000, 2, generator=torch.Generator().manual_seed(3)) * 0.5 + torch.tensor([0.5, -0.5])
    rbm = small.rbm(num_gibbs_steps=30, **gaussian(learned_std=learned))
    exact = exact_gradient(small, rbm, v)
    found = cd_gradient(rbm, v)
    assert len(found) == 11 + 2 * learned
    assert cosine(found, exact) > 0.995
    if learned:
        torch.testing.assert_close(rbm.visible.log_std.grad, exact[-5:-3], rtol=0.1, atol=0.03)


def test_chains_begin_at_the_data(small):
    """At weights so great that nothing moves, CD's gradient vanishes; the exact one doesn't."""
    visible, hidden = BernoulliUnits(2), BernoulliUnits(2)
    rbm = RBM(visible, hidden, num_gibbs_steps=3)
    with torch.no_grad():
        rbm.weight.copy_(200 * torch.eye(2))
        visible.bias.fill_(-100)
        hidden.bias.fill_(-100)
    v = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert cd_gradient(rbm, v).norm() < 1e-5
    assert exact_gradient(small, rbm, v).norm() > 0.1


# Chains


def test_gibbs_chains_keep_the_models_distribution(small):
    """20,000 chains from everywhere: first and second moments as enumerated."""
    rbm = small.rbm()
    states = small.binary(5)
    p = (-rbm.free_energy(states) - exact_log_partition(rbm)).exp().float().detach()
    torch.manual_seed(1)
    v = rbm.gibbs(torch.rand(20_000, 5).round(), 60)
    torch.testing.assert_close(v.mean(0), p @ states, atol=0.015, rtol=0)
    torch.testing.assert_close(v.T @ v / len(v), states.T @ (p[:, None] * states), atol=0.015, rtol=0)


def test_gibbs_chains_of_gaussian_units_keep_the_models_distribution(small):
    rbm = small.rbm(**gaussian())
    grid, area = plane()
    p = ((-rbm.double().free_energy(grid) - exact_log_partition(rbm)).exp() * area).detach()
    rbm.float()
    torch.manual_seed(1)
    v = rbm.gibbs(torch.zeros(20_000, 2), 60).double()
    mean, spread = p @ grid, (p @ grid.square()).sqrt()
    torch.testing.assert_close(v.mean(0), mean, atol=0.03, rtol=0)
    torch.testing.assert_close(v.square().mean(0).sqrt(), spread, atol=0.03, rtol=0)


@pytest.mark.parametrize("num_chains", [None, 50])
def test_samples_have_the_models_mean(small, num_chains):
    rbm = small.rbm(scale=2.0, seed=2, num_sample_steps=60, num_chains=num_chains)  # two steps are 0.17 off
    states = small.binary(5)
    p = (-rbm.free_energy(states) - exact_log_partition(rbm)).exp().float().detach()
    torch.manual_seed(1)
    torch.testing.assert_close(rbm.sample(5000).mean(0), p @ states, atol=0.03, rtol=0)


def test_samples_begin_at_the_persistent_chains(small):
    """Frozen by great weights, they stay there."""
    rbm = small.rbm(num_chains=3, num_sample_steps=1)
    with torch.no_grad():
        rbm.weight.copy_(200 * torch.eye(4, 5))
        rbm.visible.bias.fill_(-100)
        rbm.hidden.bias.fill_(-100)
        rbm.chains.copy_(torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0]))
    torch.testing.assert_close(rbm.sample(4), torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0]).expand(4, 5))


# Training


def log_likelihood(rbm, x):
    return -(rbm.free_energy(x) + exact_log_partition(rbm)).mean().item()


def train(rbm, x, lr, num_steps, momentum=0.5):
    """Without a trainer, whose step ``test_a_step_is_that_of_a_hand_written_loop`` shows to be this one."""
    rbm._start(x)
    optimizer = SGD(rbm.parameters(), lr=lr, momentum=momentum)
    schedule = LinearLR(optimizer, 1.0, 0.0, num_steps)
    for _ in range(num_steps):
        rbm.set_gradients(x)
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("kwargs", [{}, {"num_gibbs_steps": 5}, {"num_chains": 56}], ids=["cd1", "cd5", "pcd"])
def test_training_raises_the_exact_likelihood_of_bars_and_stripes(small, kwargs):
    """Of 14 pictures none can be likelier on average than 1/14; uniform noise gives 2^-9."""
    x = small.bars_and_stripes().flatten(1)
    assert len(x) == 14
    torch.manual_seed(0)
    rbm = RBM(BernoulliUnits(9), BernoulliUnits(12), **kwargs)
    before = log_likelihood(rbm, x)
    train(rbm, x.repeat(4, 1), 0.2, 1200)
    after = log_likelihood(rbm, x)
    assert before == pytest.approx(-9 * log(2), abs=0.05)
    assert after > -4.2, (before, after)
    assert after < -log(14)


def test_training_of_gaussian_units_raises_the_exact_likelihood(small):
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0)) * 0.2
    x[::2] += torch.tensor([1.0, -1.0])
    torch.manual_seed(0)
    rbm = RBM(GaussianUnits(2, std=0.5, learned_std=True), BernoulliUnits(4), num_gibbs_steps=5)
    before = log_likelihood(rbm, x)
    train(rbm, x, 0.05, 500, momentum=0.9)
    after = log_likelihood(rbm, x)
    assert after > before + 1.5, (before, after)
    assert rbm.visible.std.max() < 0.4  # from 0.5; within a cluster the data have 0.2


def test_a_resumed_run_is_the_unbroken_one_to_the_bit_chains_and_all(tiny, small, tmp_path):
    x = small.bars_and_stripes()[:12]

    def make():
        torch.manual_seed(0)
        return RBM(
            BernoulliUnits((1, 3, 3)),
            BernoulliUnits(4),
            num_chains=6,
            momentum=MomentumChange(step=5),
            optimizer=partial(SGD, lr=0.2, momentum=0.5, weight_decay=0.01),
            scheduler=partial(LinearLR, start_factor=1.0, end_factor=0.0, total_iters=8),
        )

    unbroken, broken = make(), make()
    tiny.trainer(max_steps=8).fit(unbroken, tiny.Loader(x, 4))
    keep = ModelCheckpoint(tmp_path, filename="step", every_n_train_steps=4)
    tiny.trainer(max_steps=4, callbacks=[keep]).fit(broken, tiny.Loader(x, 4))
    torch.manual_seed(99)
    resumed = make()
    resumed.chains.fill_(1.0)
    # Begun again at the first batch of the second epoch: 4 steps are an epoch of 3 and one more.
    file = tmp_path / "step.ckpt"
    content = torch.load(file, weights_only=True)
    assert torch.equal(content["state_dict"]["chains"], broken.chains)
    trainer = tiny.trainer(max_steps=8)
    trainer.fit(resumed, Continued(x, 4, 1), ckpt_path=file)
    assert trainer.global_step == 8
    for name, value in unbroken.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    assert not torch.equal(broken.chains, unbroken.chains)


class Continued:
    """Batches in order whose first pass begins in the middle of an epoch."""

    def __init__(self, x, batch_size, begun):
        self.parts = x.split(batch_size)
        self.begun = begun

    def __len__(self):
        return len(self.parts)

    def load_state_dict(self, state):
        pass

    def state_dict(self):
        return {}

    def __iter__(self):
        parts, self.begun = self.parts[self.begun :], 0
        for x in parts:
            yield Batch(x, None, torch.arange(len(x)))


def test_the_first_batchs_mean_sets_a_visible_bias_that_is_zero_and_no_other(tiny):
    x = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]]).repeat(50, 1)
    for own in (0.0, 0.25):
        rbm = RBM(BernoulliUnits(3), BernoulliUnits(2), optimizer=partial(SGD, lr=0.0), num_chains=4)
        with torch.no_grad():
            rbm.visible.bias.fill_(own)
        tiny.trainer(max_steps=2).fit(rbm, tiny.Loader(x, 100))
        mean = torch.full((3,), 0.25).sigmoid() if own else torch.tensor([101 / 102, 1 / 102, 0.5])
        torch.testing.assert_close(rbm.visible.bias.sigmoid(), mean)


def test_weight_decay_is_on_the_weights_alone(small):
    rbm = small.rbm(visible=GaussianUnits(5, learned_std=True), optimizer=partial(SGD, lr=0.1, weight_decay=0.01))
    (optimizer,), schedules = rbm.configure_optimizers()
    assert schedules == []
    decayed = [p for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]]
    assert [p is rbm.weight for p in decayed] == [True]
    spared = [p for group in optimizer.param_groups if not group["weight_decay"] for p in group["params"]]
    assert len(spared) == 3


def test_momentum_follows_its_schedule_and_the_rate_its_own(tiny, small):
    seen = []

    class Look(Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            seen.append([(group["momentum"], group["lr"]) for group in optimizer.param_groups])

    rbm = small.rbm(
        momentum=MomentumChange(step=2, before=0.5, after=0.9),
        optimizer=partial(SGD, lr=1.0, momentum=0.1),
        scheduler=partial(LinearLR, start_factor=1.0, end_factor=0.0, total_iters=4),
    )
    tiny.trainer(max_steps=4, callbacks=[Look()]).fit(rbm, tiny.Loader(small.binary(5), 8))
    assert seen == [[(m, lr)] * 2 for m, lr in [(0.5, 1.0), (0.5, 0.75), (0.9, 0.5), (0.9, 0.25)]]


def test_a_step_is_that_of_a_hand_written_loop(tiny, small):
    """Hinton's recipe, written out: probabilities on both sides, v' drawn, momentum, decay of the weights."""
    x = small.binary(5)
    rbm = small.rbm(optimizer=partial(SGD, lr=0.1, momentum=0.9, weight_decay=0.01))
    weight, b, c = (p.detach().clone() for p in (rbm.weight, rbm.visible.bias, rbm.hidden.bias))
    moved = [torch.zeros_like(p) for p in (weight, b, c)]
    trainer = tiny.trainer(max_steps=3)
    trainer.fit(rbm, tiny.Loader(x, 32))
    for step in range(3):
        torch.manual_seed(derive_seed(run_seed(), "train", 0, step))
        p = (x @ weight.T + c).sigmoid()
        h = (torch.rand(32, 4) < p).float()
        v = (torch.rand(32, 5) < (h @ weight + b).sigmoid()).float()
        q = (v @ weight.T + c).sigmoid()
        upward = [(p.T @ x - q.T @ v) / 32 - 0.01 * weight, (x - v).mean(0), (p - q).mean(0)]
        moved = [0.9 * m + g for m, g in zip(moved, upward, strict=True)]
        weight, b, c = (value + 0.1 * m for value, m in zip((weight, b, c), moved, strict=True))
    for got, expected in ((rbm.weight, weight), (rbm.visible.bias, b), (rbm.hidden.bias, c)):
        torch.testing.assert_close(got.detach(), expected)


def test_evaluation_does_not_depend_on_the_batches_and_leaves_the_chains(small):
    rbm = small.rbm(num_chains=3).eval()
    before = rbm.chains.clone()
    x = small.binary(5)
    with torch.no_grad():
        whole = rbm.validation_step(Batch(x, None, torch.arange(32)), 0)
        parts = [rbm.validation_step(Batch(x[i], None, i), 0) for i in torch.arange(32).split(5)]
    assert whole.keys() == {"free_energy", "squared_error", "pseudo_log_likelihood"}
    for name, value in whole.items():
        torch.testing.assert_close(torch.cat([part[name] for part in parts]), value)
    error = (x - rbm.decode(rbm.encode(x))).square().sum(1)
    torch.testing.assert_close(whole["squared_error"], error)
    assert torch.equal(rbm.chains, before)


# Layers of layers


def codec():
    torch.manual_seed(5)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(9, 5), nn.Dropout(0.5), nn.Sigmoid())
    return Codec(encoder, nn.Sequential(nn.Linear(5, 9), nn.Sigmoid(), nn.Unflatten(1, (1, 3, 3))))


def test_below_is_frozen_and_composed(tiny, small):
    below = codec()
    before = copy.deepcopy(below.state_dict())
    rbm = small.rbm(below=below, optimizer=partial(SGD, lr=0.5))
    weights = rbm.weight.detach().clone()
    x = small.bars_and_stripes()
    tiny.trainer(max_steps=5).fit(rbm, tiny.TensorData(x, 7))
    assert all(torch.equal(below.state_dict()[name], value) for name, value in before.items())
    assert not torch.equal(rbm.weight, weights)
    rbm.train()
    assert not below.training
    assert not below.encoder[2].training
    assert not any(p.requires_grad for p in below.parameters())
    (optimizer,), _ = rbm.configure_optimizers()
    own = {id(p) for p in (rbm.weight, rbm.visible.bias, rbm.hidden.bias)}
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} == own
    code = rbm.encode(x)
    v = below.encoder(x)
    torch.testing.assert_close(code, (v @ rbm.weight.T + rbm.hidden.bias).sigmoid())
    torch.testing.assert_close(rbm.decode(code), below.decoder((code @ rbm.weight + rbm.visible.bias).sigmoid()))
    assert rbm.sample(2).shape == (2, 1, 3, 3)
    assert rbm.filters().shape == (4, 1, 3, 3)


@pytest.mark.parametrize("visible", [BernoulliUnits(5), GaussianUnits(5, std=0.5)], ids=["bernoulli", "gaussian"])
@pytest.mark.parametrize("hidden", [BernoulliUnits(4), GaussianUnits(4)], ids=["bernoulli", "gaussian"])
def test_what_is_handed_on_are_two_layers_of_a_network(small, visible, hidden):
    rbm = small.rbm(visible=visible, hidden=hidden)
    given = rbm.hand_on()
    network = nn.ModuleDict({"encoder": nn.Linear(5, 4), "decoder": nn.Linear(4, 5)})
    network.load_state_dict({name: given[name] for name in network.state_dict()})
    x = torch.rand(6, 5)
    squash = {BernoulliUnits: torch.sigmoid, GaussianUnits: lambda a: a}
    code = squash[type(hidden)](network["encoder"](x))
    torch.testing.assert_close(code, rbm.encode(x))
    torch.testing.assert_close(squash[type(visible)](network["decoder"](code)), rbm.decode(code))
    assert given.keys() >= rbm.state_dict().keys()
    given["encoder.weight"].zero_()
    given["decoder.bias"].zero_()
    assert rbm.weight.abs().sum() > 0
    assert rbm.visible.bias.abs().sum() > 0


def test_filters_are_what_a_hidden_unit_adds_to_the_visible_inputs(small):
    rbm = small.rbm(visible=GaussianUnits((1, 2, 3), std=0.5))
    change = rbm.decode(torch.eye(4)) - rbm.visible.bias.view(1, 1, 2, 3)  # linear but for the clamp
    filters = rbm.filters()
    assert filters.shape == (4, 1, 2, 3)
    inside = (rbm.decode(torch.eye(4)) > 0) & (rbm.decode(torch.eye(4)) < 1)
    assert inside.any()
    torch.testing.assert_close(filters[inside], change[inside])


# Mistakes


@pytest.mark.parametrize("name", ["num_gibbs_steps", "num_chains", "num_sample_steps"])
def test_refuses_counts_below_one(small, name):
    with pytest.raises(UserError, match=f"an RBM's {name} must be at least 1, got 0"):
        small.rbm(**{name: 0})


def test_refuses_values_that_bernoulli_units_cannot_take(tiny, small):
    x = small.binary(5)
    x[-1, -1] = 1.5  # in the last batch of the epoch
    with pytest.raises(UserError, match=r"\[0, 1\], but the data reach from"):
        tiny.trainer(max_epochs=1).fit(small.rbm(), tiny.Loader(x, 8))


def test_refuses_codes_that_bernoulli_units_cannot_take(tiny, small):
    below = Codec(
        nn.Sequential(nn.Flatten(), nn.Linear(9, 5)), nn.Sequential(nn.Linear(5, 9), nn.Unflatten(1, (1, 3, 3)))
    )
    with pytest.raises(UserError, match="but the codes of 'below' reach from"):
        tiny.trainer(max_epochs=1).fit(small.rbm(below=below), tiny.TensorData(small.bars_and_stripes(), 7))


def test_refuses_units_that_do_not_fit_the_data(tiny, small):
    data = tiny.TensorData(small.bars_and_stripes(), 7)
    with pytest.raises(
        UserError, match=r"visible units have shape \(5,\), but the data's examples have shape \(1, 3, 3\)"
    ):
        tiny.trainer(max_epochs=1).fit(small.rbm(), data)
    six = small.rbm(visible=BernoulliUnits(6), below=codec())
    with pytest.raises(UserError, match=r"shape \(6,\), but the codes of 'below' have shape \(5,\)"):
        tiny.trainer(max_epochs=1).fit(six, data)


def test_refuses_a_below_that_does_not_fit_the_data(tiny, small):
    wide = tiny.TensorData(torch.rand(4, 1, 4, 4).round(), 2)
    with pytest.raises(UserError, match="'below' does not take inputs of shape"):
        tiny.trainer(max_epochs=1).fit(small.rbm(below=codec()), wide)
    flat = codec()
    flat.decoder = nn.Linear(5, 9)
    with pytest.raises(UserError, match="'below' makes examples of shape"):
        tiny.trainer(max_epochs=1).fit(small.rbm(below=flat), tiny.TensorData(small.bars_and_stripes(), 7))


def test_refuses_a_loss_scaler(tiny, small):
    plugin = MixedPrecision("16-mixed", device="cpu", scaler=torch.amp.GradScaler("cpu"))
    with pytest.raises(UserError, match="without a loss scaler"):
        tiny.trainer(max_epochs=1, plugins=[plugin]).fit(small.rbm(), tiny.Loader(small.binary(5), 8))


def test_brain_float_trains_in_single_precision(tiny, small):
    single, mixed = small.rbm(), small.rbm()
    tiny.trainer(max_steps=3).fit(single, tiny.Loader(small.binary(5), 8))
    tiny.trainer(max_steps=3, precision="bf16-mixed").fit(mixed, tiny.Loader(small.binary(5), 8))
    assert all(torch.equal(value, mixed.state_dict()[name]) for name, value in single.state_dict().items())


def test_trains_in_double_precision(tiny, small):
    single, double = small.rbm(), small.rbm()
    v = small.binary(5)
    for rbm, precision in ((single, "32-true"), (double, "64-true")):
        rbm.gibbs = lambda v, num_steps: v
        rbm.visible.draw = lambda mean: mean.round()  # the same draws in both
        rbm.hidden.draw = lambda mean: mean.round()
        tiny.trainer(max_steps=3, precision=precision).fit(rbm, tiny.Loader(v, 8))
    assert double.weight.dtype == torch.float64
    torch.testing.assert_close(double.weight.float(), single.weight, rtol=1e-4, atol=1e-6)


def test_refuses_a_momentum_that_the_optimizer_has_not(tiny, small):
    rbm = small.rbm(momentum=MomentumChange(step=1), optimizer=Adam)
    with pytest.raises(UserError, match=r"take torch\.optim\.SGD"):
        tiny.trainer(max_epochs=1).fit(rbm, tiny.Loader(small.binary(5), 8))

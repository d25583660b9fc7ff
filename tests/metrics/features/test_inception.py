"""The Inception road, with random weights in torch-fidelity and here: no download, and nothing of the road left out."""

import pickle
import re

import pytest
import torch
import torch_fidelity
from torch_fidelity import feature_extractor_inceptionv3 as reference

from lit_gen.errors import UserError
from lit_gen.metrics.features.inception import SHA256_PREFIX, WEIGHTS_FILE, InceptionV3
from lit_gen.metrics.fid import FrechetDistance


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """File of random weights that let a signal through."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "load_state_dict_from_url", lambda *args, **kwargs: {})
        patch.setattr(reference.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        torch.manual_seed(0)
        network = reference.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    # He's gain in place of PyTorch's default, or forty layers leave nothing of the image.
    state = {k: v * 6**0.5 if k.endswith("conv.weight") else v for k, v in network.state_dict().items()}
    file = tmp_path_factory.mktemp("inception") / "random.pth"
    torch.save(state, file)
    return file


@pytest.fixture(scope="module")
def extractor(weights):
    return InceptionV3(weights, check_hash=False)


class Images(torch.utils.data.Dataset):
    def __init__(self, x):
        self.x = x

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index]


def test_distance_is_torch_fidelitys(weights, extractor):
    generator = torch.Generator().manual_seed(1)
    real = (255 * torch.rand(10, 3, 8, 8, generator=generator)).round().to(torch.uint8)
    fake = (255 * 0.3 * torch.rand(10, 3, 8, 8, generator=generator)).round().to(torch.uint8)
    expected = torch_fidelity.calculate_metrics(
        input1=Images(fake),
        input2=Images(real),
        fid=True,
        feature_extractor_weights_path=str(weights),
        batch_size=10,
        cuda=False,
        cache=False,
        save_cpu_ram=True,  # no worker processes
        verbose=False,
    )["frechet_inception_distance"]

    metric = FrechetDistance(extractor.num_features)
    for part in (real / 255).split(4):
        metric.update(extractor(part), real=True)
    for part in (fake / 255).split(7):
        metric.update(extractor(part), real=False)
    assert expected > 1
    assert float(metric.compute()) == pytest.approx(expected, rel=1e-6)


def test_rounds_to_the_nearest_of_256_levels(extractor):
    x = torch.tensor([100.4, 100.6]).div(255).view(2, 1, 1, 1).expand(2, 3, 8, 8)
    levels = torch.tensor([100.0, 101.0]).div(255).view(2, 1, 1, 1).expand(2, 3, 8, 8)
    features = extractor(x)
    assert torch.equal(features, extractor(levels))
    assert not torch.allclose(features[0], features[1])


def test_grey_is_rgb_of_equal_channels_and_one_image_keeps_its_dimension(extractor):
    grey = torch.rand(1, 1, 12, 10, generator=torch.Generator().manual_seed(0))
    features = extractor(grey)
    assert features.shape == (1, 2048)
    assert features.dtype == torch.float32
    assert torch.equal(features, extractor(grey.expand(-1, 3, -1, -1)))


def test_stays_in_evaluation_mode(extractor):
    extractor.train()
    assert not any(module.training for module in extractor.modules())


def test_refuses_the_range_of_a_tanh(extractor):
    with pytest.raises(UserError, match="tanh"):
        extractor(-torch.ones(1, 3, 8, 8))


def test_building_it_draws_nothing_from_the_models_stream(weights):
    torch.manual_seed(3)
    InceptionV3(weights, check_hash=False)
    after = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(1), after)


def test_knows_the_published_hash():
    assert WEIGHTS_FILE == "weights-inception-2015-12-05-6726825d.pth"
    assert SHA256_PREFIX == "6726825d"


def test_refuses_another_file_than_the_published_one(weights):
    with pytest.raises(UserError, match=r"isn't the published weights-inception.*not 6726825d"):
        InceptionV3(weights)


def test_a_damaged_file_in_the_cache_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("LIT_GEN_CACHE", str(tmp_path))
    (tmp_path / WEIGHTS_FILE).write_bytes(b"half a download")
    with pytest.raises(UserError, match="isn't the published"):
        InceptionV3()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=re.escape(str(tmp_path / "none.pth"))):
        InceptionV3(tmp_path / "none.pth")


def test_offline_says_where_to_put_the_file(tmp_path, monkeypatch):
    def no_network(url, file, hash_prefix):
        assert hash_prefix == "6726825d"
        raise OSError("Network is unreachable")

    monkeypatch.setenv("LIT_GEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(UserError, match=re.escape(f"put the file at {tmp_path / 'cache' / WEIGHTS_FILE}")):
        InceptionV3()


class Code:
    def __reduce__(self):
        return (exec, ("raise AssertionError('code in the weights was run')",))


def test_weights_that_carry_code_are_refused_unrun(tmp_path):
    file = tmp_path / "code.pth"
    torch.save({"fc.weight": Code()}, file, pickle_module=pickle)
    with pytest.raises(UserError, match="isn't a file of weights"):
        InceptionV3(file, check_hash=False)


@pytest.mark.parametrize("content", [{"fc.weight": torch.zeros(2)}, [1, 2, 3], torch.zeros(3)])
def test_weights_of_another_network_are_refused(tmp_path, content):
    file = tmp_path / "other.pth"
    torch.save(content, file)
    with pytest.raises(UserError, match="doesn't hold the weights"):
        InceptionV3(file, check_hash=False)

"""The fast ways give what the plain way gives, within stated tolerance, and each can be turned off."""

import subprocess
import sys

import pytest
import torch

from pcos_utils import config
from pcos_utils.models import architectures, devices, features, training
from pcos_utils.models.recipes import Recipe
from tests.models.test_training import bright_or_dark

SIDE = 64


def images(n: int, seed: int = 0) -> training.Images:
    """Noise, brighter where the label is 1."""
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.arange(n) % 2).float()
    pixels = torch.randint(0, 120, (n, SIDE, SIDE, 3), generator=generator) + (100 * labels)[:, None, None, None]
    return training.Images(pixels.to(torch.uint8), labels, torch.ones(n))


def answered(name: str, engine: devices.Engine) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits before training, and the gradient of the first step, as one vector."""
    torch.manual_seed(0)
    model = engine.place(architectures.build(name, SIDE))
    prepare = lambda batch: architectures.prepare(name, batch)  # noqa: E731
    logits = training.predict(model, prepare, images(16).pixels, engine=engine)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    plain = dict(rotation=0, brightness=0, flip=0)
    recipe = Recipe(optimiser="sgd", learning_rate=1.0, epochs=1, batch=16, **plain)  # the step is the gradient
    training.fit(model, prepare, images(16), images(0), recipe, seed=0, engine=engine)
    steps = [(now - then).flatten() for now, then in zip(model.parameters(), before, strict=True)]
    return logits, torch.cat(steps).detach()


# Relative error of the logits, and of the first step. DenseNet121d's first step from random weights is ill-conditioned:
# its 120 batch norms carry another order of float32 sums to 2 %. What bfloat16 does to it is seen only after training,
# in benchmarks/equal_quality.py; here it must point the same way.
LAYOUT, BFLOAT16 = {"channels_last": False}, {"precision": "bfloat16"}
WAYS = [
    ("iustnet", LAYOUT, 1e-4, 1e-4),
    ("densenet201", LAYOUT, 1e-4, 1e-3),
    ("densenet121d", LAYOUT, 1e-4, 0.05),
    ("iustnet", BFLOAT16, 0.03, 0.06),
    ("densenet201", BFLOAT16, 0.03, 0.2),
    ("densenet121d", BFLOAT16, 0.03, 1.2),
]


@pytest.mark.parametrize(("name", "switch", "of_logits", "of_step"), WAYS)
def test_a_fast_way_answers_and_steps_as_the_plain_way(name, switch, of_logits, of_step):
    logits, step = answered(name, devices.Engine())
    other_logits, other_step = answered(name, devices.Engine(**switch))
    assert (logits - other_logits).abs().max() < of_logits * logits.abs().max()
    assert step.norm() > 0 and (step - other_step).norm() < of_step * step.norm()
    assert step @ other_step > 0.5 * step.norm() * other_step.norm()


@pytest.mark.parametrize("name", ["densenet201", "densenet121d"])
def test_memory_efficient_densenets_have_the_same_gradients(name):
    grown = []
    for efficient in (False, True):
        torch.manual_seed(0)
        model = architectures.build(name, SIDE, memory_efficient=efficient).requires_grad_().train()
        model(architectures.prepare(name, images(4).pixels)).sum().backward()
        grown.append([parameter.grad for parameter in model.parameters()])
    for one, other in zip(*grown, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_bfloat16_only_where_the_processor_has_it(monkeypatch):
    study = config.study("full", allow_cpu=True)
    for known, precision in (({"avx512_bf16": True}, "bfloat16"), ({"avx512_f": True}, "float32")):
        monkeypatch.setattr(devices.torch.cpu, "get_capabilities", lambda known=known: known)
        assert devices.engine_for(study).precision == precision
    assert devices.engine_for(study.model_copy(update={"precision": "bfloat16"})).precision == "bfloat16"
    assert devices.engine_for(config.study("demo")).precision == "float32"


def test_float32_is_float32_on_a_gpu_too(monkeypatch):
    monkeypatch.setattr("lightning_fabric.Fabric", lambda **_: None)  # which looks for the GPU
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    devices.Engine()
    assert torch.backends.cudnn.allow_tf32
    devices.Engine("cuda")
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("scales", [(1.0, 1.0), (1.0, 0.7), (1.0, -0.5, 0.0, 2.0)])  # of batch norm, taking turns
def test_cached_features_give_the_logits_of_the_whole_network(scales):
    torch.manual_seed(0)
    model = architectures.build("densenet201")
    prepare = lambda batch: architectures.prepare("densenet201", batch)  # noqa: E731
    pixels = images(5).pixels
    for norm in (part for part in model.modules() if isinstance(part, torch.nn.BatchNorm2d)):
        norm.weight.data = torch.tensor(scales).repeat(norm.num_features)[: norm.num_features]
        norm.bias.data.uniform_(-0.5, 0.5)
    training.calibrate_batch_norm(model, prepare, images(16, 3).pixels)  # statistics that do something
    exactly = lambda batch: prepare(batch).double()  # noqa: E731
    kept = features.extract(model.double(), exactly, pixels, devices.Engine())
    assert kept.shape == (5, 1, 1920) and not kept.requires_grad
    whole = training.predict(model, exactly, pixels)
    torch.testing.assert_close(model.float().classifier(features.only(kept)).squeeze(1).detach(), whole)
    close = features.extract(model, prepare, pixels, devices.Engine())
    torch.testing.assert_close(close, kept, rtol=1e-3, atol=1e-4)
    if scales == (1.0, 1.0):  # others cancel, so that a logit near 0 has fewer digits
        whole = training.predict(model, prepare, pixels)
        torch.testing.assert_close(model.classifier(features.only(close)).squeeze(1).detach(), whole)
    # In bfloat16 they are about as near as those of the network as it is.
    engine = devices.Engine(precision="bfloat16")
    low = features.extract(model, prepare, pixels, engine)
    with torch.no_grad(), engine.fabric.autocast():
        maps = model.features(prepare(pixels)).relu().mean((2, 3)).float()
    usual = (maps - features.only(kept)).abs().mean()
    assert low.dtype == torch.float32 and 0 < (low - kept).abs().mean() < 1.5 * usual
    assert (low - kept).abs().mean() < 0.15 * kept.abs().mean()


def test_every_copy_is_another_change_and_all_are_picked():
    torch.manual_seed(0)
    model = architectures.build("densenet201")
    prepare = lambda batch: architectures.prepare("densenet201", batch)  # noqa: E731
    generator = torch.Generator().manual_seed(1)
    change = lambda batch: batch.float() * torch.rand(len(batch), 1, 1, 1, generator=generator)  # noqa: E731
    kept = features.extract(model, prepare, images(3).pixels, devices.Engine(), change=change, copies=2)
    assert kept.shape == (3, 2, 1920) and not torch.allclose(kept[:, 0], kept[:, 1])
    drawn = torch.cat([features.pick(kept, None, generator)[0] for _ in range(20)])
    assert all((drawn == kept[i, k]).all(dim=1).any() for i in range(3) for k in range(2))


def test_the_average_of_the_weights_is_what_is_kept():
    results = {}
    for decay in (0.0, 0.9):
        recipe = Recipe(optimiser="sgd", learning_rate=0.05, epochs=3, batch=8, average=decay)
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 1))
        training.fit(model, lambda x: x.float() / 255, bright_or_dark(32, 0), bright_or_dark(8, 1), recipe, seed=0)
        results[decay] = model[1].weight.detach().clone()
    torch.manual_seed(0)
    start = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 1))[1].weight
    assert 0 < (results[0.9] - start).norm() < (results[0.0] - start).norm()


FAULTS = """
import resource, sys, torch
from pcos_utils.models import devices
if sys.argv[1] == "keep":
    devices.keep_freed_memory()
torch.ones(25_000_000).sum()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):  # a few find a new place while the heap settles, whatever was imported before
    torch.ones(25_000_000).sum()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc can be told")
def test_kept_memory_is_not_asked_for_again():
    faults = {}
    for way in ("keep", "give back"):
        command = [sys.executable, "-c", FAULTS, way]
        faults[way] = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert faults["keep"] < 0.1 * faults["give back"]

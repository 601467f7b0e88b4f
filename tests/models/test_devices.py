"""The fast ways give what the plain way gives, within stated tolerance, and each can be turned off."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch.optim.swa_utils import update_bn

from pcos_utils import config
from pcos_utils.models import architectures, devices, frozen, training
from pcos_utils.models.recipes import Recipe
from tests.models.made import flat, noise

SIDE = 64
prepare = partial(architectures.prepare, "densenet201")


def answered(name: str, engine: devices.Engine) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits before training, and the gradient of the first step, as one vector."""
    torch.manual_seed(0)
    model = engine.place(architectures.build(name, SIDE))
    prepare, images = partial(architectures.prepare, name), noise(16, 0, SIDE)
    logits = training.predict(model, prepare, images.pixels, engine=engine)
    before = flat(model)
    plain = dict(rotation=0, brightness=0, flip=0)
    recipe = Recipe(optimiser="sgd", learning_rate=1.0, epochs=1, batch=16, **plain)  # the step is the gradient
    training.fit(model, prepare, images, noise(0, 0, SIDE), recipe, seed=0, engine=engine)
    return logits, flat(model) - before


# Relative error of the logits, and of the first step. DenseNet121d's first step from random weights is ill-conditioned:
# its 120 batch norms carry another order of float32 sums to 2 %. What bfloat16 does to it is seen only after training,
# in reports/studies/equal_quality.csv; here it must point the same way.
LAYOUT, BFLOAT16 = {"channels_last": False}, {"precision": "bfloat16"}
FAST = [("iustnet", LAYOUT, 1e-4, 1e-4), ("iustnet", BFLOAT16, 0.03, 0.06)]
SLOW = [("densenet201", LAYOUT, 1e-4, 1e-3), ("densenet121d", LAYOUT, 1e-4, 0.05)]
SLOW += [("densenet201", BFLOAT16, 0.03, 0.2), ("densenet121d", BFLOAT16, 0.03, 1.2)]
WAYS = [*FAST, *(pytest.param(*way, marks=pytest.mark.slow) for way in SLOW)]


@pytest.mark.parametrize(("name", "switch", "of_logits", "of_step"), WAYS)
def test_a_fast_way_answers_and_steps_as_the_plain_way(name, switch, of_logits, of_step):
    logits, step = answered(name, devices.Engine())
    other_logits, other_step = answered(name, devices.Engine(**switch))
    assert (logits - other_logits).abs().max() < of_logits * logits.abs().max()
    assert step.norm() > 0 and (step - other_step).norm() < of_step * step.norm()
    assert step @ other_step > 0.5 * step.norm() * other_step.norm()


def test_bfloat16_only_where_the_processor_has_it(monkeypatch):
    study = config.study("full", allow_cpu=True)
    for known, precision in (({"avx512_bf16": True}, "bfloat16"), ({"avx512_f": True}, "float32")):
        monkeypatch.setattr(devices.torch.cpu, "get_capabilities", lambda known=known: known)
        assert devices.engine_for(study).precision == precision
    assert devices.engine_for(study.model_copy(update={"precision": "bfloat16"})).precision == "bfloat16"
    assert devices.engine_for(config.study("demo")).precision == "float32"


def test_float32_is_float32_on_a_gpu_too(monkeypatch):
    monkeypatch.setattr("lightning_fabric.Fabric", lambda **_: SimpleNamespace(device=None))  # looks for the GPU
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    devices.Engine()
    assert torch.backends.cudnn.allow_tf32
    devices.Engine("cuda")
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.slow
@pytest.mark.parametrize("scales", [(1.0, 1.0), (1.0, 0.7), (1.0, -0.5, 0.0, 2.0)])  # of batch norm, taking turns
def test_cached_features_give_the_logits_of_the_whole_network(scales):
    torch.manual_seed(0)
    model = architectures.build("densenet201")
    pixels = noise(5, 0, SIDE).pixels
    for norm in (part for part in model.modules() if isinstance(part, torch.nn.BatchNorm2d)):
        norm.weight.data = torch.tensor(scales).repeat(norm.num_features)[: norm.num_features]
        norm.bias.data.uniform_(-0.5, 0.5)
    update_bn([prepare(noise(16, 3, SIDE).pixels)], model)  # statistics that do something
    exactly = lambda batch: prepare(batch).double()  # noqa: E731
    kept = frozen.extract(model.double(), exactly, pixels, devices.Engine())
    assert kept.shape == (5, 1, 1920) and not kept.requires_grad
    whole = training.predict(model, exactly, pixels)
    torch.testing.assert_close(model.float().classifier(frozen.only(kept)).squeeze(1).detach(), whole)
    close = frozen.extract(model, prepare, pixels, devices.Engine())
    torch.testing.assert_close(close, kept, rtol=1e-3, atol=1e-4)
    if scales == (1.0, 1.0):  # others cancel, so that a logit near 0 has fewer digits
        whole = training.predict(model, prepare, pixels)
        torch.testing.assert_close(model.classifier(frozen.only(close)).squeeze(1).detach(), whole)
    # In bfloat16 they are about as near as those of the network as it is.
    engine = devices.Engine(precision="bfloat16")
    low = frozen.extract(model, prepare, pixels, engine)
    with torch.no_grad(), engine.fabric.autocast():
        maps = model.features(prepare(pixels)).relu().mean((2, 3)).float()
    usual = (maps - frozen.only(kept)).abs().mean()
    assert low.dtype == torch.float32 and 0 < (low - kept).abs().mean() < 1.5 * usual
    assert (low - kept).abs().mean() < 0.15 * kept.abs().mean()


def test_every_copy_is_another_change_and_all_are_picked():
    torch.manual_seed(0)
    model = architectures.build("densenet201")
    generator = torch.Generator().manual_seed(1)
    change = lambda batch: batch.float() * torch.rand(len(batch), 1, 1, 1, generator=generator)  # noqa: E731
    kept = frozen.extract(model, prepare, noise(3, 0, SIDE).pixels, devices.Engine(), change=change, copies=2)
    assert kept.shape == (3, 2, 1920) and not torch.allclose(kept[:, 0], kept[:, 1])
    drawn = torch.cat([frozen.pick(kept, None, generator)[0] for _ in range(20)])
    assert all((drawn == kept[i, k]).all(dim=1).any() for i in range(3) for k in range(2))


@pytest.mark.parametrize(("said", "threads"), [("4,2", 4), (" 3 ", 3), ("", 2), ("0", 2), ("many", 2), (None, 2)])
def test_a_demo_takes_the_first_number_of_threads_that_the_environment_names(monkeypatch, said, threads):
    set_to = []
    monkeypatch.setattr(devices.torch, "set_num_threads", set_to.append)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if said is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    devices.choose_device(config.study())
    assert set_to == [threads]

"""Lesson 07: the answers to its questions, computed."""

import torch
import torch._dynamo  # an optimizer imports it at its first use, which takes two seconds
from torch import nn
from torch.optim.lr_scheduler import LinearLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader


def a_scheduler_that_is_built_last():
    parameters = list(nn.Linear(2, 1).parameters())
    optimizer = torch.optim.SGD(parameters, lr=1.0)
    scheduler = LinearLR(optimizer, start_factor=0.5, total_iters=10)
    for _ in range(6):
        optimizer.step()
        scheduler.step()
    saved = {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    assert f"{optimizer.param_groups[0]['lr']:.3f}" == "0.800"
    optimizer = torch.optim.SGD(parameters, lr=1.0)
    optimizer.load_state_dict(saved["optimizer"])
    scheduler = LinearLR(optimizer, start_factor=0.5, total_iters=10)
    scheduler.load_state_dict(saved["scheduler"])
    printed = f"{optimizer.param_groups[0]['lr']:.1f}"
    return {f"`{rate}`": printed == rate for rate in ("1.0", "0.8", "0.5", "0.4")}


def three_batches_are_skipped():
    torch.manual_seed(0)
    loader = DataLoader(range(800), batch_size=100, shuffle=True)
    batches = iter(loader)
    before = torch.cat([next(batches) for _ in range(3)])
    state = torch.get_rng_state()
    expected = torch.cat(list(batches))

    torch.set_rng_state(state)
    batches = iter(loader)
    rest = torch.cat(list(batches)[3:])
    counts = set(torch.cat([before, rest]).bincount(minlength=800).tolist())
    return {
        "Some come twice, some never": {0, 2} <= counts,
        "Some come twice, all others once": counts == {1, 2},
        "All come once, in a new order": counts == {1} and not rest.equal(expected),
        "All come once, in the old order": counts == {1} and rest.equal(expected),
    }


def amp_step(layer, scaler):
    """One step of mixed precision, and by how much it moved the weight."""
    before = layer.weight.item()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.01)
    with torch.autocast("cpu", dtype=torch.float16):
        loss = layer(torch.tensor([[4.0]])).sum()
    scaler.scale(loss).backward()  # the gradient of the weight is 4 times the scale
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad()
    return before - layer.weight.item()


def a_scaler_that_was_forgotten():
    layer, old = nn.Linear(1, 1), torch.amp.GradScaler("cpu")
    while old.get_scale() > 8192:
        amp_step(layer, old)
    usual = amp_step(layer, old)
    try:
        new = torch.amp.GradScaler("cpu")
        steps, raised = [amp_step(layer, new) for _ in range(3)], False
    except (RuntimeError, ValueError):
        steps, raised = [], True
    return {
        "They raise an error, because of `inf`": raised,
        "They leave the weights as they are": usual != 0 and steps == [0.0] * 3,
        "They are 8 times as large as planned": any(abs(s / usual - 8) < 0.1 for s in steps),
        "They are 8 times as small as planned": any(abs(s / usual * 8 - 1) < 0.1 for s in steps),
    }


def the_first_update_of_a_new_average():
    saved = {"weight": torch.full((1, 2), 100.0), "bias": torch.zeros(1)}
    model = nn.Linear(2, 1)
    start = model.weight.detach().clone()
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    model.load_state_dict(saved)
    average.update_parameters(model)
    weight = average.module.weight.detach()
    return {
        f"{share} % random weight, {100 - share} % saved weight": torch.allclose(
            weight, (share * start + (100 - share) * saved["weight"]) / 100
        )
        for share in (99, 50, 0, 100)
    }


KEYS = [
    a_scheduler_that_is_built_last,
    three_batches_are_skipped,
    a_scaler_that_was_forgotten,
    the_first_update_of_a_new_average,
]

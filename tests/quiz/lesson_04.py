"""Lesson 04: the answers to its questions, computed."""

import copy
import math

import torch
import torch._dynamo  # an optimizer imports it at its first use, which takes two seconds
from torch import nn
from torch.optim.lr_scheduler import LambdaLR


def another_dropout_rate():
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.1))
    new = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5))
    new.load_state_dict(model.state_dict())
    model.eval()
    new.eval()
    x, rate = torch.rand(20, 4), new[1].p
    alike = torch.equal(model(x), new(x))
    return {
        "0.1, and they do": rate == 0.1 and alike,
        "0.1, and they do not": rate == 0.1 and not alike,
        "0.5, and they do": rate == 0.5 and alike,
        "0.5, and they do not": rate == 0.5 and not alike,
    }


def half_each_epoch(epoch):
    return 0.5**epoch


def a_stopped_run(factor, epochs):
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scheduler = LambdaLR(optimizer, factor)
    for _ in range(epochs):
        optimizer.step()
        scheduler.step()
    saved = {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    return model, copy.deepcopy(saved)


LINES = {
    "a": 'optimizer.load_state_dict(saved["optimizer"])',
    "b": "scheduler = LambdaLR(optimizer, halve)",
    "c": 'scheduler.load_state_dict(saved["scheduler"])',
}


def a_scheduler_in_three_orders():
    other = {}
    for order in ("a, b, c", "b, a, c", "b, c, a"):
        model, saved = a_stopped_run(half_each_epoch, epochs=2)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        names = {"optimizer": optimizer, "saved": saved, "halve": half_each_epoch}
        names["LambdaLR"] = LambdaLR
        for line in order.split(", "):
            exec(LINES[line], names)
        other[f"after {order}"] = optimizer.param_groups[0]["lr"] != half_each_epoch(2)
    return {**other, "after none of these": not any(other.values())}


def rates_of_two_epochs(optimizer, scheduler):
    rates = []
    for _ in range(2):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def are(rates, *expected):
    return all(math.isclose(a, b) for a, b in zip(rates, expected, strict=True))


def one_batch(model, optimizer):
    """The loss, the gradient and the weights after a step on one random batch."""
    optimizer.zero_grad()
    loss = nn.functional.dropout(model(torch.randn(8, 4)), 0.5).square().mean()
    loss.backward()
    optimizer.step()
    return [tensor.detach().clone() for tensor in (loss, model.weight.grad, model.weight)]


def weights_without_their_optimizer():
    model, new = nn.Linear(4, 2), nn.Linear(4, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    for _ in range(3):
        one_batch(model, optimizer)
    saved = {"model": copy.deepcopy(model.state_dict()), "random_state": torch.get_rng_state()}
    expected = one_batch(model, optimizer)  # the run without a stop
    new.load_state_dict(saved["model"])
    new.train()
    optimizer = torch.optim.Adam(new.parameters(), lr=0.001)
    torch.set_rng_state(saved["random_state"])
    equal = [torch.equal(a, b) for a, b in zip(one_batch(new, optimizer), expected)]
    return {
        "nothing: all steps are the same": equal == [True, True, True],
        "the loss of the first batch": not equal[0],
        "the gradients of the first batch": equal[0] and not equal[1],
        "the weights after the first batch": equal[0] and equal[1] and not equal[2],
    }


def another_rate_after_loading():
    model, saved = a_stopped_run(half_each_epoch, epochs=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scheduler = LambdaLR(optimizer, half_each_epoch)
    optimizer.load_state_dict(saved["optimizer"])
    scheduler.load_state_dict(saved["scheduler"])
    optimizer.param_groups[0]["lr"] = 3.0
    rates = rates_of_two_epochs(optimizer, scheduler)
    return {
        "3.0, then 1.5": are(rates, 3.0, 1.5),
        "3.0, then 0.125": are(rates, 3.0, 0.125),
        "3.0, then 0.375": are(rates, 3.0, 0.375),
        "0.25, then 0.125": are(rates, 0.25, 0.125),
    }


KEYS = [
    another_dropout_rate,
    weights_without_their_optimizer,
    a_scheduler_in_three_orders,
    another_rate_after_loading,
]

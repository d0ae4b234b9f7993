"""Network, validation and train."""

import doctest
import re
import statistics

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

import fc_model
import helper

LINE = re.compile(
    r"Epoch: (\d)/2\.\.  Training Loss: \d+\.\d{3}\.\.  Test Loss: \d+\.\d{3}\.\.  Test Accuracy: \d\.\d{3}"
)


def make_batches(sizes, features=784, seed=0):
    """A list that serves as a loader: one (images, labels) batch of random values for each size."""
    generator = torch.Generator().manual_seed(seed)
    return [
        (
            torch.randn(size, features, generator=generator),
            torch.randint(10, (size,), generator=generator),
        )
        for size in sizes
    ]


def make_model(*sizes, drop_p=0.5, seed=0):
    torch.manual_seed(seed)
    input_size, *hidden_layers = sizes
    return fc_model.Network(input_size, 10, hidden_layers, drop_p=drop_p)


def fit(model, trainloader, testloader, lr=0.001, **arguments):
    """The call of the lessons: negative log-likelihood and Adam."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    return fc_model.train(model, trainloader, testloader, nn.NLLLoss(), optimizer, **arguments)


def on_screen(capsys):
    """The lines that a reader sees: where a line was drawn several times, its last state."""
    lines = capsys.readouterr().out.removesuffix("\n").split("\n")
    return [line.split("\r")[-1] for line in lines]


def equal_weights(model, other):
    ours, theirs = model.state_dict(), other.state_dict()
    return list(ours) == list(theirs) and all(torch.equal(ours[key], theirs[key]) for key in ours)


# ---------------------------------------------------------------- Network


def test_the_network_of_the_series_has_567434_parameters_under_eight_names():
    model = make_model(784, 512, 256, 128)
    assert sum(p.numel() for p in model.parameters()) == 567_434
    assert {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()} == {
        "hidden_layers.0.weight": (512, 784),
        "hidden_layers.0.bias": (512,),
        "hidden_layers.1.weight": (256, 512),
        "hidden_layers.1.bias": (256,),
        "hidden_layers.2.weight": (128, 256),
        "hidden_layers.2.bias": (128,),
        "output.weight": (10, 128),
        "output.bias": (10,),
    }


def test_printing_the_network_shows_its_layers_in_order():
    parts = [line.strip() for line in str(make_model(784, 512, 256, 128)).splitlines()]
    assert parts == [
        "Network(",
        "(hidden_layers): ModuleList(",
        "(0): Linear(in_features=784, out_features=512, bias=True)",
        "(1): Linear(in_features=512, out_features=256, bias=True)",
        "(2): Linear(in_features=256, out_features=128, bias=True)",
        ")",
        "(output): Linear(in_features=128, out_features=10, bias=True)",
        "(dropout): Dropout(p=0.5, inplace=False)",
        ")",
    ]


def test_the_docstring_examples_hold():
    result = doctest.testmod(fc_model)
    assert (result.failed, result.attempted) == (0, 2)


@pytest.mark.parametrize("batch", [1, 7])
def test_outputs_are_log_probabilities_in_both_modes(batch):
    model = make_model(784, 512, 256, 128)
    for mode in (True, False):
        output = model.train(mode)(torch.randn(batch, 784))
        assert output.shape == (batch, 10) and output.dtype == torch.float32
        torch.testing.assert_close(output.exp().sum(dim=1), torch.ones(batch))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("hidden", [[16], [16, 12], [16, 12, 8]])
def test_relu_and_dropout_follow_each_hidden_layer_and_only_those(hidden, training):
    model = make_model(20, *hidden, drop_p=0.3).train(training)
    image = torch.randn(5, 20)
    torch.manual_seed(1)
    output = model(image)

    torch.manual_seed(1)
    weights, x = model.state_dict(), image
    for i in range(len(hidden)):
        x = F.relu(
            F.linear(x, weights[f"hidden_layers.{i}.weight"], weights[f"hidden_layers.{i}.bias"])
        )
        x = F.dropout(x, p=0.3, training=training)
    x = F.linear(x, weights["output.weight"], weights["output.bias"])
    torch.testing.assert_close(output, x - x.logsumexp(dim=1, keepdim=True))


def test_with_drop_p_1_only_the_output_bias_is_left_in_training_mode():
    model = make_model(20, 16, 8, drop_p=1).train()
    expected = model.output.bias.log_softmax(dim=0).expand(5, 10)
    torch.testing.assert_close(model(torch.randn(5, 20)), expected)
    assert not torch.allclose(model.eval()(torch.randn(5, 20)), expected)


@pytest.mark.parametrize("drop_p", [0, 1, 0.0, 0.1, 0.5, 1.0])
def test_drop_p_is_stored_as_given(drop_p):
    assert fc_model.Network(4, 2, [3], drop_p=drop_p).dropout.p == drop_p


def test_drop_p_is_a_half_unless_given():
    assert fc_model.Network(4, 2, [3]).dropout.p == 0.5


def test_hidden_layers_may_be_a_tuple_and_are_not_kept():
    widths = [5, 4]
    model, other = fc_model.Network(3, 2, widths), fc_model.Network(3, 2, (5, 4))
    widths.append(9)
    assert [layer.out_features for layer in model.hidden_layers] == [5, 4]
    assert str(model) == str(other)


BAD_SIZES = [(0, ValueError), (-1, ValueError)]
BAD_SIZES += [(bad, TypeError) for bad in (512.0, "512", True, None, [512], float("nan"))]


@pytest.mark.parametrize(("bad", "error"), BAD_SIZES)
def test_a_bad_size_is_refused_by_name(bad, error):
    with pytest.raises(error, match=r"^input_size "):
        fc_model.Network(bad, 10, [4])
    with pytest.raises(error, match=r"^output_size "):
        fc_model.Network(784, bad, [4])
    with pytest.raises(error, match=r"^hidden_layers\[1\] "):
        fc_model.Network(784, 10, [4, bad, 4])


@pytest.mark.parametrize(
    ("bad", "error"),
    [([], ValueError), ((), ValueError)]
    + [
        (bad, TypeError)
        for bad in (512, "512", None, True, {512}, {512: 1}, iter([512]), torch.tensor([512]))
    ],
)
def test_bad_hidden_layers_are_refused_by_name(bad, error):
    with pytest.raises(error, match=r"^hidden_layers "):
        fc_model.Network(784, 10, bad)


@pytest.mark.parametrize(
    ("bad", "error"),
    [(bad, ValueError) for bad in (float("nan"), float("inf"), -0.1, 1.5, -1, 2)]
    + [(bad, TypeError) for bad in (True, False, "0.5", None, [0.5])],
)
def test_a_bad_drop_p_is_refused_by_name(bad, error):
    with pytest.raises(error, match=r"^drop_p "):
        fc_model.Network(784, 10, [4], drop_p=bad)


def test_a_refused_network_draws_no_random_numbers():
    state = torch.get_rng_state()
    with pytest.raises(TypeError):
        fc_model.Network(784, 10, [4], drop_p="0.5")
    assert torch.equal(torch.get_rng_state(), state)


def test_the_seed_decides_the_first_weights():
    assert equal_weights(make_model(20, 8, seed=3), make_model(20, 8, seed=3))
    assert not equal_weights(make_model(20, 8, seed=3), make_model(20, 8, seed=4))


def test_in_eval_mode_the_output_depends_on_weights_and_input_alone():
    model, copy = make_model(20, 8, seed=3).eval(), make_model(20, 8, seed=4).eval()
    copy.load_state_dict(model.state_dict())
    images = torch.randn(5, 20)
    kept, state = images.clone(), torch.get_rng_state()
    expected = model(images)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(images, kept)
    torch.manual_seed(99)
    assert torch.equal(model(images), expected)
    assert torch.equal(copy(images), expected)


# ---------------------------------------------------------------- WordAVGModel


def test_wordavg_answers_with_the_linear_layer_of_the_average_word():
    model = fc_model.WordAVGModel(vocab_size=20, embedding_size=3, output_size=2, pad_idx=5)
    assert {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()} == {
        "embed.weight": (20, 3),
        "linear.weight": (2, 3),
        "linear.bias": (2,),
    }
    text = torch.tensor([[1, 2, 3], [4, 4, 7]])
    answer = model(text)
    assert answer.shape == (2, 2) and answer.dtype == torch.float32
    assert torch.allclose(answer, model.linear(model.embed(text).mean(dim=1)))


@pytest.mark.parametrize("pad_idx", [0, 5, 19])
def test_wordavg_does_not_count_the_padding(pad_idx):
    torch.manual_seed(0)
    model = fc_model.WordAVGModel(vocab_size=20, embedding_size=3, output_size=1, pad_idx=pad_idx)
    sentence = torch.tensor([[1, 2, 3]])
    padded = torch.cat([sentence, torch.full((1, 4), pad_idx)], dim=1)
    filled = torch.cat([sentence, torch.full((1, 4), 7)], dim=1)
    assert torch.allclose(model(padded), model(sentence))
    assert not torch.allclose(model(filled), model(sentence))


# ---------------------------------------------------------------- validation


def test_loss_and_accuracy_are_means_over_samples_when_the_last_batch_is_smaller():
    model = make_model(784, 16, drop_p=0)
    (images, labels), *_ = make_batches([100])
    images[64:] *= 5
    labels[:64] = model(images[:64]).argmax(
        dim=1
    )  # The first 64 are all right, so the two batches differ.
    batches = [(images[:64], labels[:64]), (images[64:], labels[64:])]

    loss, accuracy = fc_model.validation(model, batches, nn.NLLLoss())
    output = model(images)
    assert loss == pytest.approx(F.nll_loss(output, labels).item(), rel=1e-5)
    assert accuracy == (output.argmax(dim=1) == labels).sum().item() / 100
    assert (type(loss), type(accuracy)) == (float, float)

    each = [fc_model.validation(model, [batch], nn.NLLLoss()) for batch in batches]
    batch_means = [statistics.mean(values) for values in zip(*each)]
    assert abs(batch_means[0] - loss) > 0.01 and abs(batch_means[1] - accuracy) > 0.01


def test_validation_measures_known_numbers():
    model = make_model(4, 3)
    nn.init.zeros_(model.output.weight)
    model.output.bias.data = torch.arange(10.0)  # Always answers 9.
    labels = torch.tensor([9, 9, 9, 0])
    loss, accuracy = fc_model.validation(model, [(torch.randn(4, 4), labels)], nn.NLLLoss())
    log_sum = torch.arange(10.0).logsumexp(dim=0).item()
    assert accuracy == 0.75
    assert loss == pytest.approx(log_sum - 27 / 4, rel=1e-5)


def test_a_criterion_of_logits_works_too():
    model, batches = nn.Sequential(nn.Linear(784, 10)), make_batches([8, 4])
    loss, _ = fc_model.validation(model, batches, F.cross_entropy)
    images, labels = (torch.cat(parts) for parts in zip(*batches))
    assert loss == pytest.approx(nn.CrossEntropyLoss()(model(images), labels).item(), rel=1e-5)


def test_validation_takes_images_and_flat_images():
    model = make_model(784, 16)
    flat = make_batches([8, 4])
    images = [(image.view(-1, 1, 28, 28), label) for image, label in flat]
    assert fc_model.validation(model, images, nn.NLLLoss()) == fc_model.validation(
        model, flat, nn.NLLLoss()
    )


def test_validation_runs_in_eval_mode_without_gradients():
    model, batches = make_model(784, 16, drop_p=0.5).train(), make_batches([8, 4])
    seen = []

    def criterion(output, labels):
        seen.append((model.training, model.dropout.training, output.requires_grad))
        return F.nll_loss(output, labels)

    first = fc_model.validation(model, batches, criterion)
    assert seen == [(False, False, False)] * 2
    assert fc_model.validation(model, batches, criterion) == first
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.is_grad_enabled()


def modes(model):
    return {name: module.training for name, module in model.named_modules()}


def broken_loader():
    yield from make_batches([4])
    raise OSError("the disk is gone")


def broken_criterion(output, labels):
    raise OSError("no loss today")


@pytest.mark.parametrize("mode", ["train", "eval", "one part in eval", "one part in train"])
@pytest.mark.parametrize("failure", [None, "loader", "criterion"])
def test_every_module_gets_its_mode_back(mode, failure):
    model = make_model(784, 16, 8)
    model.train(mode in ("train", "one part in eval"))
    model.hidden_layers[1].train(mode in ("train", "one part in train"))
    before = modes(model)
    assert len(set(before.values())) == (2 if mode.startswith("one part") else 1)

    loader = broken_loader() if failure == "loader" else make_batches([4])
    criterion = broken_criterion if failure == "criterion" else nn.NLLLoss()
    if failure:
        with pytest.raises(OSError):
            fc_model.validation(model, loader, criterion)
    else:
        fc_model.validation(model, loader, criterion)
    assert modes(model) == before
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_a_criterion_that_does_not_average_is_refused(reduction):
    model = make_model(784, 4).train()
    with pytest.raises(ValueError, match=f"criterion .*{reduction}"):
        fc_model.validation(model, make_batches([4]), nn.NLLLoss(reduction=reduction))
    assert model.training


def test_an_empty_testloader_is_refused():
    model = make_model(784, 4).train()
    with pytest.raises(ValueError, match="testloader is empty"):
        fc_model.validation(model, [], nn.NLLLoss())
    assert all(modes(model).values())


def test_validation_with_the_series_testloader_draws_no_random_numbers():
    _, testloader = helper.fashion_mnist_loaders(train_size=1)
    model = make_model(784, 16).train()
    state = torch.get_rng_state()
    fc_model.validation(model, testloader, nn.NLLLoss())
    assert torch.equal(torch.get_rng_state(), state)


# ---------------------------------------------------------------- train


def test_two_epochs_of_938_batches_print_46_lines(capsys):
    assert LINE.fullmatch(
        "Epoch: 1/2..  Training Loss: 1.703..  Test Loss: 0.997..  Test Accuracy: 0.659"
    )
    model = make_model(6, 8)
    history = fit(
        model, make_batches([2] * 938, features=6), make_batches([4], features=6, seed=1), epochs=2
    )
    *lines, bar = on_screen(capsys)
    assert len(lines) == len(history) == 46
    assert re.fullmatch(r"Steps: 100% \|█+\| 1876/1876", bar)
    assert [LINE.fullmatch(line)[1] for line in lines] == ["1"] * 23 + ["2"] * 23
    assert [step for step, *_ in history] == list(range(40, 1841, 40))


def test_the_lines_print_the_numbers_of_the_history(capsys):
    history = fit(
        make_model(6, 8),
        make_batches([4] * 5, 6),
        make_batches([16], 6, 1),
        epochs=2,
        print_every=3,
    )
    assert [step for step, *_ in history] == [3, 6, 9]
    assert on_screen(capsys)[:-1] == [
        f"Epoch: {epoch}/2..  Training Loss: {training:.3f}..  Test Loss: {test:.3f}..  Test Accuracy: {accuracy:.3f}"
        for epoch, (_, training, test, accuracy) in zip([1, 2, 2], history)
    ]


def test_the_bar_shows_no_times_and_stays_behind_also_after_an_error(capsys):
    def batches():
        yield from make_batches([4] * 3, 6)
        raise OSError("the disk is gone")

    class Broken:
        __len__, __iter__ = (lambda self: 5), (lambda self: batches())

    with pytest.raises(OSError, match="the disk is gone"):
        fit(make_model(6, 8), Broken(), make_batches([8], 6), epochs=2)
    raw = capsys.readouterr().out
    assert not re.search(r"\d:\d\d|it/s|s/it", raw) and raw.endswith("\n")
    assert re.fullmatch(r"Steps:  30% \|█+[^█|]? *\| 3/10", raw.splitlines()[-1])


def test_train_does_what_a_loop_written_by_hand_does():
    trainloader, testloader = make_batches([16] * 5, 20), make_batches([30, 10], 20, seed=1)
    model, by_hand = make_model(20, 16, 8, drop_p=0.3), make_model(20, 16, 8, drop_p=0.3)
    torch.manual_seed(7)
    history = fit(model, trainloader, testloader, lr=0.01, epochs=3, print_every=4)

    torch.manual_seed(7)
    optimizer = torch.optim.Adam(by_hand.parameters(), lr=0.01)
    images, labels = (torch.cat(parts) for parts in zip(*testloader))
    losses, test_losses, accuracies = [], [], []
    for batch, answers in trainloader * 3:
        loss = F.nll_loss(by_hand.train()(batch), answers)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        with torch.no_grad():
            output = by_hand.eval()(images)
        test_losses.append(F.nll_loss(output, labels).item())
        accuracies.append((output.argmax(dim=1) == labels).float().mean().item())

    assert equal_weights(model, by_hand)
    assert [row[0] for row in history] == [4, 8, 12]
    for step, training, test, accuracy in history:
        assert training == pytest.approx(statistics.mean(losses[step - 4 : step]), rel=1e-9)
        assert test == pytest.approx(test_losses[step - 1], rel=1e-5)
        assert accuracy == pytest.approx(accuracies[step - 1])


def test_the_same_seed_gives_the_same_weights_and_history():
    def run(seed):
        model = make_model(6, 8, seed=seed)
        history = fit(
            model, make_batches([4] * 6, 6), make_batches([8], 6, 1), epochs=2, print_every=4
        )
        return model, history

    (model, history), (again, same_history), (other, other_history) = run(1), run(1), run(2)
    assert equal_weights(model, again) and history == same_history
    assert not equal_weights(model, other) and history != other_history


def test_training_changes_every_weight_and_ends_in_training_mode():
    model = make_model(6, 8).eval()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    fit(model, make_batches([32] * 4, 6), make_batches([8], 6, 1), epochs=1, print_every=2)
    assert not any(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert all(modes(model).values())


def test_training_lowers_the_loss_and_raises_the_accuracy():
    (images, _), *_ = make_batches([512], 6)
    labels = (images[:, 0] > 0).long()
    batches = list(zip(images.split(32), labels.split(32)))
    history = fit(make_model(6, 16), batches, [(images, labels)], lr=0.01, epochs=5, print_every=16)
    assert history[-1][1] < history[0][1] / 2 and history[-1][2] < history[0][2] / 2
    assert history[-1][3] > 0.9


def test_fewer_steps_than_print_every_print_nothing(capsys):
    assert fit(make_model(6, 8), make_batches([4] * 3, 6), make_batches([8], 6), epochs=1) == []
    assert on_screen(capsys) == [f"Steps: 100% |{'█' * 62}| 3/3"]


def test_train_takes_five_epochs_and_a_line_every_40_steps_unless_told():
    history = fit(make_model(6, 8), make_batches([2] * 16, 6), make_batches([2], 6))
    assert [step for step, *_ in history] == [40, 80]


@pytest.mark.parametrize("name", ["epochs", "print_every"])
@pytest.mark.parametrize(
    ("bad", "error"), [(0, ValueError), (-1, ValueError), (2.5, TypeError), (True, TypeError)]
)
def test_bad_epochs_and_print_every_are_refused_by_name(name, bad, error):
    model, batches = make_model(6, 8), make_batches([4], 6)
    before = make_model(6, 8)
    with pytest.raises(error, match=f"^{name} "):
        fit(model, batches, batches, **{name: bad})
    assert equal_weights(model, before)


def test_train_takes_the_datasets_and_loaders_of_torchvision(torchvision_root):
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
    trainset = datasets.FashionMNIST(
        torchvision_root, download=True, train=True, transform=transform
    )
    testset = datasets.FashionMNIST(
        torchvision_root, download=True, train=False, transform=transform
    )
    trainloader = DataLoader(Subset(trainset, range(200)), batch_size=64, shuffle=True)
    testloader = DataLoader(Subset(testset, range(100)), batch_size=64, shuffle=True)
    history = fit(make_model(784, 32), trainloader, testloader, epochs=2, print_every=3)
    assert [step for step, *_ in history] == [3, 6]
    assert history[-1][2] < history[0][2]


class Traveller:
    """Stands for a tensor, and notes the device that it is sent to."""

    def __init__(self, tensor, log):
        self.tensor, self.log = tensor, log

    def to(self, device):
        self.log.append(str(device))
        return self.tensor


class ElsewhereNetwork(fc_model.Network):
    """Says that its parameters are on the meta device, but computes on the CPU."""

    def parameters(self, recurse=True):
        return iter([torch.empty(0, device="meta")])


def test_every_batch_goes_to_the_device_of_the_model():
    model = ElsewhereNetwork(6, 10, [8])
    optimizer = torch.optim.SGD(nn.Module.parameters(model), lr=0.1)
    train_log, test_log = [], []
    trainloader = [
        [Traveller(tensor, train_log) for tensor in batch] for batch in make_batches([4, 4], 6)
    ]
    testloader = [
        [Traveller(tensor, test_log) for tensor in batch] for batch in make_batches([4], 6)
    ]
    fc_model.train(model, trainloader, testloader, nn.NLLLoss(), optimizer, epochs=1, print_every=2)
    assert train_log == ["meta"] * 4
    assert test_log == ["meta"] * 2

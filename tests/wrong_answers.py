"""Wrong answers to the exercises, each with the hint that its check prints: docs/teach lists the hints.

{exercise: [(hint, code), ...]}. A hint that ends with … is the beginning of what is printed.
"""

WRONG_ANSWERS = {
    "0.1": [
        (
            "Sneaker is what the network says",
            'answer = "Sneaker"',
        ),
        (
            "'Boot' is not what the image shows",
            'answer = "Boot"',
        ),
        (
            "answer is not a string; write the name in quotes",
            "answer = 5",
        ),
    ],
    "0.2": [
        (
            "A: what does training need on the next morning?",
            'choice = {"A": "state_dict", "B": "state_dict", "C": "safetensors", '
            '"D": "exported program", "E": "state_dict"}',
        ),
        (
            "C: do these people know you?",
            'choice = {"A": "checkpoint", "B": "state_dict", "C": "state_dict", '
            '"D": "exported program", "E": "state_dict"}',
        ),
        (
            "D: what does the customer not have?",
            'choice = {"A": "checkpoint", "B": "state_dict", "C": "safetensors", '
            '"D": "safetensors", "E": "state_dict"}',
        ),
        (
            "E: who will load it, and with which code?",
            'choice = {"A": "checkpoint", "B": "state_dict", "C": "safetensors", '
            '"D": "exported program", "E": "whole model"}',
        ),
    ],
    "0.3": [
        (
            "no value of the dictionary is a state_dict",
            'torch.save(network.state_dict(), folder / "checkpoint.pth")',
        ),
        (
            "UnpicklingError: Weights only load failed…",
            'torch.save({"model": network, "epoch": 2}, folder / "checkpoint.pth")',
        ),
        (
            "the number 2 is missing; the numbers in it are [0]",
            'torch.save({"model": network.state_dict(), "epoch": 0}, folder / "checkpoint.pth")',
        ),
        (
            "the state_dict in it is not the one of network",
            """
stranger = fc_model.Network(784, 10, [512, 256, 128])
torch.save({"model": stranger.state_dict(), "epoch": 2}, folder / "checkpoint.pth")
""",
        ),
        (
            "the file holds a list, not a dictionary",
            'torch.save([network.state_dict(), 2], folder / "checkpoint.pth")',
        ),
    ],
    "1.1": [
        (
            "load_net returns nothing",
            """
def load_net(path):
    model = Net()
    model.load_state_dict(torch.load(path))
    model.eval()
""",
        ),
        (
            "Each call must build a new network",
            """
shared = Net()


def load_net(path):
    shared.load_state_dict(torch.load(path))
    return shared.eval()
""",
        ),
        (
            "load_net must read the file at path",
            """
def load_net(path):
    model = Net()
    model.load_state_dict(torch.load(folder / "my_model.pth"))
    return model.eval()
""",
        ),
        (
            "The network is not in eval mode",
            """
def load_net(path):
    model = Net()
    model.load_state_dict(torch.load(path))
    return model
""",
        ),
    ],
    "1.2": [
        (
            "The program stops with ModuleNotFoundError…",
            '''
rescue = """
import torch
from Net import Net

model = torch.load("lost.pt", weights_only=False)
torch.save(model.state_dict(), "rescued.pth")
"""
''',
        ),
        (
            "The program stops with AttributeError…",
            '''
rescue = """
import torch
import curve_net

model = torch.load("lost.pt", weights_only=False)
torch.save(model.state_dict(), "rescued.pth")
"""
''',
        ),
        (
            "The program writes no rescued.pth",
            '''
rescue = """
import torch
from curve_net import Net

model = torch.load("lost.pt", weights_only=False)
"""
''',
        ),
        (
            "rescued.pth holds more than a state_dict: it names classes",
            '''
rescue = """
import torch
from curve_net import Net

model = torch.load("lost.pt", weights_only=False)
torch.save(model, "rescued.pth")
"""
''',
        ),
        (
            "rescued.pth does not hold the numbers of lost.pt",
            '''
rescue = """
import torch
from curve_net import Net

model = Net()
torch.save(model.state_dict(), "rescued.pth")
"""
''',
        ),
    ],
    "1.3": [
        (
            "This is not the answer of eval mode. Call eval() before the model",
            """
def predict(model, x):
    with torch.no_grad():
        return model(x)
""",
        ),
        (
            "Before the call the model was in training mode, and now it is not",
            """
def predict(model, x):
    return model.eval()(x)
""",
        ),
        (
            "Before the call the model was in eval mode, and now it is not",
            """
def predict(model, x):
    answer = model.eval()(x)
    model.train()
    return answer
""",
        ),
    ],
    "2.1": [
        (
            "The file has no layers.1.bias, layers.1.weight.",
            """
class Rebuilt(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(1000, 16)
        self.layers = nn.ModuleList([nn.Linear(16, 32), nn.Linear(32, 5)])
""",
        ),
        (
            "layers.0.weight is (16, 32) in the class, but (32, 16) in the file.",
            """
class Rebuilt(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(1000, 16)
        self.layers = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(5, 32))
""",
        ),
        (
            "The file has no words.bias.",
            """
class Rebuilt(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Linear(16, 1000)
        self.layers = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 5))
""",
        ),
        (
            "The class has no layers.0.bias, layers.0.weight, layers.2.bias, layers.2.weight.",
            """
class Rebuilt(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(1000, 16)
        self.layers = [nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 5)]
""",
        ),
    ],
    "2.2": [
        (
            'NotImplementedError: Module [ModuleList] is missing the required "forward" function',
            """
class Hidden(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(784, 32), nn.Linear(32, 10)])

    def forward(self, x):
        return self.layers(x)
""",
        ),
        (
            "forward does not use the layers that have keys.",
            """
class Hidden(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = {"first": nn.Linear(784, 32), "last": nn.Linear(32, 10)}
        self.layers = nn.ModuleList([nn.Linear(784, 32), nn.Linear(32, 10)])

    def forward(self, x):
        return self.hidden["last"](torch.relu(self.hidden["first"](x)))
""",
        ),
        (
            "forward must use both layers, with ReLU between them.",
            """
class Hidden(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(784, 32), nn.Linear(32, 10))

    def forward(self, x):
        return self.layers(x)
""",
        ),
        (
            "Hidden() has 2 keys, not 4.",
            """
class Hidden(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.layers = nn.Linear(784, 32), {"last": nn.Linear(32, 10)}

    def forward(self, x):
        return self.layers["last"](torch.relu(self.first(x)))
""",
        ),
    ],
    "2.3": [
        (
            "The returned weights have a different validation loss.",
            """
def fit_and_keep_best(network, optimizer, x, y, val_x, val_y):
    best_loss, best_weights = float("inf"), None
    for step in range(50):
        optimizer.zero_grad()
        mse(network(x), y).backward()
        optimizer.step()
        val_loss = mse(network(val_x), val_y).item()
        if val_loss < best_loss:
            best_loss, best_weights = val_loss, network.state_dict().copy()
    return best_loss, best_weights
""",
        ),
        (
            "There was a lower validation loss on the way.",
            """
def fit_and_keep_best(network, optimizer, x, y, val_x, val_y):
    for step in range(50):
        optimizer.zero_grad()
        mse(network(x), y).backward()
        optimizer.step()
    return mse(network(val_x), val_y).item(), copy.deepcopy(network.state_dict())
""",
        ),
        (
            "There was a lower validation loss on the way.",
            """
def fit_and_keep_best(network, optimizer, x, y, val_x, val_y):
    best_loss, best_weights = float("inf"), None
    for step in range(50):
        optimizer.zero_grad()
        train_loss = mse(network(x), y)
        train_loss.backward()
        optimizer.step()
        if train_loss.item() < best_loss:
            best_loss = train_loss.item()
            best_weights = copy.deepcopy(network.state_dict())
    return mse(network(val_x), val_y).item(), best_weights
""",
        ),
    ],
    "3.1": [
        (
            "her error would have 0 lines, or lines for different keys",
            "hidden_layers = [512, 256, 128]",
        ),
        (
            "her error would have 3 lines, or lines for different keys",
            "hidden_layers = [300, 256, 128]",
        ),
        (
            "her error would have 5 lines, or lines for different keys",
            "hidden_layers = [512, 300, 300]",
        ),
        (
            "this is the right layer, but the wrong width",
            "hidden_layers = [512, 200, 128]",
        ),
        (
            "her file has a different number of layers",
            "hidden_layers = [300, 128]",
        ),
    ],
    "3.2": [
        (
            "a state_dict that does not fit must raise RuntimeError",
            """
def load_or_refuse(model, state_dict):
    if not checkpoints.diff(model, state_dict):
        model.load_state_dict(state_dict)
""",
        ),
        (
            "it raised, and yet the model has changed",
            """
def load_or_refuse(model, state_dict):
    before = model.state_dict()
    try:
        model.load_state_dict(state_dict)
    except RuntimeError:
        model.load_state_dict(before)
        raise
""",
        ),
        (
            "what fits must be loaded into the model itself",
            """
def load_or_refuse(model, state_dict):
    model = copy.deepcopy(model)
    model.load_state_dict(state_dict)
""",
        ),
        (
            "a state_dict that does not fit must raise RuntimeError",
            """
def load_or_refuse(model, state_dict):
    own = model.state_dict()
    for key in own:
        if key in state_dict and own[key].shape != state_dict[key].shape:
            raise RuntimeError(key)
    model.load_state_dict(state_dict, strict=False)
""",
        ),
    ],
    "3.3": [
        (
            "the model must keep its own head",
            """
def load_body(model, state_dict):
    model.load_state_dict(state_dict, strict=False)
""",
        ),
        (
            "the body has a missing tensor: this must raise RuntimeError",
            """
def load_body(model, state_dict):
    body = {key: state_dict[key] for key in state_dict if key.startswith("hidden_layers.")}
    model.load_state_dict(body, strict=False)
""",
        ),
        (
            "the body has an unexpected tensor: this must raise RuntimeError",
            """
def load_body(model, state_dict):
    body = {key: state_dict[key] for key in state_dict if key.startswith("hidden_layers.")}
    report = model.load_state_dict(body, strict=False)
    if report.missing_keys != ["output.weight", "output.bias"]:
        raise RuntimeError(report)
""",
        ),
        (
            "the model must keep its own head",
            """
def load_body(model, state_dict):
    own = model.state_dict()
    fitting = {key: state_dict[key] for key in own if own[key].shape == state_dict[key].shape}
    model.load_state_dict(fitting, strict=False)
""",
        ),
    ],
    "4.1": [
        (
            "the model comes back in training mode",
            """
def save_words(model, path):
    saved = {"sizes": [*model.embed.weight.shape, len(model.linear.bias), model.pad_idx]}
    torch.save(saved | {"state_dict": model.state_dict()}, path)


def load_words(path):
    saved = torch.load(path)
    model = fc_model.WordAVGModel(*saved["sizes"])
    model.load_state_dict(saved["state_dict"])
    return model
""",
        ),
        (
            "WordAVGModel(100, 8, 1, 3) comes back with the same weights, and "
            "gives a different answer",
            """
def save_words(model, path):
    torch.save({"state_dict": model.state_dict()}, path)


def load_words(path):
    weights = torch.load(path)["state_dict"]
    vocab_size, embedding_size = weights["embed.weight"].shape
    model = fc_model.WordAVGModel(vocab_size, embedding_size, len(weights["linear.bias"]), 0)
    model.load_state_dict(weights)
    return model.eval()
""",
        ),
        (
            "RuntimeError: Error(s) in loading state_dict for WordAVGModel:…",
            """
def save_words(model, path):
    torch.save({"pad_idx": model.pad_idx, "state_dict": model.state_dict()}, path)


def load_words(path):
    saved = torch.load(path)
    model = fc_model.WordAVGModel(100, 8, 1, saved["pad_idx"])
    model.load_state_dict(saved["state_dict"])
    return model.eval()
""",
        ),
        (
            "WordAVGModel(100, 8, 1, 0) comes back with different weights",
            """
def save_words(model, path):
    sizes = [*model.embed.weight.shape, len(model.linear.bias), model.pad_idx]
    torch.save({"sizes": sizes, "state_dict": model.state_dict()}, path)


def load_words(path):
    return fc_model.WordAVGModel(*torch.load(path)["sizes"]).eval()
""",
        ),
        (
            "save_words has put the model into eval mode",
            """
def save_words(model, path):
    sizes = [*model.embed.weight.shape, len(model.linear.bias), model.pad_idx]
    torch.save({"sizes": sizes, "state_dict": model.eval().state_dict()}, path)


def load_words(path):
    saved = torch.load(path)
    model = fc_model.WordAVGModel(*saved["sizes"])
    model.load_state_dict(saved["state_dict"])
    return model.eval()
""",
        ),
        (
            "UnpicklingError: Weights only load failed…",
            """
def save_words(model, path):
    torch.save(model, path)


def load_words(path):
    return torch.load(path, weights_only=False).eval()
""",
        ),
    ],
    "4.2": [
        (
            "a run that is stopped after 2 of 3 epochs trains 3 in the next call",
            """
def train_until(epochs, filepath):
    torch.manual_seed(SEED)
    model = load_checkpoint(folder / "checkpoint.pth").train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, halve)
    if filepath.exists():
        _, model, optimizer, scheduler = load_run(filepath)
    for epoch in range(epochs):
        train_epoch(model, optimizer)
        scheduler.step()
        save_run(filepath, epoch, model, optimizer, scheduler)
    return model
""",
        ),
        (
            "a run that is stopped after 2 of 3 epochs trains 2 in the next call",
            """
def train_until(epochs, filepath):
    torch.manual_seed(SEED)
    first, model = 0, load_checkpoint(folder / "checkpoint.pth").train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, halve)
    if filepath.exists():
        _, model, optimizer, scheduler = load_run(filepath)
        first = torch.load(filepath)["epoch"]
    for epoch in range(first, epochs):
        train_epoch(model, optimizer)
        scheduler.step()
        save_run(filepath, epoch, model, optimizer, scheduler)
    return model
""",
        ),
        (
            "2 epochs and then 1 give different weights from 3 without a stop",
            """
def train_until(epochs, filepath):
    torch.manual_seed(SEED)
    first, model = 0, load_checkpoint(folder / "checkpoint.pth").train()
    if filepath.exists():
        first, model, _, _ = load_run(filepath)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, halve)
    for epoch in range(first, epochs):
        train_epoch(model, optimizer)
        scheduler.step()
        save_run(filepath, epoch, model, optimizer, scheduler)
    return model
""",
        ),
        (
            "2 epochs and then 1 give different weights from 3 without a stop",
            """
def train_until(epochs, filepath):
    first, model = 0, load_checkpoint(folder / "checkpoint.pth").train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, halve)
    if filepath.exists():
        first, model, optimizer, scheduler = load_run(filepath)
    torch.manual_seed(SEED)
    for epoch in range(first, epochs):
        train_epoch(model, optimizer)
        scheduler.step()
        save_run(filepath, epoch, model, optimizer, scheduler)
    return model
""",
        ),
        (
            "a run that is stopped after two epochs leaves no file",
            """
def train_until(epochs, filepath):
    torch.manual_seed(SEED)
    first, model = 0, load_checkpoint(folder / "checkpoint.pth").train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, halve)
    if filepath.exists():
        first, model, optimizer, scheduler = load_run(filepath)
    for epoch in range(first, epochs):
        train_epoch(model, optimizer)
        scheduler.step()
    save_run(filepath, epochs - 1, model, optimizer, scheduler)
    return model
""",
        ),
        (
            "the last of 3 epochs is saved as epoch 0",
            """
def train_until(epochs, filepath):
    torch.manual_seed(SEED)
    first, model = 0, load_checkpoint(folder / "checkpoint.pth").train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, halve)
    if filepath.exists():
        first, model, optimizer, scheduler = load_run(filepath)
    for epoch in range(epochs - first):
        train_epoch(model, optimizer)
        scheduler.step()
        save_run(filepath, epoch, model, optimizer, scheduler)
    return model
""",
        ),
    ],
    "4.3": [
        (
            "with the factor 0.1, epoch 3 gets the rate 0.000125",
            """
def resume_scaled(filepath, factor):
    first, model, optimizer, scheduler = load_run(filepath)
    optimizer.param_groups[0]["lr"] *= factor
    return first, model, optimizer, scheduler
""",
        ),
        (
            "with the factor 0.1, epoch 2 gets the rate 0.000250",
            """
def resume_scaled(filepath, factor):
    first, model, optimizer, scheduler = load_run(filepath)
    scheduler.base_lrs = [factor * rate for rate in scheduler.base_lrs]
    return first, model, optimizer, scheduler
""",
        ),
        (
            "with the factor 0.5, epoch 2 gets the rate 0.000025",
            """
def resume_scaled(filepath, factor):
    first, model, optimizer, scheduler = load_run(filepath)
    optimizer.param_groups[0]["lr"] = 0.000025
    scheduler.base_lrs = [0.0001]
    return first, model, optimizer, scheduler
""",
        ),
        (
            "the optimizer has lost its memory",
            """
def resume_scaled(filepath, factor):
    first, model, optimizer, scheduler = load_run(filepath)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001 * factor)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1.0)
    return first, model, optimizer, scheduler
""",
        ),
        (
            "return the next epoch, the model, the optimizer and the scheduler, in this order",
            """
def resume_scaled(filepath, factor):
    first, model, optimizer, scheduler = load_run(filepath)
    optimizer.param_groups[0]["lr"] *= factor
    scheduler.base_lrs = [factor * rate for rate in scheduler.base_lrs]
    return model, optimizer, scheduler, first
""",
        ),
    ],
    "5.1": [
        (
            "These paths should not be there: ['', '1', '1.0', '1.1']. They are "
            "neither nn.Linear nor nn.Conv2d",
            """
def layers(model):
    return dict(model.named_modules())
""",
        ),
        (
            "The model has two such layers, but you found ['0']",
            """
def layers(model):
    kinds = (nn.Linear, nn.Conv2d)
    return {path: layer for path, layer in model.named_children() if isinstance(layer, kinds)}
""",
        ),
        (
            "The model has two such layers, but you found ['0']",
            """
def layers(model):
    return {path: layer for path, layer in model.named_modules() if isinstance(layer, nn.Linear)}
""",
        ),
        (
            "Your function returned a list, not a dict",
            """
def layers(model):
    return [layer for layer in model.modules() if isinstance(layer, (nn.Linear, nn.Conv2d))]
""",
        ),
        (
            "The values of the dictionary must be the layers themselves",
            """
def layers(model):
    kinds = (nn.Linear, nn.Conv2d)
    return {path: layer.weight for path, layer in model.named_modules() if isinstance(layer, kinds)}
""",
        ),
        (
            "A layer whose class inherits from nn.Linear is missing",
            """
def layers(model):
    kinds = (nn.Linear, nn.Conv2d)
    return {path: layer for path, layer in model.named_modules() if type(layer) in kinds}
""",
        ),
        (
            "nn.Linear(2, 2) as the whole model must give the path ''",
            """
def layers(model):
    kinds = (nn.Linear, nn.Conv2d)
    named = model.named_modules()
    return {path: layer for path, layer in named if path and isinstance(layer, kinds)}
""",
        ),
    ],
    "5.2": [
        (
            "The values of the dictionary must be NumPy arrays",
            """
def snapshot(model):
    return copy.deepcopy(model.state_dict())
""",
        ),
        (
            "Missing for load_state_dict: ['1.num_batches_tracked', "
            "'1.running_mean', '1.running_var']",
            """
def snapshot(model):
    return {name: parameter.detach().numpy().copy() for name, parameter in model.named_parameters()}
""",
        ),
        (
            "After the snapshot, a buffer changed in it",
            """
def snapshot(model):
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}
""",
        ),
        (
            "After the snapshot, a weight changed in it",
            """
def snapshot(model):
    arrays = {name: buffer.numpy().copy() for name, buffer in model.named_buffers()}
    for name, parameter in model.named_parameters():
        arrays[name] = parameter.detach().numpy()
    return arrays
""",
        ),
    ],
    "5.3": [
        (
            "Only head should change, but these do: ['body.0.weight', "
            "'body.0.bias', 'body.1.weight', 'body.1.bias', …",
            """
def train_only(model, name):
    model.eval()
    model.get_submodule(name).train()
""",
        ),
        (
            "Only head should change, but these do: ['body.1.running_mean', "
            "'body.1.running_var', …",
            """
def train_only(model, name):
    model.requires_grad_(False)
    model.get_submodule(name).requires_grad_(True)
""",
        ),
        (
            "These should change, and do not: ['head.1.running_mean', "
            "'head.1.running_var', 'head.1.num_batches_tracked']",
            """
def train_only(model, name):
    model.requires_grad_(False).eval()
    model.get_submodule(name).requires_grad_(True)
""",
        ),
        (
            "RuntimeError: element 0 of tensors does not require grad and does not have a grad_fn",
            """
def train_only(model, name):
    model.requires_grad_(False).eval()
    model.get_submodule(name).train()
""",
        ),
        (
            "RuntimeError: element 0 of tensors does not require grad and does not have a grad_fn",
            """
def train_only(model, name):
    for path, child in model.named_children():
        child.requires_grad_(path == name).train(path == name)
""",
        ),
        (
            "Only body should change, but these do: ['head.0.weight', 'head.0.bias', …",
            """
def train_only(model, name):
    model.requires_grad_(False).eval()
    for child in (model.get_submodule("head"), model.get_submodule(name)):
        child.requires_grad_(True).train()
""",
        ),
    ],
    "6.1": [
        (
            "With batches of 100, the mean is wrong.",
            """
def mean_loss(net, loader):
    return sum(loss_func(net(xs), ys).item() * 32 for xs, ys in loader) / 100
""",
        ),
        (
            "The result is a Tensor, not a float.",
            """
def mean_loss(net, loader):
    total, count = 0.0, 0
    for xs, ys in loader:
        total += loss_func(net(xs), ys) * len(xs)
        count += len(xs)
    return total / count
""",
        ),
        (
            "For a list of two batches (50 points), the mean is wrong.",
            """
def mean_loss(net, loader):
    return sum(loss_func(net(xs), ys).item() * len(xs) for xs, ys in loader) / len(x)
""",
        ),
        (
            "AttributeError: 'list' object has no attribute 'dataset'",
            """
def mean_loss(net, loader):
    total = sum(loss_func(net(xs), ys).item() * len(xs) for xs, ys in loader)
    return total / len(loader.dataset)
""",
        ),
    ],
    "6.2": [
        (
            "Stopped before epoch 1: epoch 1 has a different order.",
            """
def order_of(generator):
    return {"seed": generator.initial_seed()}


def continued(dataset, kept):
    generator = torch.Generator().manual_seed(kept["seed"])
    loader = DataLoader(dataset, batch_size=32, shuffle=True, generator=generator)
    for epoch in range(2):
        list(loader)
    return loader
""",
        ),
        (
            "Stopped before epoch 2: epoch 2 has a different order.",
            """
def order_of(generator):
    return {"state": generator.get_state()}


def continued(dataset, kept):
    generator = torch.Generator()
    generator.set_state(kept["state"])
    return DataLoader(dataset, batch_size=32, generator=generator)
""",
        ),
        (
            "PyTorch's global random numbers have changed.",
            """
def order_of(generator):
    return {"state": generator.get_state()}


def continued(dataset, kept):
    torch.set_rng_state(kept["state"])
    return DataLoader(dataset, batch_size=32, shuffle=True)
""",
        ),
        (
            "100 samples give batches of [100].",
            """
def order_of(generator):
    return {"state": generator.get_state()}


def continued(dataset, kept):
    generator = torch.Generator()
    generator.set_state(kept["state"])
    return DataLoader(dataset, batch_size=len(dataset), shuffle=True, generator=generator)
""",
        ),
        (
            "UnpicklingError: Weights only load failed…",
            """
def order_of(generator):
    return {"generator": generator}


def continued(dataset, kept):
    return DataLoader(dataset, batch_size=32, shuffle=True, generator=kept["generator"])
""",
        ),
    ],
    "6.3": [
        (
            "Sentences of [2, 5, 3, None] words: your tensor has the shape (4, 5).",
            """
def collate(samples):
    pairs = [pair if pair is not None else (torch.zeros(1, dtype=torch.int64), 0) for pair in samples]
    sentences, labels = zip(*pairs)
    words = nn.utils.rnn.pad_sequence(sentences, batch_first=True)
    return words, torch.tensor(labels)
""",
        ),
        (
            "TypeError: cannot unpack non-iterable NoneType object",
            """
def collate(samples):
    words = nn.utils.rnn.pad_sequence([sentence for sentence, _ in samples], batch_first=True)
    return words, torch.tensor([label for _, label in samples])
""",
        ),
        (
            "Sentences of [4, 1] words: your tensor has the shape (4, 2).",
            """
def collate(samples):
    sentences, labels = zip(*[pair for pair in samples if pair is not None])
    return nn.utils.rnn.pad_sequence(sentences), torch.tensor(labels)
""",
        ),
        (
            "Sentences of [4, 1] words: your tensor has the shape (2, 5).",
            """
def collate(samples):
    pairs = [pair for pair in samples if pair is not None]
    words = torch.zeros(len(pairs), 5, dtype=torch.int64)
    for row, (sentence, _) in zip(words, pairs):
        row[: len(sentence)] = sentence
    return words, torch.tensor([label for _, label in pairs])
""",
        ),
        (
            "The words have become torch.float32.",
            """
def collate(samples):
    pairs = [pair for pair in samples if pair is not None]
    words = torch.zeros(len(pairs), max(len(sentence) for sentence, _ in pairs))
    for row, (sentence, _) in zip(words, pairs):
        row[: len(sentence)] = sentence
    return words, torch.tensor([label for _, label in pairs])
""",
        ),
        (
            "A short row ends in -1.",
            """
def collate(samples):
    sentences, labels = zip(*[pair for pair in samples if pair is not None])
    words = nn.utils.rnn.pad_sequence(sentences, batch_first=True, padding_value=-1)
    return words, torch.tensor(labels)
""",
        ),
        (
            "The labels are a tuple, not a tensor.",
            """
def collate(samples):
    sentences, labels = zip(*[pair for pair in samples if pair is not None])
    return nn.utils.rnn.pad_sequence(sentences, batch_first=True), labels
""",
        ),
    ],
    "7.1": [
        (
            "torch.load would still refuse: PosixPath, dtype, scalar",
            """
def to_plain(thing):
    plain = {}
    for key, value in thing.items():
        if isinstance(value, np.generic):
            value = value.item()
        elif isinstance(value, np.ndarray):
            value = torch.from_numpy(value)
        elif isinstance(value, Namespace):
            value = vars(value)
        plain[key] = value
    return plain
""",
        ),
        (
            "an int must stay an int",
            """
def to_plain(thing):
    if isinstance(thing, np.generic):
        return float(thing)
    if isinstance(thing, np.ndarray):
        return torch.from_numpy(thing)
    if isinstance(thing, Path):
        return str(thing)
    if isinstance(thing, Namespace):
        return to_plain(vars(thing))
    if isinstance(thing, dict):
        return {key: to_plain(value) for key, value in thing.items()}
    if isinstance(thing, list):
        return [to_plain(value) for value in thing]
    return thing
""",
        ),
        (
            "a list must keep what is in it, and its order",
            """
def to_plain(thing):
    if isinstance(thing, np.generic):
        return thing.item()
    if isinstance(thing, np.ndarray):
        return torch.from_numpy(thing)
    if isinstance(thing, Namespace):
        return to_plain(vars(thing))
    if isinstance(thing, dict):
        return {key: to_plain(value) for key, value in thing.items()}
    if isinstance(thing, list):
        return [to_plain(value) for value in thing]
    return thing if isinstance(thing, (int, float, torch.Tensor)) else str(thing)
""",
        ),
        (
            "an array must become a tensor",
            """
def to_plain(thing):
    if isinstance(thing, (np.generic, np.ndarray)):
        return thing.tolist()
    if isinstance(thing, Path):
        return str(thing)
    if isinstance(thing, Namespace):
        return to_plain(vars(thing))
    if isinstance(thing, dict):
        return {key: to_plain(value) for key, value in thing.items()}
    if isinstance(thing, list):
        return [to_plain(value) for value in thing]
    return thing
""",
        ),
        (
            "the array must keep its numbers and its dtype",
            """
def to_plain(thing):
    if isinstance(thing, np.generic):
        return thing.item()
    if isinstance(thing, np.ndarray):
        return torch.tensor(thing.tolist())
    if isinstance(thing, Path):
        return str(thing)
    if isinstance(thing, Namespace):
        return to_plain(vars(thing))
    if isinstance(thing, dict):
        return {key: to_plain(value) for key, value in thing.items()}
    if isinstance(thing, list):
        return [to_plain(value) for value in thing]
    return thing
""",
        ),
        (
            "what stands deeper, or in a tuple, has changed",
            """
def to_plain(thing):
    if isinstance(thing, np.generic):
        return thing.item()
    if isinstance(thing, np.ndarray):
        return torch.from_numpy(thing)
    if isinstance(thing, Path):
        return str(thing)
    if isinstance(thing, Namespace):
        return to_plain(vars(thing))
    if isinstance(thing, dict):
        return {key: to_plain(value) for key, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [to_plain(value) for value in thing]
    return thing
""",
        ),
        (
            "the original changed",
            """
def to_plain(thing):
    if isinstance(thing, np.generic):
        return thing.item()
    if isinstance(thing, np.ndarray):
        return torch.from_numpy(thing)
    if isinstance(thing, Path):
        return str(thing)
    if isinstance(thing, Namespace):
        plain = vars(thing)
        for key in plain:
            plain[key] = to_plain(plain[key])
        return plain
    if isinstance(thing, dict):
        return {key: to_plain(value) for key, value in thing.items()}
    if isinstance(thing, list):
        return [to_plain(value) for value in thing]
    return thing
""",
        ),
    ],
    "7.2": [
        (
            "beside the tensors this came back: {'input_size': '784', …",
            """
from safetensors import safe_open


def to_safetensors(checkpoint, path):
    rest = {key: str(value) for key, value in checkpoint.items() if key != "state_dict"}
    save_file(checkpoint["state_dict"], path, metadata=dict(sorted(rest.items())))


def from_safetensors(path):
    with safe_open(path, "pt") as file:
        rest = {key: file.metadata()[key] for key in ("input_size", "output_size", "hidden_layers", "drop_p", "epoch")}
    return rest | {"state_dict": load_file(path)}
""",
        ),
        (
            "beside the tensors this came back: {'input_size': 784, "
            "'output_size': 10, 'hidden_layers': [8, 6]}",
            """
from safetensors import safe_open


def to_safetensors(checkpoint, path):
    sizes = {key: checkpoint[key] for key in ("input_size", "output_size", "hidden_layers")}
    save_file(checkpoint["state_dict"], path, metadata={"sizes": json.dumps(sizes)})


def from_safetensors(path):
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["sizes"]) | {"state_dict": load_file(path)}
""",
        ),
        (
            "FileNotFoundError: …",
            """
def to_safetensors(checkpoint, path):
    rest = {key: value for key, value in checkpoint.items() if key != "state_dict"}
    save_file(checkpoint["state_dict"], path)
    path.with_suffix(".json").write_text(json.dumps(rest))


def from_safetensors(path):
    return json.loads(path.with_suffix(".json").read_text()) | {"state_dict": load_file(path)}
""",
        ),
        (
            "the tensors must keep their names: ['state_dict.hidden_layers.0.bias', …",
            """
from safetensors import safe_open


def to_safetensors(checkpoint, path):
    rest = {key: value for key, value in checkpoint.items() if key != "state_dict"}
    tensors = {f"state_dict.{key}": value for key, value in checkpoint["state_dict"].items()}
    save_file(tensors, path, metadata={"rest": json.dumps(rest)})


def from_safetensors(path):
    with safe_open(path, "pt") as file:
        rest = json.loads(file.metadata()["rest"])
    return rest | {"state_dict": {key.partition(".")[2]: value for key, value in load_file(path).items()}}
""",
        ),
        (
            "builtins.eval runs what is in the file",
            """
from safetensors import safe_open


def to_safetensors(checkpoint, path):
    rest = {key: value for key, value in checkpoint.items() if key != "state_dict"}
    save_file(checkpoint["state_dict"], path, metadata={"rest": repr(rest)})


def from_safetensors(path):
    with safe_open(path, "pt") as file:
        rest = eval(file.metadata()["rest"])
    return rest | {"state_dict": load_file(path)}
""",
        ),
        (
            "the given checkpoint has changed: take its parts without pop",
            """
from safetensors import safe_open


def to_safetensors(checkpoint, path):
    weights = checkpoint.pop("state_dict")
    save_file(weights, path, metadata={"rest": json.dumps(checkpoint)})


def from_safetensors(path):
    with safe_open(path, "pt") as file:
        rest = json.loads(file.metadata()["rest"])
    return rest | {"state_dict": load_file(path)}
""",
        ),
        (
            "beside the tensors this came back: {'input_size': 784, "
            "'output_size': 10, 'hidden_layers': [8, 6], …",
            """
from safetensors import safe_open


def to_safetensors(checkpoint, path):
    fields = ("input_size", "output_size", "hidden_layers", "drop_p", "epoch")
    rest = {key: checkpoint[key] for key in fields}
    save_file(checkpoint["state_dict"], path, metadata={"rest": json.dumps(rest)})


def from_safetensors(path):
    with safe_open(path, "pt") as file:
        rest = json.loads(file.metadata()["rest"])
    return rest | {"state_dict": load_file(path)}
""",
        ),
        (
            "pickle.loads runs what is in the file",
            """
import pickle

from safetensors import safe_open


def to_safetensors(checkpoint, path):
    rest = {key: value for key, value in checkpoint.items() if key != "state_dict"}
    save_file(checkpoint["state_dict"], path, metadata={"rest": pickle.dumps(rest).hex()})


def from_safetensors(path):
    with safe_open(path, "pt") as file:
        rest = pickle.loads(bytes.fromhex(file.metadata()["rest"]))
    return rest | {"state_dict": load_file(path)}
""",
        ),
        (
            "the sizes must stand in the header as plain text",
            """
import base64
import io

from safetensors import safe_open


def to_safetensors(checkpoint, path):
    rest = {key: value for key, value in checkpoint.items() if key != "state_dict"}
    torch.save(rest, file := io.BytesIO())
    text = base64.b64encode(file.getvalue()).decode()
    save_file(checkpoint["state_dict"], path, metadata={"rest": text})


def from_safetensors(path):
    with safe_open(path, "pt") as file:
        data = base64.b64decode(file.metadata()["rest"])
    return torch.load(io.BytesIO(data), weights_only=False) | {"state_dict": load_file(path)}
""",
        ),
    ],
    "7.3": [
        (
            "nothing has changed yet, and you found ([], [], ['manifest.json'])",
            """
def verify(folder):
    listed = json.loads((folder / "manifest.json").read_text())
    there = {path.name for path in folder.iterdir()}
    changed = [name for name in listed.keys() & there if sha256(folder / name) != listed[name]]
    return sorted(changed), sorted(listed.keys() - there), sorted(there - listed.keys())
""",
        ),
        (
            "FileNotFoundError: …",
            """
def verify(folder):
    listed = json.loads((folder / "manifest.json").read_text())
    there = {path.name for path in folder.iterdir()} - {"manifest.json"}
    changed = [name for name in listed if sha256(folder / name) != listed[name]]
    return sorted(changed), sorted(listed.keys() - there), sorted(there - listed.keys())
""",
        ),
        (
            "extra: x.json y z; you found []",
            """
def verify(folder):
    listed = json.loads((folder / "manifest.json").read_text())
    missing = [name for name in listed if not (folder / name).exists()]
    changed = [name for name in listed if name not in missing and sha256(folder / name) != listed[name]]
    return sorted(changed), sorted(missing), []
""",
        ),
        (
            "changed: b f; you found ['f', 'b']",
            """
def verify(folder):
    listed = json.loads((folder / "manifest.json").read_text())
    listed = dict(sorted(listed.items(), reverse=True))
    there = {path.name for path in folder.iterdir()} - {"manifest.json"}
    changed = [name for name in listed if name in there and sha256(folder / name) != listed[name]]
    return changed, [name for name in listed if name not in there], sorted(there - listed.keys())
""",
        ),
        (
            "extra: x.json y z; you found ['y', 'z']",
            """
def verify(folder):
    listed = json.loads((folder / "manifest.json").read_text())
    there = {path.name for path in folder.iterdir() if path.suffix != ".json"}
    changed = [name for name in listed.keys() & there if sha256(folder / name) != listed[name]]
    return sorted(changed), sorted(listed.keys() - there), sorted(there - listed.keys())
""",
        ),
        (
            "UnicodeDecodeError: …",
            """
def verify(folder):
    listed = json.loads((folder / "manifest.json").read_text())
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir() if path.name != "manifest.json"}
    found = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in there.items()}
    changed = [name for name in listed.keys() & there if found[name] != listed[name]]
    return sorted(changed), sorted(listed.keys() - there), sorted(there.keys() - listed.keys())
""",
        ),
    ],
    "8.1": [
        (
            "RuntimeError: Boolean value of Tensor with more than one value is ambiguous",
            """
def left_behind(model, optimizer):
    held = [p for group in optimizer.param_groups for p in group["params"]]
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad and parameter not in held]
""",
        ),
        (
            "this optimizer holds all four, in four groups, the last one first",
            """
def left_behind(model, optimizer):
    held = {id(p) for p in optimizer.param_groups[0]["params"]}
    return [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in held]
""",
        ),
        (
            "this optimizer holds all four, in four groups, the last one first",
            """
def left_behind(model, optimizer):
    held = [p for group in optimizer.param_groups for p in group["params"]]
    return [name for (name, p), q in zip(model.named_parameters(), held) if p.requires_grad and p is not q]
""",
        ),
        (
            "equal numbers, in one memory, are still two parameters",
            """
def left_behind(model, optimizer):
    held = {p.data_ptr() for group in optimizer.param_groups for p in group["params"]}
    return [name for name, p in model.named_parameters() if p.requires_grad and p.data_ptr() not in held]
""",
        ),
        (
            "equal numbers, in one memory, are still two parameters",
            """
def left_behind(model, optimizer):
    held = [p for group in optimizer.param_groups for p in group["params"]]
    return [name for name, p in model.named_parameters() if not any(torch.equal(p, other) for other in held)]
""",
        ),
        (
            "a frozen parameter is not left behind",
            """
def left_behind(model, optimizer):
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    return [name for name, p in model.named_parameters() if id(p) not in held]
""",
        ),
    ],
    "8.2": [
        (
            "the tied ones are written twice",
            """
def shrink(state_dict):
    return {key: tensor.clone() for key, tensor in state_dict.items()}
""",
        ),
        (
            "a storage is too large: ['rows', 'same rows']",
            """
def shrink(state_dict):
    return {key: tensor.contiguous() for key, tensor in state_dict.items()}
""",
        ),
        (
            "the expanded tensor was written in full",
            """
def shrink(state_dict):
    return {k: t.clone() if t.untyped_storage().nbytes() != t.nbytes else t for k, t in state_dict.items()}
""",
        ),
        (
            "the tied ones are written twice",
            """
def shrink(state_dict):
    return {k: t.clone() if t.untyped_storage().nbytes() > 4 * t.numel() else t for k, t in state_dict.items()}
""",
        ),
        (
            "the given dict must stay as it is",
            """
def shrink(state_dict):
    for key, tensor in state_dict.items():
        if tensor.untyped_storage().nbytes() > tensor.nbytes:
            state_dict[key] = tensor.clone()
    return state_dict
""",
        ),
        (
            "a slice under two names is written twice",
            """
def shrink(state_dict):
    return {k: t.clone() if t.untyped_storage().nbytes() > t.nbytes else t for k, t in state_dict.items()}
""",
        ),
    ],
    "8.3": [
        (
            "another base must raise ValueError",
            """
def load_adapted(base_path, adapter_path):
    base = fc_model.Network(784, 10, [512, 256, 128])
    base.load_state_dict(load_file(base_path))
    network = with_adapter(base)
    network.load_state_dict(torch.load(adapter_path)["weights"], strict=False)
    return network
""",
        ),
        (
            "a key without a place must raise ValueError",
            """
def load_adapted(base_path, adapter_path):
    adapter = torch.load(adapter_path)
    if adapter["base"] != fingerprint(base_path):
        raise ValueError("another base")
    base = fc_model.Network(784, 10, [512, 256, 128])
    base.load_state_dict(load_file(base_path))
    network = with_adapter(base)
    network.load_state_dict(adapter["weights"], strict=False)
    return network
""",
        ),
        (
            "a missing parameter must raise ValueError",
            """
def load_adapted(base_path, adapter_path):
    adapter = torch.load(adapter_path)
    if adapter["base"] != fingerprint(base_path):
        raise ValueError("another base")
    base = fc_model.Network(784, 10, [512, 256, 128])
    base.load_state_dict(load_file(base_path))
    network = with_adapter(base)
    if network.load_state_dict(adapter["weights"], strict=False).unexpected_keys:
        raise ValueError("unexpected keys")
    return network
""",
        ),
        (
            "a parameter of another name must raise ValueError",
            """
def load_adapted(base_path, adapter_path):
    adapter = torch.load(adapter_path)
    if adapter["base"] != fingerprint(base_path):
        raise ValueError("another base")
    base = fc_model.Network(784, 10, [512, 256, 128])
    base.load_state_dict(load_file(base_path))
    network = with_adapter(base)
    if len(adapter["weights"]) != len(trainable(network)):
        raise ValueError("another number of keys")
    network.load_state_dict(adapter["weights"], strict=False)
    return network
""",
        ),
        (
            "read the base from its file",
            """
def load_adapted(base_path, adapter_path):
    adapter, network = torch.load(adapter_path), with_adapter(net)
    if adapter["base"] != fingerprint(base_path):
        raise ValueError("another base")
    network.load_state_dict(adapter["weights"], strict=False)
    return network
""",
        ),
    ],
    "8.4": [
        (
            "a key was loaded from a file that the index does not name for it",
            """
def load_sharded(model, folder):
    for path in sorted(folder.glob("*.safetensors")):
        model.load_state_dict(load_file(path), strict=False, assign=True)
    if any(tensor.is_meta for tensor in model.state_dict().values()):
        raise ValueError("a tensor is missing")
""",
        ),
        (
            "a key was loaded from a file that the index does not name for it",
            """
def load_sharded(model, folder):
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    for name in set(index["weight_map"].values()):
        model.load_state_dict(load_file(folder / name), strict=False, assign=True)
    if any(tensor.is_meta for tensor in model.state_dict().values()):
        raise ValueError("a tensor is missing")
""",
        ),
        (
            "ValueError not raised : 0.output.bias is in no file",
            """
def load_sharded(model, folder):
    weight_map = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    for name in set(weight_map.values()):
        shard = {key: t for key, t in load_file(folder / name).items() if weight_map.get(key) == name}
        model.load_state_dict(shard, strict=False, assign=True)
""",
        ),
        (
            "ValueError not raised : 0.output.bias is in no file",
            """
def load_sharded(model, folder):
    weight_map = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    if model.state_dict().keys() - weight_map.keys():
        raise ValueError("the index lacks a key")
    model.to_empty(device="cpu")
    for name in set(weight_map.values()):
        shard = {key: t for key, t in load_file(folder / name).items() if weight_map.get(key) == name}
        model.load_state_dict(shard, strict=False)
""",
        ),
        (
            "weights or buffers are still on meta",
            """
def load_sharded(model, folder):
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    for name in set(index["weight_map"].values()):
        model.load_state_dict(load_file(folder / name), strict=False)
""",
        ),
        (
            "ValueError not raised : 1.running_var is in no file",
            """
def load_sharded(model, folder):
    weight_map = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    for name in sorted(set(weight_map.values())):
        shard = {key: t for key, t in load_file(folder / name).items() if weight_map.get(key) == name}
        model.load_state_dict(shard, strict=False, assign=True)
    if any(parameter.is_meta for parameter in model.parameters()):
        raise ValueError("a parameter is in no file")
""",
        ),
    ],
    "9.1": [
        (
            "row 5 of 10 on 4 ranks: 2, it is 1",
            """
def owner(row, rows, ranks):
    return row * ranks // rows
""",
        ),
        (
            "row 2 of 10 on 4 ranks: 1, it is 0",
            """
def owner(row, rows, ranks):
    return row // max(1, rows // ranks)
""",
        ),
        (
            "row 1 of 10 on 2 ranks: 1, it is 0",
            """
def owner(row, rows, ranks):
    return row % ranks
""",
        ),
        (
            "row 8 of 10 on 4 ranks: 3, it is 2",
            """
def owner(row, rows, ranks):
    few, more = divmod(rows, ranks)
    if row < more * (few + 1):
        return row // (few + 1)
    return more + (row - more * (few + 1)) // few
""",
        ),
        (
            "by arithmetic alone: it must do for 10**15 rows, too",
            """
def owner(row, rows, ranks):
    pieces = torch.arange(rows).chunk(ranks)
    return next(rank for rank, piece in enumerate(pieces) if row in piece)
""",
        ),
    ],
    "9.2": [
        (
            "the dtype is another one",
            """
def read_tensor(step, name):
    tensor = torch.empty(dcp.FileSystemReader(step).read_metadata().state_dict_metadata[name].size)
    dcp.load({name: tensor}, checkpoint_id=step)
    return tensor
""",
        ),
        (
            "it fails where all other tensors are erased: it must read no other",
            """
def read_tensor(step, name):
    dcp_to_torch_save(step, folder / "whole.pth")
    value = torch.load(folder / "whole.pth")
    parts = name.split(".", 1)
    return value[parts[0]] if len(parts) == 1 else value[parts[0]][parts[1]]
""",
        ),
        (
            "it has other numbers",
            """
def read_tensor(step, name):
    metadata = dcp.FileSystemReader(step).read_metadata()
    place = next(p for i, p in metadata.storage_data.items() if i.fqn == name)
    with open(step / place.relative_path, "rb") as file:
        file.seek(place.offset)
        (folder / "part.pth").write_bytes(file.read(place.length))
    return torch.load(folder / "part.pth")
""",
        ),
    ],
    "9.3": [
        (
            "the last byte of __0_0.distcp is missing",
            """
def is_whole(step):
    if not (step / ".metadata").exists():
        return False
    places = dcp.FileSystemReader(step).read_metadata().storage_data.values()
    return all((step / each.relative_path).exists() for each in places)
""",
        ),
        (
            "FileNotFoundError: …",
            """
def is_whole(step):
    places = dcp.FileSystemReader(step).read_metadata().storage_data.values()
    sizes = {path.name: path.stat().st_size for path in step.iterdir()}
    return all(sizes.get(each.relative_path, 0) >= each.offset + each.length for each in places)
""",
        ),
        (
            "a file that DCP does not know does no harm",
            """
def is_whole(step):
    if not (step / ".metadata").exists():
        return False
    ends = {}
    for each in dcp.FileSystemReader(step).read_metadata().storage_data.values():
        ends[each.relative_path] = max(ends.get(each.relative_path, 0), each.offset + each.length)
    return ends == {path.name: path.stat().st_size for path in step.iterdir() if path.name != ".metadata"}
""",
        ),
    ],
    "9.4": [
        (
            "on 2 ranks rank 0 holds 1968 bytes, says .metadata",
            """
def fullest(shapes, ranks, bytes_a_number):
    return -(-sum(torch.Size(shape).numel() for shape in shapes.values()) // ranks) * bytes_a_number
""",
        ),
        (
            "one rank holds all 311 numbers",
            """
def fullest(shapes, ranks, bytes_a_number):
    return sum(-(-shape[0] // ranks) for shape in shapes.values()) * bytes_a_number
""",
        ),
        (
            "a tensor may have more than two dimensions",
            """
def fullest(shapes, ranks, bytes_a_number):
    return sum(-(-shape[0] // ranks) * (*shape, 1)[1] for shape in shapes.values()) * bytes_a_number
""",
        ),
    ],
    "10.1": [
        (
            "B: do the unexpected keys look like those of weights?",
            'cure = {"A": "rename", "B": "rename", "C": "deepen", "D": "unwrap"}',
        ),
        (
            "C: is anything missing there?",
            'cure = {"A": "rename", "B": "unpack", "C": "unwrap", "D": "unwrap"}',
        ),
        (
            "D: what stands before each of the unexpected keys?",
            'cure = {"A": "rename", "B": "unpack", "C": "deepen", "D": "rename"}',
        ),
        (
            "A: what do the missing and the unexpected keys have in common, and what not?",
            'cure = {"A": "unwrap", "B": "unpack", "C": "deepen", "D": "unwrap"}',
        ),
    ],
    "10.2": [
        (
            "lost: ['mode'], found: nothing",
            """
def lost(saved, loaded):
    found = set() if helper.same_weights(saved, loaded) else {"numbers"}
    if str(saved) != str(loaded):
        found.add("settings")
    if [p.requires_grad for p in saved.parameters()] != [p.requires_grad for p in loaded.parameters()]:
        found.add("frozen")
    if saved.training != loaded.training:
        found.add("mode")
    return found
""",
        ),
        (
            "lost: ['numbers'], found: nothing",
            """
def lost(saved, loaded):
    same = all(torch.equal(a, b) for a, b in zip(saved.parameters(), loaded.parameters()))
    found = set() if same else {"numbers"}
    if str(saved) != str(loaded):
        found.add("settings")
    if [p.requires_grad for p in saved.parameters()] != [p.requires_grad for p in loaded.parameters()]:
        found.add("frozen")
    if [m.training for m in saved.modules()] != [m.training for m in loaded.modules()]:
        found.add("mode")
    return found
""",
        ),
        (
            "lost: ['numbers', 'settings'], found: ['numbers']",
            """
def lost(saved, loaded):
    if not helper.same_weights(saved, loaded):
        return {"numbers"}
    if str(saved) != str(loaded):
        return {"settings"}
    if [p.requires_grad for p in saved.parameters()] != [p.requires_grad for p in loaded.parameters()]:
        return {"frozen"}
    if [m.training for m in saved.modules()] != [m.training for m in loaded.modules()]:
        return {"mode"}
    return set()
""",
        ),
        (
            "lost: ['mode'], found: nothing",
            """
def lost(saved, loaded):
    found = set() if helper.same_weights(saved, loaded) else {"numbers"}
    if str(saved) != str(loaded):
        found.add("settings")
    if [p.requires_grad for p in saved.parameters()] != [p.requires_grad for p in loaded.parameters()]:
        found.add("frozen")
    parts = [[one.training, *[m.training for m in one.children()]] for one in (saved, loaded)]
    if parts[0] != parts[1]:
        found.add("mode")
    return found
""",
        ),
        (
            "lost: ['frozen'], found: nothing",
            """
def lost(saved, loaded):
    found = set() if helper.same_weights(saved, loaded) else {"numbers"}
    if str(saved) != str(loaded):
        found.add("settings")
    if sum(p.requires_grad for p in saved.parameters()) != sum(p.requires_grad for p in loaded.parameters()):
        found.add("frozen")
    if [m.training for m in saved.modules()] != [m.training for m in loaded.modules()]:
        found.add("mode")
    return found
""",
        ),
        (
            "lost: ['settings'], found: nothing",
            """
def lost(saved, loaded):
    found = set() if helper.same_weights(saved, loaded) else {"numbers"}
    if saved[2].p != loaded[2].p:
        found.add("settings")
    if [p.requires_grad for p in saved.parameters()] != [p.requires_grad for p in loaded.parameters()]:
        found.add("frozen")
    if [m.training for m in saved.modules()] != [m.training for m in loaded.modules()]:
        found.add("mode")
    return found
""",
        ),
        (
            "lost returns a set; the empty one is set()",
            """
def lost(saved, loaded):
    return [] if helper.same_weights(saved, loaded) else ["numbers"]
""",
        ),
    ],
    "10.3": [
        (
            "it does not fit: 8 keys missing, 8 unexpected",
            """
healed = torch.load(folder / "patient.pt", weights_only=False)
healed["loss"] = float(healed["loss"])
""",
        ),
        (
            "its answers are wrong: which layers have the same shapes?",
            """
healed = torch.load(folder / "patient.pt", weights_only=False)
healed["loss"] = float(healed["loss"])
healed["state_dict"] = {key.removeprefix("module."): tensor for key, tensor in healed["state_dict"].items()}
""",
        ),
        (
            "the loss must survive",
            """
healed = torch.load(folder / "patient.pt", weights_only=False)
del healed["loss"]
healed["state_dict"] = {key.removeprefix("module."): tensor for key, tensor in healed["state_dict"].items()}
""",
        ),
        (
            "a plain torch.load still refuses it: which value is no plain one?",
            """
healed = torch.load(folder / "patient.pt", weights_only=False)
scalar = type(healed["loss"]).__reduce__(healed["loss"])[0]
torch.serialization.add_safe_globals([scalar, np.dtype, np.dtypes.Float64DType])
plain = {key.removeprefix("module."): tensor for key, tensor in healed["state_dict"].items()}
healed["state_dict"] = dict(plain)
for kind in ("weight", "bias"):
    healed["state_dict"][f"hidden_layers.1.{kind}"] = plain[f"hidden_layers.2.{kind}"]
    healed["state_dict"][f"hidden_layers.2.{kind}"] = plain[f"hidden_layers.1.{kind}"]
""",
        ),
    ],
}

# Right answers of another form than the solution: {exercise: [code, ...]}.
RIGHT_ANSWERS = {
    "0.1": [
        'answer = " sandal "',
        'answer = "SANDAL."',
    ],
    "0.3": [
        'torch.save({"weights": dict(network.state_dict()), "epochs": 2.0, '
        '"sizes": [784, 10]}, folder / "checkpoint.pth")',
        """
checkpoint = {}
checkpoint["state_dict"], checkpoint["trained"] = network.state_dict(), 2
torch.save(checkpoint, str(folder / "checkpoint.pth"))
""",
    ],
    "1.1": [
        """
def load_net(path):
    model = Net().eval()
    report = model.load_state_dict(torch.load(path))
    report.missing_keys.clear()
    return model
""",
    ],
    "1.2": [
        '''
rescue = """
import __main__
import curve_net
import torch

__main__.Net = curve_net.Net
model = torch.load("lost.pt", weights_only=False)
torch.save({key: value.clone() for key, value in model.state_dict().items()}, "rescued.pth")
print("done")
"""
''',
        '''
rescue = """
import torch
from torch import nn

class Net(nn.Module):
    pass

model = torch.load("lost.pt", weights_only=False)
torch.save(model.state_dict(), "rescued.pth")
"""
''',
    ],
    "1.3": [
        """
import copy


def predict(model, x):
    return copy.deepcopy(model).eval()(x)
""",
        """
def predict(model, x):
    mode = model.training
    try:
        with torch.no_grad():
            return model.eval()(x)
    finally:
        if mode:
            model.train()
""",
    ],
    "2.1": [
        """
class Rebuilt(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Linear(16, 1000, bias=False)
        self.layers = nn.ModuleDict({"0": nn.Linear(16, 32), "2": nn.Linear(32, 5)})
""",
        """
class Rebuilt(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(16, 32), nn.Dropout(0.5), nn.Linear(32, 5)])
        self.words = nn.Embedding(1000, 16, padding_idx=0)
""",
    ],
    "2.2": [
        """
class Hidden(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, x):
        return self.layers(x)
""",
        """
class Hidden(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(784, 32), nn.Linear(32, 10)

    def forward(self, x):
        return self.last(self.first(x).clamp(min=0))
""",
        """
class Hidden(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = {"first": nn.Linear(784, 32), "last": nn.Linear(32, 10)}
        for name, layer in self.layers.items():
            self.add_module(name, layer)

    def forward(self, x):
        return self.layers["last"](torch.relu(self.layers["first"](x)))
""",
    ],
    "2.3": [
        """
def fit_and_keep_best(network, optimizer, x, y, val_x, val_y):
    best_loss, best_weights = float("inf"), None
    for step in range(50):
        optimizer.zero_grad()
        mse(network(x), y).backward()
        optimizer.step()
        val_loss = mse(network(val_x), val_y).item()
        if val_loss < best_loss:
            best_loss = val_loss
            best_weights = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    return best_loss, best_weights
""",
        """
def fit_and_keep_best(network, optimizer, x, y, val_x, val_y):
    best_loss = float("inf")
    for step in range(50):
        optimizer.zero_grad()
        mse(network(x), y).backward()
        optimizer.step()
        val_loss = mse(network(val_x), val_y).item()
        if val_loss < best_loss:
            best_loss = val_loss
            torch.save(network.state_dict(), folder / "best.pth")
    return best_loss, torch.load(folder / "best.pth")
""",
    ],
    "3.1": [
        "hidden_layers = (512, 300, 128)",
    ],
    "3.2": [
        """
def load_or_refuse(model, state_dict):
    if checkpoints.diff(model, state_dict):
        raise RuntimeError("it does not fit")
    model.load_state_dict(state_dict)
""",
        """
def load_or_refuse(model, state_dict):
    before = copy.deepcopy(model.state_dict())
    try:
        model.load_state_dict(state_dict)
    except RuntimeError:
        model.load_state_dict(before)
        raise
""",
        """
def load_or_refuse(model, state_dict):
    own = model.state_dict()
    if own.keys() != state_dict.keys():
        raise RuntimeError("other keys")
    for key in own:
        if own[key].shape != state_dict[key].shape:
            raise RuntimeError(f"{key} has another shape")
    model.load_state_dict(state_dict)
""",
    ],
    "3.3": [
        """
def load_body(model, state_dict):
    body = {}
    for key in state_dict:
        if key.startswith("hidden_layers."):
            body[key.removeprefix("hidden_layers.")] = state_dict[key]
    model.hidden_layers.load_state_dict(body)
""",
        """
def load_body(model, state_dict):
    body = {key: state_dict[key] for key in state_dict if key.split(".")[0] == "hidden_layers"}
    own = {key for key in model.state_dict() if key.startswith("hidden_layers.")}
    if own != body.keys():
        raise RuntimeError("other keys")
    model.load_state_dict(model.state_dict() | body)
""",
    ],
    "4.1": [
        """
def save_words(model, path):
    saved = {"arguments": [*model.embed.weight.shape, len(model.linear.bias), model.pad_idx]}
    torch.save(saved | {"state_dict": model.state_dict()}, path)


def load_words(path):
    saved = torch.load(path)
    model = fc_model.WordAVGModel(*saved["arguments"])
    model.load_state_dict(saved["state_dict"])
    return model.eval()
""",
        """
def save_words(model, path):
    torch.save({"pad_idx": model.pad_idx, "state_dict": model.state_dict()}, path)


def load_words(path):
    saved = torch.load(path)
    weights = saved["state_dict"]
    vocab_size, embedding_size = weights["embed.weight"].shape
    output_size = len(weights["linear.bias"])
    model = fc_model.WordAVGModel(vocab_size, embedding_size, output_size, saved["pad_idx"])
    model.load_state_dict(weights)
    return model.eval()
""",
        """
import checkpoints


def save_words(model, path):
    sizes = [*model.embed.weight.shape, model.linear.out_features, model.embed.padding_idx]
    checkpoints.save({"sizes": sizes, "model": model}, path)


def load_words(path):
    saved = checkpoints.load(path)
    model = fc_model.WordAVGModel(*saved["sizes"])
    checkpoints.restore(saved, {"model": model})
    return model.eval()
""",
    ],
    "4.2": [
        """
def train_until(epochs, filepath):
    if filepath.exists():
        done, model, optimizer, scheduler = load_run(filepath)
    else:
        torch.manual_seed(SEED)
        done = 0
        model = load_checkpoint(folder / "checkpoint.pth").train()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, halve)
    while done < epochs:
        train_epoch(model, optimizer)
        scheduler.step()
        save_run(filepath, done, model, optimizer, scheduler)
        done += 1
    return model
""",
    ],
    "4.3": [
        """
def resume_scaled(filepath, factor):
    first, model, optimizer, scheduler = load_run(filepath)
    saved = torch.load(filepath)
    saved["optimizer"]["param_groups"][0]["lr"] *= factor
    saved["scheduler"]["base_lrs"][0] *= factor
    optimizer.load_state_dict(saved["optimizer"])
    scheduler.load_state_dict(saved["scheduler"])
    return first, model, optimizer, scheduler
""",
        """
def resume_scaled(filepath, factor):
    first, model, optimizer, scheduler = load_run(filepath)
    for group in optimizer.param_groups:
        group["initial_lr"] *= factor
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, halve, last_epoch=first - 1)
    return first, model, optimizer, scheduler
""",
        """
def resume_scaled(filepath, factor):
    saved = torch.load(filepath)
    saved["optimizer"]["param_groups"][0]["lr"] *= factor
    saved["scheduler"]["base_lrs"] = [rate * factor for rate in saved["scheduler"]["base_lrs"]]
    scaled = filepath.with_name("scaled.pth")
    torch.save(saved, scaled)
    return load_run(scaled)
""",
    ],
    "5.1": [
        """
def layers(model, path=""):
    found = {path: model} if isinstance(model, nn.Linear) or isinstance(model, nn.Conv2d) else {}
    for name, child in model.named_children():
        found |= layers(child, f"{path}.{name}" if path else name)
    return found
""",
    ],
    "5.2": [
        """
def snapshot(model):
    return {name: tensor.numpy() for name, tensor in copy.deepcopy(model.state_dict()).items()}
""",
        """
def snapshot(model):
    arrays = {name: buffer.numpy().copy() for name, buffer in model.named_buffers()}
    for name, parameter in model.named_parameters():
        arrays[name] = parameter.detach().cpu().numpy().copy()
    return arrays
""",
    ],
    "5.3": [
        """
def train_only(model, name):
    for path, module in model.named_modules():
        module.train(f"{path}.".startswith(f"{name}."))
    for path, parameter in model.named_parameters():
        parameter.requires_grad_(path.startswith(f"{name}."))
""",
    ],
    "6.1": [
        """
def mean_loss(net, loader):
    xs, ys = (torch.cat(parts) for parts in zip(*loader))
    return float(loss_func(net(xs), ys))
""",
        """
def mean_loss(net, loader):
    with torch.no_grad():
        squares = torch.cat([(net(xs) - ys).pow(2) for xs, ys in loader])
    return squares.mean().item()
""",
    ],
    "6.2": [
        """
def order_of(generator):
    return generator.get_state()


def continued(dataset, kept):
    generator = torch.Generator().set_state(kept)
    sampler = torch.utils.data.RandomSampler(dataset, generator=generator)
    return DataLoader(dataset, batch_size=32, sampler=sampler, generator=generator)
""",
    ],
    "6.3": [
        """
def collate(samples):
    pairs = [pair for pair in samples if pair is not None]
    words = torch.zeros(len(pairs), max(len(sentence) for sentence, _ in pairs), dtype=torch.int64)
    for row, (sentence, _) in zip(words, pairs):
        row[: len(sentence)] = sentence
    return words, torch.tensor([label for _, label in pairs])
""",
        """
def collate(samples):
    pairs = [pair for pair in samples if pair is not None]
    longest = max(len(sentence) for sentence, _ in pairs)
    rows = [sentence.tolist() + [0] * (longest - len(sentence)) for sentence, _ in pairs]
    return [torch.tensor(rows), torch.tensor([float(label) for _, label in pairs])]
""",
    ],
    "7.1": [
        """
def to_plain(thing):
    if isinstance(thing, (np.number, np.bool_)):
        return thing.item()
    if isinstance(thing, np.ndarray):
        return torch.as_tensor(thing)
    if isinstance(thing, Path):
        return str(thing)
    if isinstance(thing, Namespace):
        thing = vars(thing)
    if isinstance(thing, dict):
        return {key: to_plain(value) for key, value in thing.items()}
    return [to_plain(value) for value in thing] if isinstance(thing, list) else thing
""",
    ],
    "7.2": [
        """
def to_safetensors(checkpoint, path):
    rest = {key: json.dumps(value) for key, value in checkpoint.items() if key != "state_dict"}
    save_file(checkpoint["state_dict"], path, metadata=rest)


def from_safetensors(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    rest = {key: json.loads(value) for key, value in header["__metadata__"].items()}
    return rest | {"state_dict": load_file(path)}
""",
    ],
    "8.1": [
        """
def left_behind(model, optimizer):
    held = {parameter for group in optimizer.param_groups for parameter in group["params"]}
    return [name for name, p in model.named_parameters() if p.requires_grad and p not in held]
""",
    ],
    "8.2": [
        """
def shrink(state_dict):
    small = {}
    for key, tensor in state_dict.items():
        twins = [small[name] for name in small if state_dict[name].is_set_to(tensor)]
        too_large = tensor.untyped_storage().nbytes() > tensor.nbytes
        small[key] = twins[0] if twins else tensor.clone() if too_large else tensor
    return small
""",
    ],
    "8.4": [
        """
def load_sharded(model, folder):
    weight_map = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    state = {}
    for name in set(weight_map.values()):
        with safe_open(folder / name, "pt") as file:
            for key in file.keys():
                if weight_map.get(key) == name:
                    state[key] = file.get_tensor(key)
    if model.state_dict().keys() - state.keys():
        raise ValueError("a key is in no file")
    model.load_state_dict(state, assign=True)
""",
    ],
    "9.1": [
        """
def owner(row, rows, ranks):
    return row // ((rows + ranks - 1) // ranks)
""",
    ],
    "9.3": [
        """
def is_whole(step):
    try:
        places = dcp.FileSystemReader(step).read_metadata().storage_data.values()
        return all((step / p.relative_path).stat().st_size >= p.offset + p.length for p in places)
    except FileNotFoundError:
        return False
""",
    ],
    "9.4": [
        """
def fullest(shapes, ranks, bytes_a_number):
    pieces = [torch.empty(shape, device="meta").chunk(ranks)[0] for shape in shapes.values()]
    return sum(piece.numel() for piece in pieces) * bytes_a_number
""",
    ],
    "10.3": [
        """
patient = torch.load(folder / "patient.pt", weights_only=False)
weights = {key.removeprefix("module."): tensor for key, tensor in patient["state_dict"].items()}
for kind in ("weight", "bias"):
    one, other = f"hidden_layers.1.{kind}", f"hidden_layers.2.{kind}"
    weights[one], weights[other] = weights[other], weights[one]
healed = patient | {"state_dict": weights, "loss": patient["loss"].item()}
""",
    ],
}

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
            """
choice = {"A": "state_dict", "B": "state_dict", "C": "safetensors", "D": "exported program", "E": "state_dict"}
""",
        ),
        (
            "C: do these people know you?",
            """
choice = {"A": "checkpoint", "B": "state_dict", "C": "state_dict", "D": "exported program", "E": "state_dict"}
""",
        ),
        (
            "D: what does the customer not have?",
            """
choice = {"A": "checkpoint", "B": "state_dict", "C": "safetensors", "D": "safetensors", "E": "state_dict"}
""",
        ),
        (
            "E: who will load it, and with which code?",
            """
choice = {"A": "checkpoint", "B": "state_dict", "C": "safetensors", "D": "exported program", "E": "whole model"}
""",
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
            "WordAVGModel(100, 8, 1, 3) comes back with the same weights, and gives a different answer",
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
            "These paths should not be there: ['', '1', '1.0', '1.1']. They are neither nn.Linear nor nn.Conv2d",
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
            "Missing for load_state_dict: ['1.num_batches_tracked', '1.running_mean', '1.running_var']",
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
            "Only head should change, but these do: ['body.0.weight', 'body.0.bias', "
            "'body.1.weight', 'body.1.bias', …",
            """
def train_only(model, name):
    model.eval()
    model.get_submodule(name).train()
""",
        ),
        (
            "Only head should change, but these do: ['body.1.running_mean', 'body.1.running_var', …",
            """
def train_only(model, name):
    model.requires_grad_(False)
    model.get_submodule(name).requires_grad_(True)
""",
        ),
        (
            "These should change, and do not: ['head.1.running_mean', 'head.1.running_var', "
            "'head.1.num_batches_tracked']",
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
            "With the factor 0.5, the next rates are 0.550, 0.640, 0.730.",
            """
def resume_warmup(path, factor):
    optimizer = torch.optim.SGD(nn.Linear(2, 1).parameters(), lr=1.0)
    scheduler = LinearLR(optimizer, start_factor=0.1, total_iters=10)
    optimizer.param_groups[0]["lr"] *= factor
    load_run(path, {"optimizer": optimizer, "scheduler": scheduler})
    return optimizer, scheduler
""",
        ),
        (
            "With the factor 0.5, the next rates are 0.550, 0.640, 0.730.",
            """
def resume_warmup(path, factor):
    optimizer = torch.optim.SGD(nn.Linear(2, 1).parameters(), lr=1.0)
    scheduler = LinearLR(optimizer, start_factor=0.1, total_iters=10)
    load_run(path, {"optimizer": optimizer, "scheduler": scheduler})
    scheduler.base_lrs = [rate * factor for rate in scheduler.base_lrs]
    return optimizer, scheduler
""",
        ),
        (
            "With the factor 1.0, the next rates are 0.055, 0.064, 0.073.",
            """
def resume_warmup(path, factor):
    optimizer = torch.optim.SGD(nn.Linear(2, 1).parameters(), lr=1.0)
    states = torch.load(path)["pieces"]
    optimizer.load_state_dict(states["optimizer"])
    scheduler = LinearLR(optimizer, start_factor=0.1, total_iters=10)
    scheduler.load_state_dict(states["scheduler"])
    optimizer.param_groups[0]["lr"] *= factor
    return optimizer, scheduler
""",
        ),
        (
            "With the factor 1.0, the next rates are 0.100, 0.116, 0.133.",
            """
def resume_warmup(path, factor):
    optimizer = torch.optim.SGD(nn.Linear(2, 1).parameters(), lr=factor)
    scheduler = LinearLR(optimizer, start_factor=0.1, total_iters=10)
    scheduler.load_state_dict(torch.load(path)["pieces"]["scheduler"])
    return optimizer, scheduler
""",
        ),
    ],
    "7.2": [
        (
            "The rest of the epoch has other batches.",
            """
class PlacedLoader:
    def __init__(self, loader):
        self.loader, self.loaded = loader, False

    def state_dict(self):
        return {"epoch_start": self.epoch_start, "done": self.done}

    def load_state_dict(self, state):
        self.epoch_start, self.done = state["epoch_start"], state["done"]
        self.loaded = True

    def __iter__(self):
        if not self.loaded:
            self.epoch_start, self.done = torch.get_rng_state(), 0
        batches = iter(self.loader)
        for _ in range(self.done):
            next(batches)
        self.loaded = False
        for batch in batches:
            self.done += 1
            yield batch
""",
        ),
        (
            "The random numbers that the loop draws are different.",
            """
class PlacedLoader:
    def __init__(self, loader):
        self.loader, self.loaded = loader, False

    def state_dict(self):
        return {"epoch_start": self.epoch_start, "done": self.done}

    def load_state_dict(self, state):
        self.epoch_start, self.done = state["epoch_start"], state["done"]
        self.loaded = True

    def __iter__(self):
        if self.loaded:
            torch.set_rng_state(self.epoch_start)
        else:
            self.epoch_start, self.done = torch.get_rng_state(), 0
        self.loaded = False
        batches = iter(self.loader)
        for _ in range(self.done):
            next(batches)
        for batch in batches:
            self.done += 1
            yield batch
""",
        ),
        (
            "An epoch that is stopped twice ends differently.",
            """
class PlacedLoader:
    def __init__(self, loader):
        self.loader, self.skip = loader, 0

    def state_dict(self):
        return {"epoch_start": self.epoch_start, "done": self.done}

    def load_state_dict(self, state):
        self.epoch_start, self.skip = state["epoch_start"], state["done"]

    def __iter__(self):
        found = torch.get_rng_state()
        if self.skip:
            torch.set_rng_state(self.epoch_start)
        else:
            self.epoch_start = found
        batches = iter(self.loader)
        for _ in range(self.skip):
            next(batches)
        if self.skip:
            torch.set_rng_state(found)
        self.done, self.skip = 0, 0
        for batch in batches:
            self.done += 1
            yield batch
""",
        ),
        (
            "The epoch after the resumed one is different.",
            """
class PlacedLoader:
    def __init__(self, loader):
        self.loader, self.done, self.loaded = loader, 0, False

    def state_dict(self):
        return {"epoch_start": self.epoch_start, "done": self.done}

    def load_state_dict(self, state):
        self.epoch_start, self.done = state["epoch_start"], state["done"]
        self.loaded = True

    def __iter__(self):
        found = torch.get_rng_state()
        if self.loaded:
            torch.set_rng_state(self.epoch_start)
        else:
            self.epoch_start, self.done = found, 0
        batches = iter(self.loader)
        for _ in range(self.done):
            next(batches)
        if self.loaded:
            torch.set_rng_state(found)
        for batch in batches:
            self.done += 1
            yield batch
""",
        ),
    ],
    "7.3": [
        (
            (
                "These keys are only in the file, or only in the network: hidden_layers.0.bias, "
                "hidden_layers.0.weight, module.hidden_layers.0.bias, module.hidden_layers.0.weight, "
                "module.output.bias, module.output.weight, n_averaged, output.bias, output.weight."
            ),
            """
def publish(run_path, path):
    torch.save(torch.load(run_path)["pieces"]["average"], path)
""",
        ),
        (
            "These keys are only in the file, or only in the network: n_averaged.",
            """
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present


def publish(run_path, path):
    weights = torch.load(run_path)["pieces"]["average"]
    consume_prefix_in_state_dict_if_present(weights, "module.")
    torch.save(weights, path)
""",
        ),
        (
            "The file holds the weights of the model, not those of the average.",
            """
def publish(run_path, path):
    average = AveragedModel(build()["model"])
    average.update_parameters(build()["model"])
    average.module.load_state_dict(torch.load(run_path)["pieces"]["model"])
    torch.save(average.module.state_dict(), path)
""",
        ),
        (
            "The weights are not those of the average.",
            """
def publish(run_path, path):
    pieces = build_averaged()
    pieces["model"].load_state_dict(torch.load(run_path)["pieces"]["model"])
    torch.save(pieces["average"].module.state_dict(), path)
""",
        ),
    ],
    "8.1": [
        (
            "path was opened for writing, and for a moment it is not complete",
            """
def save_history(history, path):
    with open(path, "w") as file:
        json.dump(history, file)
        file.flush()
        os.fsync(file.fileno())
""",
        ),
        (
            "the temporary file is in a different folder, which may be on a different disk",
            """
def save_history(history, path):
    import shutil
    import tempfile

    with tempfile.NamedTemporaryFile("w", delete=False) as file:
        json.dump(history, file)
        file.flush()
        os.fsync(file.fileno())
    shutil.move(file.name, path)
""",
        ),
        (
            "for a moment, no file has the name",
            """
def save_history(history, path):
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "w") as file:
        json.dump(history, file)
        file.flush()
        os.fsync(file.fileno())
    path.unlink(missing_ok=True)
    temporary.rename(path)
""",
        ),
        (
            "os.fsync finds 0 of 16 bytes: the rest is still in Python's memory",
            """
def save_history(history, path):
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "w") as file:
            json.dump(history, file)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
""",
        ),
        (
            "after a TypeError, the folder holds ['history.json', 'history.json.tmp']",
            """
def save_history(history, path):
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "w") as file:
        json.dump(history, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
""",
        ),
    ],
    "8.2": [
        (
            "last.pth is in your list",
            """
def best_files(folder, count):
    rates = {path: torch.load(path)["accuracy"] for path in folder.glob("*.pth")}
    finite = [path for path in rates if math.isfinite(rates[path])]
    return sorted(finite, key=rates.get, reverse=True)[:count]
""",
        ),
        (
            "epoch-4.pth is in your list, and its accuracy is inf",
            """
def best_files(folder, count):
    rates = {path: torch.load(path)["accuracy"] for path in folder.glob("epoch-*.pth")}
    numbers = [path for path in rates if not math.isnan(rates[path])]
    return sorted(numbers, key=rates.get, reverse=True)[:count]
""",
        ),
        (
            "place 1 goes to epoch-11.pth, which has the accuracy 0.4",
            """
def best_files(folder, count):
    rates = {path: torch.load(path)["accuracy"] for path in folder.glob("epoch-*.pth")}
    finite = [path for path in rates if math.isfinite(rates[path])]
    return sorted(finite, key=rates.get)[:count]
""",
        ),
        (
            "place 1 goes to epoch-10.pth, which has the accuracy 0.8",
            """
def best_files(folder, count):
    rates = {path: torch.load(path)["accuracy"] for path in folder.glob("epoch-*.pth")}
    finite = [path for path in rates if math.isfinite(rates[path])]
    return sorted(finite, key=lambda path: (-rates[path], path))[:count]
""",
        ),
    ],
    "8.3": [
        (
            "SIGTERM arrives in step 2, which is not finished",
            """
class Stop(Exception):
    pass


def train(do_step, steps, path):
    def handle(signum, frame):
        raise Stop

    former, done = signal.signal(signal.SIGTERM, handle), 0
    try:
        for step in range(steps):
            do_step(step)
            done += 1
    except Stop:
        done += 1
    finally:
        signal.signal(signal.SIGTERM, former)
    save_atomic({"done": done}, path)
    return done
""",
        ),
        (
            "an earlier SIGTERM stops a later call after 1 of 5 steps",
            """
flag = False


def handle(signum, frame):
    global flag
    flag = True


def train(do_step, steps, path):
    former, done = signal.signal(signal.SIGTERM, handle), 0
    try:
        for step in range(steps):
            do_step(step)
            done += 1
            if flag:
                break
    finally:
        signal.signal(signal.SIGTERM, former)
    save_atomic({"done": done}, path)
    return done
""",
        ),
        (
            "3 steps are finished; you save {'done': 2} and return 2",
            """
def train(do_step, steps, path):
    requests = []
    former = signal.signal(signal.SIGTERM, lambda signum, frame: requests.append(signum))
    try:
        for step in range(steps):
            do_step(step)
            if requests:
                break
    finally:
        signal.signal(signal.SIGTERM, former)
    save_atomic({"done": step}, path)
    return step
""",
        ),
        (
            "after an error in do_step, the former handler is not back",
            """
def train(do_step, steps, path):
    requests, done = [], 0
    former = signal.signal(signal.SIGTERM, lambda signum, frame: requests.append(signum))
    while done < steps and not requests:
        do_step(done)
        done += 1
    signal.signal(signal.SIGTERM, former)
    save_atomic({"done": done}, path)
    return done
""",
        ),
        (
            "do_step raises an error, and you save {'done': 0}",
            """
def train(do_step, steps, path):
    requests, done = [], 0
    former = signal.signal(signal.SIGTERM, lambda signum, frame: requests.append(signum))
    try:
        while done < steps and not requests:
            do_step(done)
            done += 1
    finally:
        signal.signal(signal.SIGTERM, former)
        save_atomic({"done": done}, path)
    return done
""",
        ),
    ],
    "9.1": [
        (
            "hostile.pth must raise ValueError, and gives UnpicklingError",
            """
def load_or_name(path):
    return torch.load(path, weights_only=True)
""",
        ),
        (
            "two.pth: the text of the error lacks datetime.datetime",
            """
def load_or_name(path):
    names = get_unsafe_globals_in_checkpoint(path)
    if names:
        raise ValueError(min(names))
    return torch.load(path)
""",
        ),
        (
            "hostile.pth: the text of the error lacks builtins.eval",
            """
def load_or_name(path):
    if get_unsafe_globals_in_checkpoint(path):
        raise ValueError(helper.error_of(lambda: torch.load(path)))
    return torch.load(path)
""",
        ),
        (
            "the stranger's text has run",
            """
def load_or_name(path):
    loaded = torch.load(path, weights_only=False)
    names = get_unsafe_globals_in_checkpoint(path)
    if names:
        raise ValueError(str(names))
    return loaded
""",
        ),
        (
            "hostile.pth must raise ValueError, and gives no error",
            """
def load_or_name(path):
    names = get_unsafe_globals_in_checkpoint(path)
    return names or torch.load(path)
""",
        ),
    ],
    "9.2": [
        (
            "the state_dict must stay an OrderedDict",
            """
def to_plain(thing):
    if isinstance(thing, np.generic):
        return thing.item()
    if isinstance(thing, np.ndarray):
        return torch.from_numpy(thing)
    if isinstance(thing, Path):
        return str(thing)
    if isinstance(thing, datetime):
        return thing.isoformat()
    if isinstance(thing, list):
        return [to_plain(value) for value in thing]
    if isinstance(thing, dict):
        return {key: to_plain(value) for key, value in thing.items()}
    return thing
""",
        ),
        (
            "torch.load would still refuse what is under these keys: rate, log",
            """
def to_plain(thing):
    if isinstance(thing, (int, float, str)):
        return thing
    if isinstance(thing, np.generic):
        return thing.item()
    if isinstance(thing, np.ndarray):
        return torch.from_numpy(thing)
    if isinstance(thing, Path):
        return str(thing)
    if isinstance(thing, datetime):
        return thing.isoformat()
    if isinstance(thing, list):
        return [to_plain(value) for value in thing]
    if isinstance(thing, dict):
        plain = copy.copy(thing)
        for key, value in thing.items():
            plain[key] = to_plain(value)
        return plain
    return thing
""",
        ),
        (
            "thing has changed",
            """
def to_plain(thing):
    if isinstance(thing, np.generic):
        return thing.item()
    if isinstance(thing, np.ndarray):
        return torch.from_numpy(thing)
    if isinstance(thing, Path):
        return str(thing)
    if isinstance(thing, datetime):
        return thing.isoformat()
    if isinstance(thing, list):
        return [to_plain(value) for value in thing]
    if isinstance(thing, dict):
        for key, value in thing.items():
            thing[key] = to_plain(value)
    return thing
""",
        ),
        (
            "the number under 'step' has a different type",
            """
def to_plain(thing):
    if isinstance(thing, np.generic):
        return float(thing)
    if isinstance(thing, np.ndarray):
        return torch.from_numpy(thing)
    if isinstance(thing, Path):
        return str(thing)
    if isinstance(thing, datetime):
        return thing.isoformat()
    if isinstance(thing, list):
        return [to_plain(value) for value in thing]
    if isinstance(thing, dict):
        plain = copy.copy(thing)
        for key, value in thing.items():
            plain[key] = to_plain(value)
        return plain
    return thing
""",
        ),
        (
            "the list under 'log' holds something else",
            """
import base64
import pickle


def to_plain(thing):
    plain = copy.copy(thing)
    for key in thing:
        if key != "weights":
            plain[key] = thing[key].item() if isinstance(thing[key], np.generic) else (
                base64.b64encode(pickle.dumps(thing[key])).decode())
    return plain
""",
        ),
    ],
    "9.3": [
        (
            "this state_dict is sound, and does not come back: transposed",
            """
def load_within(path):
    state_dict = torch.load(path, weights_only=True)
    for tensor in state_dict.values():
        if not tensor.is_contiguous():
            raise ValueError("not contiguous")
    return state_dict
""",
        ),
        (
            "this state_dict is sound, and does not come back: tied",
            """
def load_within(path):
    state_dict = torch.load(path, weights_only=True)
    total = sum(tensor.numel() * tensor.element_size() for tensor in state_dict.values())
    if total > path.stat().st_size:
        raise ValueError(f"{total} bytes")
    return state_dict
""",
        ),
        (
            "a tensor claims more bytes than the file has: double gets in",
            """
def load_within(path):
    state_dict = torch.load(path, weights_only=True)
    for tensor in state_dict.values():
        if tensor.numel() > path.stat().st_size:
            raise ValueError("too many numbers")
    return state_dict
""",
        ),
        (
            "a tensor claims more bytes than the file has: windows gets in",
            """
def load_within(path):
    state_dict = torch.load(path)
    for tensor in state_dict.values():
        if 0 in tensor.stride():
            raise ValueError("many numbers in one place")
    return state_dict
""",
        ),
        (
            "the program in hostile.pth has run",
            """
def load_within(path):
    state_dict = torch.load(path, weights_only=False)
    for key, tensor in state_dict.items():
        if torch.is_tensor(tensor) and tensor.nbytes > path.stat().st_size:
            raise ValueError(key)
    return state_dict
""",
        ),
    ],
    "10.1": [
        (
            "a stranger has signed the manifest: you return [], and raise no InvalidSignature",
            """
def check_folder(place, public_key):
    manifest = json.loads((place / "manifest.json").read_text())
    bad = []
    for name in manifest:
        if not (place / name).exists() or fingerprint(place / name) != manifest[name]:
            bad.append(name)
    return sorted(bad)
""",
        ),
        (
            "FileNotFoundError: [Errno 2] No such file or directory…",
            """
def check_folder(place, public_key):
    content = (place / "manifest.json").read_bytes()
    public_key.verify((place / "manifest.sig").read_bytes(), content)
    return sorted(changed_files(place))
""",
        ),
        (
            "a folder is as its author has signed it, but: you raise InvalidSignature",
            """
def check_folder(place, public_key):
    manifest = json.loads((place / "manifest.json").read_text())
    public_key.verify((place / "manifest.sig").read_bytes(), json.dumps(manifest).encode())
    return sorted(changed_files(place))
""",
        ),
        (
            "a stranger has signed the manifest: you return ['a.pth', 'b.pth', 'c.pth', 'd.pth'], "
            "and raise no InvalidSignature",
            """
def check_folder(place, public_key):
    manifest = json.loads((place / "manifest.json").read_text())
    with contextlib.suppress(InvalidSignature):
        content = (place / "manifest.json").read_bytes()
        public_key.verify((place / "manifest.sig").read_bytes(), content)
        bad = []
        for name in manifest:
            if not (place / name).exists() or fingerprint(place / name) != manifest[name]:
                bad.append(name)
        return sorted(bad)
    return sorted(manifest)
""",
        ),
        (
            "the manifest was replaced by two words: you raise JSONDecodeError, not InvalidSignature",
            """
def check_folder(place, public_key):
    content = (place / "manifest.json").read_bytes()
    manifest = json.loads(content)
    public_key.verify((place / "manifest.sig").read_bytes(), content)
    bad = []
    for name in manifest:
        if not (place / name).exists() or fingerprint(place / name) != manifest[name]:
            bad.append(name)
    return sorted(bad)
""",
        ),
    ],
    "10.2": [
        (
            "the numbers of 'weight' are not those of the file",
            """
def read_tensor(path, name):
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    entry = json.loads(content[8 : 8 + length])[name]
    start, end = entry["data_offsets"]
    numbers = bytearray(content[length + start : length + end])
    return torch.frombuffer(numbers, dtype=torch.float32).reshape(entry["shape"])
""",
        ),
        (
            "'weight' has the shape (4, 3), and you return (12,)",
            """
def read_tensor(path, name):
    content = path.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    start, end = json.loads(content[8:begin])[name]["data_offsets"]
    return torch.frombuffer(bytearray(content[begin + start : begin + end]), dtype=torch.float32)
""",
        ),
        (
            "load_file is not allowed here",
            """
def read_tensor(path, name):
    return load_file(path)[name]
""",
        ),
        (
            "the numbers of 'weight' are not those of the file",
            """
def read_tensor(path, name):
    content = path.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    shape = json.loads(content[8:begin])[name]["shape"]
    numbers = torch.frombuffer(bytearray(content[begin:]), dtype=torch.float32)
    return numbers[: torch.Size(shape).numel()].reshape(shape)
""",
        ),
    ],
    "10.3": [
        (
            "epoch was '3', and comes back as 3",
            """
def to_safetensors(checkpoint, path):
    metadata = {}
    for key, value in checkpoint.items():
        if key != "state_dict":
            metadata[key] = value if isinstance(value, str) else json.dumps(value)
    save_file(checkpoint["state_dict"], path, metadata=metadata)


def from_safetensors(path):
    checkpoint = {"state_dict": load_file(path)}
    with safe_open(path, "pt") as file:
        for key, text in (file.metadata() or {}).items():
            checkpoint[key] = text
            with contextlib.suppress(ValueError):
                checkpoint[key] = json.loads(text)
    return checkpoint
""",
        ),
        (
            "to_safetensors has changed the dictionary that it was given",
            """
def to_safetensors(checkpoint, path):
    weights = checkpoint.pop("state_dict")
    save_file(weights, path, metadata={"rest": json.dumps(checkpoint)})


def from_safetensors(path):
    with safe_open(path, "pt") as file:
        rest = json.loads(file.metadata()["rest"])
    return {**rest, "state_dict": load_file(path)}
""",
        ),
        (
            "FileNotFoundError: [Errno 2] No such file or directory…",
            """
def to_safetensors(checkpoint, path):
    rest = {key: value for key, value in checkpoint.items() if key != "state_dict"}
    path.with_suffix(".json").write_text(json.dumps(rest))
    save_file(checkpoint["state_dict"], path)


def from_safetensors(path):
    rest = json.loads(path.with_suffix(".json").read_text())
    return {**rest, "state_dict": load_file(path)}
""",
        ),
        (
            "builtins.eval can run code that is in the file",
            """
def to_safetensors(checkpoint, path):
    rest = {key: value for key, value in checkpoint.items() if key != "state_dict"}
    save_file(checkpoint["state_dict"], path, metadata={"rest": repr(rest)})


def from_safetensors(path):
    with safe_open(path, "pt") as file:
        rest = eval(file.metadata()["rest"])
    return {**rest, "state_dict": load_file(path)}
""",
        ),
    ],
    "11.1": [
        (
            "the network is built with random numbers",
            """
def load_checkpoint(filepath):
    saved = torch.load(filepath, map_location="cpu", mmap=True)
    with torch.device("cpu"):
        model = fc_model.Network(
            saved["input_size"], saved["output_size"], saved["hidden_layers"], drop_p=saved["drop_p"]
        )
    model.load_state_dict(saved["state_dict"], assign=True)
    return model.eval()
""",
        ),
        (
            "hidden_layers.0.weight has no numbers",
            """
def load_checkpoint(filepath):
    saved = torch.load(filepath, map_location="cpu", mmap=True)
    with torch.device("meta"):
        model = fc_model.Network(
            saved["input_size"], saved["output_size"], saved["hidden_layers"], drop_p=saved["drop_p"]
        )
    model.load_state_dict(saved["state_dict"])
    return model.eval()
""",
        ),
        (
            "the dropout rate is 0.5, and 0.2 in the file",
            """
def load_checkpoint(filepath):
    saved = torch.load(filepath, map_location="cpu", mmap=True)
    with torch.device("meta"):
        model = fc_model.Network(
            saved["input_size"], saved["output_size"], saved["hidden_layers"]
        )
    model.load_state_dict(saved["state_dict"], assign=True)
    return model.eval()
""",
        ),
        (
            "the network is in training mode",
            """
def load_checkpoint(filepath):
    saved = torch.load(filepath, map_location="cpu", mmap=True)
    with torch.device("meta"):
        model = fc_model.Network(
            saved["input_size"], saved["output_size"], saved["hidden_layers"], drop_p=saved["drop_p"]
        )
    model.load_state_dict(saved["state_dict"], assign=True)
    return model
""",
        ),
        (
            "the weights are a copy: they stay when the bytes of the file change",
            """
def load_checkpoint(filepath):
    saved = torch.load(filepath, map_location="cpu")
    with torch.device("meta"):
        model = fc_model.Network(
            saved["input_size"], saved["output_size"], saved["hidden_layers"], drop_p=saved["drop_p"]
        )
    model.load_state_dict(saved["state_dict"], assign=True)
    return model.eval()
""",
        ),
    ],
    "11.2": [
        (
            "places.table has no numbers, and no error names it",
            """
def load_complete(model, state_dict):
    model.load_state_dict(state_dict, strict=False, assign=True)
    empty = []
    for name, tensor in model.state_dict().items():
        if tensor.is_meta:
            empty.append(name)
    if empty:
        raise RuntimeError(f"no numbers for {empty}")
""",
        ),
        (
            "places.table has no numbers, and no error names it",
            """
def load_complete(model, state_dict):
    model.load_state_dict(state_dict, strict=False, assign=True)
    empty = []
    for name, tensor in model.named_parameters():
        if tensor.is_meta:
            empty.append(name)
    if empty:
        raise RuntimeError(f"no numbers for {empty}")
""",
        ),
        (
            "norm.running_var has no numbers, and no error names it",
            """
def load_complete(model, state_dict):
    model.load_state_dict(state_dict, strict=False, assign=True)
    empty = []
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_meta and 'running' not in name:
            empty.append(name)
    if empty:
        raise RuntimeError(f"no numbers for {empty}")
""",
        ),
        (
            "the error is a ValueError, not a RuntimeError",
            """
def load_complete(model, state_dict):
    model.load_state_dict(state_dict, strict=False, assign=True)
    empty = []
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_meta:
            empty.append(name)
    if empty:
        raise ValueError(f"no numbers for {empty}")
""",
        ),
    ],
    "11.3": [
        (
            "this optimizer holds all parameters, in four groups, the last one first",
            """
def left_behind(model, optimizer):
    held = [id(p) for group in optimizer.param_groups[:1] for p in group["params"]]
    return [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in held]
""",
        ),
        (
            "assign=True gave the last layer new parameters, and the optimizer holds the old ones",
            """
def left_behind(model, optimizer):
    held = [p.data_ptr() for group in optimizer.param_groups for p in group["params"]]
    return [name for name, p in model.named_parameters() if p.requires_grad and p.data_ptr() not in held]
""",
        ),
        (
            "a frozen parameter is not left behind",
            """
def left_behind(model, optimizer):
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    return [name for name, p in model.named_parameters() if id(p) not in held]
""",
        ),
        (
            "now all parameters are new, and the layers are tied: their weight has one name",
            """
def left_behind(model, optimizer):
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    named = model.named_parameters(remove_duplicate=False)
    return [name for name, p in named if p.requires_grad and id(p) not in held]
""",
        ),
    ],
    "12.1": [
        (
            "the counter became torch.bfloat16",
            """
def two_bytes(state_dict):
    small = {key: tensor.half() for key, tensor in state_dict.items()}
    if any(tensor.isinf().any() for tensor in small.values()):
        return {key: tensor.bfloat16() for key, tensor in state_dict.items()}
    return small
""",
        ),
        (
            "with 100,000 in 0.weight, there is more than one floating-point type",
            """
def two_bytes(state_dict):
    small = {}
    for key, tensor in state_dict.items():
        small[key] = tensor
        if tensor.is_floating_point():
            half = tensor.half()
            small[key] = half if half.isfinite().all() else tensor.bfloat16()
    return small
""",
        ),
        (
            "with -100,000 in 0.weight, the type is torch.float16",
            """
def two_bytes(state_dict):
    floats = [tensor for tensor in state_dict.values() if tensor.is_floating_point()]
    large = max(tensor.max() for tensor in floats) > 65_504
    dtype = torch.bfloat16 if large else torch.float16
    small = dict(state_dict)
    for key, tensor in state_dict.items():
        if tensor.is_floating_point():
            small[key] = tensor.to(dtype)
    return small
""",
        ),
        (
            "with numbers between -2 and 2, the type is torch.bfloat16",
            """
def two_bytes(state_dict):
    small = dict(state_dict)
    for key, tensor in state_dict.items():
        if tensor.is_floating_point():
            small[key] = tensor.bfloat16()
    return small
""",
        ),
    ],
    "12.2": [
        (
            "the storage of 'rows' is larger than the tensor",
            """
def compact(state_dict):
    return copy.deepcopy(state_dict)
""",
        ),
        (
            "'rows' and 'same rows' hold the same tensor, and are written twice",
            """
def compact(state_dict):
    small = {}
    for key, tensor in state_dict.items():
        too_large = tensor.untyped_storage().nbytes() > tensor.nbytes
        small[key] = tensor.clone() if too_large else tensor
    return small
""",
        ),
        (
            "the given dictionary has changed",
            """
def compact(state_dict):
    clones = {}
    for key, tensor in state_dict.items():
        clone = clones.setdefault(tensor.data_ptr(), tensor.clone())
        state_dict[key] = clone
    return dict(state_dict)
""",
        ),
        (
            "the keys differ",
            """
def compact(state_dict):
    seen = set()
    small = {}
    for key, tensor in state_dict.items():
        if tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            small[key] = tensor.clone()
    return small
""",
        ),
    ],
    "12.3": [
        (
            "ValueError: wrong base",
            """
def save_adapter(network, base_path, path):
    torch.save({"base": base_path.name, "adapter": trainable(network)}, path)


def load_adapter(base_path, path):
    saved = torch.load(path)
    if saved["base"] != base_path.name:
        raise ValueError("wrong base")
    network = fc_model.Network(784, 10, [512, 256, 128], drop_p=0.1)
    network.load_state_dict(torch.load(base_path))
    add_adapter(network)
    network.load_state_dict(saved["adapter"], strict=False)
    return network
""",
        ),
        (
            "a base that differs in all numbers is accepted",
            """
def save_adapter(network, base_path, path):
    torch.save({"size": base_path.stat().st_size, "adapter": trainable(network)}, path)


def load_adapter(base_path, path):
    saved = torch.load(path)
    if saved["size"] != base_path.stat().st_size:
        raise ValueError("wrong base")
    network = fc_model.Network(784, 10, [512, 256, 128], drop_p=0.1)
    network.load_state_dict(torch.load(base_path))
    add_adapter(network)
    network.load_state_dict(saved["adapter"], strict=False)
    return network
""",
        ),
        (
            "a base that differs in the order of some rows is accepted",
            """
import math


def total(path):
    return sum(math.fsum(tensor.flatten().tolist()) for tensor in torch.load(path).values())


def save_adapter(network, base_path, path):
    torch.save({"total": total(base_path), "adapter": trainable(network)}, path)


def load_adapter(base_path, path):
    saved = torch.load(path)
    if saved["total"] != total(base_path):
        raise ValueError("wrong base")
    network = fc_model.Network(784, 10, [512, 256, 128], drop_p=0.1)
    network.load_state_dict(torch.load(base_path))
    add_adapter(network)
    network.load_state_dict(saved["adapter"], strict=False)
    return network
""",
        ),
        (
            "the adapter's file is too large",
            """
def save_adapter(network, base_path, path):
    torch.save({"base": torch.load(base_path), "adapter": trainable(network)}, path)


def load_adapter(base_path, path):
    saved = torch.load(path)
    base = torch.load(base_path)
    if not all(torch.equal(base[key], saved["base"][key]) for key in base):
        raise ValueError("wrong base")
    network = fc_model.Network(784, 10, [512, 256, 128], drop_p=0.1)
    network.load_state_dict(base)
    add_adapter(network)
    network.load_state_dict(saved["adapter"], strict=False)
    return network
""",
        ),
    ],
    "13.1": [
        (
            "Guard failed: text.size()[1] == 3",
            """
def export_words(words, path):
    example = torch.tensor([[5, 7, 2], [3, 8, 1]])
    sizes = {0: torch.export.Dim("sentences")}
    program = torch.export.export(words.eval(), (example,), dynamic_shapes=(sizes,))
    torch.export.save(program, path)
""",
        ),
        (
            "Guard failed: text.size()[1] == text.size()[0]",
            """
def export_words(words, path):
    example = torch.tensor([[5, 7], [3, 8]])
    size = torch.export.Dim("size")
    program = torch.export.export(words.eval(), (example,), dynamic_shapes=({0: size, 1: size},))
    torch.export.save(program, path)
""",
        ),
        (
            "UserError: Constraints violated (sentences)!…",
            """
def export_words(words, path):
    example = torch.tensor([[5, 7, 2]])
    sizes = {0: torch.export.Dim("sentences"), 1: torch.export.Dim("words")}
    program = torch.export.export(words.eval(), (example,), dynamic_shapes=(sizes,))
    torch.export.save(program, path)
""",
        ),
    ],
    "13.2": [
        (
            "export(Unsure(model), images[:2]) raises an error",
            """
class Unsure(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        answers = []
        for probabilities in self.network(images).exp():
            unsure = probabilities.max() < 0.6
            answers.append(torch.where(unsure, -1, probabilities.argmax()))
        return torch.stack(answers)
""",
        ),
        (
            "some answers are different for the first 1000 images",
            """
class Unsure(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        probabilities = self.network(images).exp()
        return torch.where(probabilities.max() < 0.6, -1, probabilities.argmax(dim=1))
""",
        ),
        (
            "some answers are different for the first 7 images",
            """
class Unsure(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        probabilities = self.network(images).exp()
        return torch.where(probabilities.max(dim=1).values < 0.6, -1, probabilities.argmax())
""",
        ),
    ],
    "13.3": [
        (
            "the file refuses 1 of 9 images",
            """
import onnxruntime


def export_checked(network, images, path):
    torch.onnx.export(network, (images,), path, external_data=False, verbose=False)
    session = onnxruntime.InferenceSession(path)
    name = session.get_inputs()[0].name
    (answers,) = session.run(None, {name: images.numpy()})
    if not np.allclose(answers, network(images).detach(), atol=0.001):
        path.unlink()
        raise ValueError("different answers")
""",
        ),
        (
            "a network that adds a random number is accepted",
            """
import onnxruntime


def export_checked(network, images, path):
    shapes = ({0: torch.export.Dim("batch")},)
    torch.onnx.export(
        network, (images[:2],), path, dynamic_shapes=shapes, external_data=False, verbose=False
    )
    onnxruntime.InferenceSession(path)
""",
        ),
        (
            "a network that answers NaN is accepted",
            """
import onnxruntime


def export_checked(network, images, path):
    program = export(network, images[:2])
    torch.onnx.export(program, (), path, external_data=False, verbose=False)
    session = onnxruntime.InferenceSession(path)
    name = session.get_inputs()[0].name
    (answers,) = session.run(None, {name: images.numpy()})
    difference = torch.from_numpy(answers) - network(images)
    if difference.abs().max() > 0.001:
        path.unlink()
        raise ValueError("different answers")
""",
        ),
        (
            "the file with wrong answers is still there",
            """
import onnxruntime


def export_checked(network, images, path):
    shapes = ({0: torch.export.Dim("batch")},)
    torch.onnx.export(
        network, (images[:2],), path, dynamic_shapes=shapes, external_data=False, verbose=False
    )
    session = onnxruntime.InferenceSession(path)
    name = session.get_inputs()[0].name
    (answers,) = session.run(None, {name: images.numpy()})
    if not np.allclose(answers, network(images).detach(), rtol=0, atol=0.001):
        raise ValueError("different answers")
""",
        ),
    ],
    "14.1": [
        (
            "4 ranks, 10 rows: you said that row 2 is on rank 1; it is on rank 0",
            """
def owner(row, rows, ranks):
    return row // (rows // ranks)
""",
        ),
        (
            "4 ranks, 10 rows: you said that row 1 is on rank 1; it is on rank 0",
            """
def owner(row, rows, ranks):
    return row % ranks
""",
        ),
    ],
    "14.2": [
        (
            "a tensor of torch.int64 comes back as torch.float32",
            """
def read_tensor(path, name):
    entry = dcp.FileSystemReader(path).read_metadata().state_dict_metadata[name]
    tensor = torch.empty(entry.size)
    dcp.load({name: tensor}, checkpoint_id=path)
    return tensor
""",
        ),
        (
            "model.hidden_layers.0.weight has different numbers",
            """
def read_tensor(path, name):
    entry = dcp.FileSystemReader(path).read_metadata().state_dict_metadata[name]
    return torch.zeros(entry.size, dtype=entry.properties.dtype)
""",
        ),
        (
            "return a tensor, not None",
            """
def read_tensor(path, name):
    entry = dcp.FileSystemReader(path).read_metadata().state_dict_metadata[name]
    tensor = torch.empty(entry.size, dtype=entry.properties.dtype)
    return dcp.load({name: tensor}, checkpoint_id=path)
""",
        ),
    ],
    "14.3": [
        (
            "each of the two ranks must save only its own rows",
            """
def copy_weights(source, target, mesh):
    model = fc_model.Network(784, 10, [512, 256, 128], drop_p=0.0)
    weights = model.state_dict()
    dcp.load({"model": weights}, checkpoint_id=source)
    dcp.save({"model": weights}, checkpoint_id=target)
""",
        ),
        (
            "there is no .metadata in target",
            """
def copy_weights(source, target, mesh):
    model = fc_model.Network(784, 10, [512, 256, 128], drop_p=0.0)
    fully_shard(model, mesh=mesh)
    weights = model.state_dict()
    dcp.load({"model": weights}, checkpoint_id=source)
    torch.save({"model": weights}, target)
""",
        ),
    ],
    "15.1": [
        (
            "the only step has no .metadata, and yet the answer is not None",
            """
def newest_complete(folder):
    return max(folder.glob("step-*"), key=lambda path: int(path.name[5:]), default=None)
""",
        ),
        (
            "step-100 is complete, step-200 is not, and the answer is step-9",
            """
def newest_complete(folder):
    return max((path.parent for path in folder.glob("step-*/.metadata")), default=None)
""",
        ),
        (
            "step-100 is complete, step-200 is not, and the answer is step-10",
            """
def newest_complete(folder):
    complete = [path.parent for path in folder.glob("step-*/.metadata")]
    return max(complete, key=lambda path: path.stat().st_mtime_ns, default=None)
""",
        ),
    ],
    "15.2": [
        (
            "the two ranks do not make the same collective calls",
            """
def save_best(state, loss, best, path):
    if dist.get_rank() == 0 and loss < best:
        dcp.save(state, checkpoint_id=path)
    return min(loss, best)
""",
        ),
        (
            "epoch 1 has the mean 0.9, and is saved",
            """
def save_best(state, loss, best, path):
    lowest = torch.tensor(loss)
    dist.all_reduce(lowest, op=dist.ReduceOp.MIN)
    if lowest.item() < best:
        dcp.save(state, checkpoint_id=path)
        best = lowest.item()
    return best
""",
        ),
        (
            "the lowest mean is 0.70, and rank 0 returns 1.40",
            """
def save_best(state, loss, best, path):
    total = torch.tensor(loss)
    dist.all_reduce(total)
    if total.item() < best:
        dcp.save(state, checkpoint_id=path)
        best = total.item()
    return best
""",
        ),
    ],
    "15.3": [
        (
            "CheckpointException: CheckpointException ranks:dict_keys([0])…",
            """
def export(step, path):
    model = fc_model.Network(784, 10, [512, 256, 128])
    dcp.load({"model": model.state_dict()}, checkpoint_id=step)
    fc_model.save_checkpoint(model, path)
""",
        ),
        (
            "CheckpointError: …",
            """
def export(step, path):
    dcp_to_torch_save(step, path)
""",
        ),
        (
            "the weights in the file are not those of step 20",
            """
def export(step, path):
    model = fc_model.Network(784, 10, [512, 256, 128])
    weights = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    dcp.load({"app": {"model": weights}}, checkpoint_id=step)
    fc_model.save_checkpoint(model, path)
""",
        ),
    ],
    "16.1": [
        (
            "A: not the most specific entry for the error that came first",
            """
cause = {}
for letter, message in patients.MESSAGES.items():
    cause[letter] = doctor.diagnose(message)[0].anchor
""",
        ),
        (
            "B: not the most specific entry for the error that came first",
            """
cause = {"A": "no-such-file", "B": "torchrun-child-failed", "C": "global-numpy-scalar", "D": "mat1-mat2-dtype"}
""",
        ),
        (
            "C: not the most specific entry for the error that came first",
            """
cause = {
    "A": "no-such-file",
    "B": "failed-finding-central-directory",
    "C": "weights-only-load-failed",
    "D": "mat1-mat2-dtype",
}
""",
        ),
        (
            "D: not the most specific entry for the error that came first",
            """
cause = {
    "A": "no-such-file",
    "B": "failed-finding-central-directory",
    "C": "global-numpy-scalar",
    "D": "caught-in-worker",
}
""",
        ),
    ],
    "16.2": [
        (
            "the keys of its state_dict are not those of the network",
            """
patient = torch.load(folder / "patient.pth", weights_only=False)
patient["loss"] = float(patient["loss"])
torch.save(patient, folder / "right.pth")
""",
        ),
        (
            "right.pth needs epoch, loss and state_dict, and nothing else",
            """
patient = torch.load(folder / "patient.pth", weights_only=False)
del patient["loss"]
torch.save(patient, folder / "right.pth")
""",
        ),
        (
            "a plain torch.load refuses right.pth",
            """
patient = torch.load(folder / "patient.pth", weights_only=False)
weights = {key.removeprefix("module."): tensor for key, tensor in patient["state_dict"].items()}
weights["hidden_layers.1.weight"] = weights["hidden_layers.1.weight"].t()
torch.save(patient | {"state_dict": weights}, folder / "right.pth")
""",
        ),
        (
            "the shapes of its state_dict are not those of the network",
            """
patient = torch.load(folder / "patient.pth", weights_only=False)
patient["loss"] = float(patient["loss"])
weights = {key.removeprefix("module."): tensor for key, tensor in patient["state_dict"].items()}
torch.save(patient | {"state_dict": weights}, folder / "right.pth")
""",
        ),
        (
            "the rebuilt network does not answer as `network` does",
            """
patient = torch.load(folder / "patient.pth", weights_only=False)
patient["loss"] = float(patient["loss"])
weights = {key.removeprefix("module."): tensor for key, tensor in patient["state_dict"].items()}
weights["hidden_layers.1.weight"] = weights["hidden_layers.1.weight"].reshape(256, 512)
torch.save(patient | {"state_dict": weights}, folder / "right.pth")
""",
        ),
    ],
    "16.3": [
        (
            "after a step, not every parameter has changed",
            """
def prepare(weights):
    model = build()
    model.load_state_dict(weights)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    model[3] = nn.Linear(16, 3)
    return model.train(), optimizer
""",
        ),
        (
            "after a step, not every parameter has changed",
            """
def prepare(weights):
    model = build()
    model.load_state_dict(weights)
    model[3] = nn.Linear(16, 3)
    return model, torch.optim.Adam(model[3].parameters(), lr=0.01)
""",
        ),
        (
            "the first layer does not have the weights that were passed",
            """
def prepare(weights):
    model = build()
    model[3] = nn.Linear(16, 3)
    return model, torch.optim.Adam(model.parameters(), lr=0.01)
""",
        ),
    ],
    "17.1": [
        (
            "2 of 10 cases fail. Begin with any model / saved on a graphics card: RuntimeError: Attempting…",
            """
_ = mine.write_text((ROOT / "notebooks" / "17_torch_save.py").read_text())
""",
        ),
        (
            "10 of 10 cases fail. Begin with any model / batch norm: UnpicklingError: Unsupported…",
            '''
_ = mine.write_text("""
import torch

def save(state, path):
    torch.save(state, path)

def load(path):
    return torch.load(path)

def resume(saved, state):
    return saved
""")
''',
        ),
    ],
    "17.2": [
        (
            "10 of 10 cases fail. Begin with missing pieces / a piece that the file lacks: an error,…",
            """
_ = mine.write_text((ROOT / "notebooks" / "17_torch_save.py").read_text())
""",
        ),
        (
            "4 of 10 cases fail. Begin with another network / another size: an error, but some pieces…",
            """
text = (ROOT / "tests" / "capstone" / "reference.py").read_text()
_ = mine.write_text(text.replace('put(pieces[each], before[each])', 'pass'))
""",
        ),
    ],
    "17.3": [
        (
            "5 of 10 cases fail. Begin with random numbers / torch's numbers: the loss of batch 1…",
            """
_ = mine.write_text((ROOT / "notebooks" / "17_torch_save.py").read_text())
""",
        ),
        (
            "1 of 10 cases fail. Begin with what must not change / two runs from one load: the loss…",
            """
text = (ROOT / "tests" / "capstone" / "reference.py").read_text()
_ = mine.write_text(text.replace('saved = copy.deepcopy(saved)', 'pass'))
""",
        ),
    ],
    "17.4": [
        (
            "5 of 10 cases fail. Begin with a kill / killed 10 times: at least once: neither…",
            """
_ = mine.write_text((ROOT / "notebooks" / "17_torch_save.py").read_text())
""",
        ),
        (
            "1 of 10 cases fail. Begin with a power cut / the power fails after a save: a file…",
            """
text = (ROOT / "tests" / "capstone" / "reference.py").read_text()
_ = mine.write_text(text.replace('os.fsync(file.fileno())', 'pass'))
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
        """
torch.save({"weights": dict(network.state_dict()), "epochs": 2.0, "sizes": [784, 10]}, folder / "checkpoint.pth")
""",
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
def resume_warmup(path, factor):
    optimizer = torch.optim.SGD(nn.Linear(2, 1).parameters(), lr=1.0)
    scheduler = LinearLR(optimizer, start_factor=0.1, total_iters=10)
    load_run(path, {"optimizer": optimizer, "scheduler": scheduler})
    optimizer.param_groups[0]["lr"] = 0.55 * factor
    return optimizer, scheduler
""",
        """
def resume_warmup(path, factor):
    optimizer = torch.optim.SGD(nn.Linear(2, 1).parameters(), lr=1.0)
    scheduler = LinearLR(optimizer, start_factor=0.1, total_iters=10)
    states = torch.load(path)["pieces"]
    states["optimizer"]["param_groups"][0]["lr"] *= factor
    optimizer.load_state_dict(states["optimizer"])
    scheduler.load_state_dict(states["scheduler"])
    return optimizer, scheduler
""",
    ],
    "7.2": [
        """
class PlacedLoader:
    def __init__(self, loader):
        self.loader, self.place = loader, None

    def state_dict(self):
        return {"epoch_start": self.epoch_start, "done": self.done}

    def load_state_dict(self, state):
        self.place = state

    def __iter__(self):
        now = torch.get_rng_state()
        place, self.place = self.place, None
        self.epoch_start, self.done = now, 0
        if place:
            self.epoch_start = place["epoch_start"]
            torch.set_rng_state(self.epoch_start)
        for batch in self.loader:
            self.done += 1
            if place and self.done == place["done"]:
                torch.set_rng_state(now)
            if not place or self.done > place["done"]:
                yield batch
""",
        """
class PlacedLoader:
    def __init__(self, loader):
        self.loader, self.skip = loader, 0

    def state_dict(self):
        return {"epoch_start": self.epoch_start, "done": self.done}

    def load_state_dict(self, state):
        self.epoch_start, self.skip = state["epoch_start"], state["done"]

    def __iter__(self):
        found = torch.get_rng_state()
        if self.skip:
            torch.set_rng_state(self.epoch_start)
        self.epoch_start, self.done = torch.get_rng_state(), self.skip
        batches = iter(self.loader)
        if self.skip:
            list(islice(batches, self.skip))
            torch.set_rng_state(found)
            self.skip = 0
        for batch in batches:
            self.done += 1
            yield batch
""",
    ],
    "7.3": [
        """
def publish(run_path, path):
    average = build_averaged()["average"]
    average.load_state_dict(torch.load(run_path)["pieces"]["average"])
    torch.save(average.module.state_dict(), path)
""",
        """
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present


def publish(run_path, path):
    weights = torch.load(run_path)["pieces"]["average"]
    del weights["n_averaged"]
    consume_prefix_in_state_dict_if_present(weights, "module.")
    torch.save(weights, path)
""",
        """
def publish(run_path, path):
    pieces = build_averaged()
    load_run(run_path, pieces)
    torch.save(pieces["average"].module.state_dict(), path)
""",
    ],
    "8.1": [
        """
def save_history(history, path):
    import tempfile

    handle, name = tempfile.mkstemp(dir=path.parent)
    try:
        with open(handle, "w") as file:
            file.write(json.dumps(history))
            file.flush()
            os.fsync(file)
        os.rename(name, path)
    except BaseException:
        os.unlink(name)
        raise
""",
        """
from contextlib import suppress


def save_history(history, path):
    text = json.dumps(history)
    temporary = path.parent / "new"
    done = False
    try:
        with temporary.open("wb", buffering=0) as file:
            file.write(text.encode())
            os.fsync(file.fileno())
        temporary.replace(path)
        done = True
    finally:
        if not done:
            with suppress(FileNotFoundError):
                temporary.unlink()
""",
    ],
    "8.2": [
        """
def best_files(folder, count):
    left, chosen = list(folder.glob("epoch-*.pth")), []
    saved = {path: torch.load(path) for path in left}
    left = [path for path in left if abs(saved[path]["accuracy"]) < math.inf]
    while left and len(chosen) < count:
        best = max(left, key=lambda path: (saved[path]["accuracy"], -saved[path]["epoch"]))
        chosen.append(best)
        left.remove(best)
    return chosen
""",
        """
def best_files(folder, count):
    saved = {path: torch.load(path) for path in folder.glob("epoch-*.pth")}
    paths = [path for path in saved if math.isfinite(saved[path]["accuracy"])]
    paths.sort(key=lambda path: saved[path]["epoch"])
    paths.sort(key=lambda path: saved[path]["accuracy"], reverse=True)
    return paths[:count]
""",
    ],
    "8.3": [
        """
import threading


def train(do_step, steps, path):
    event = threading.Event()
    former = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *arguments: event.set())
    try:
        n = 0
        for step in range(steps):
            do_step(step)
            n = step + 1
            if event.is_set():
                break
    finally:
        signal.signal(signal.SIGTERM, former)
    save_atomic({"done": n}, path)
    return n
""",
        """
def train(do_step, steps, path):
    stop = False

    def handle(signum, frame):
        nonlocal stop
        stop = True

    former = signal.signal(signal.SIGTERM, handle)
    try:
        step = 0
        while step < steps:
            do_step(step)
            step += 1
            if stop:
                break
        save_atomic({"done": step}, path)
        return step
    finally:
        signal.signal(signal.SIGTERM, former)
""",
    ],
    "9.1": [
        r"""
import pickle


def load_or_name(path):
    try:
        return torch.load(path)
    except pickle.UnpicklingError as error:
        raise ValueError("\n".join(get_unsafe_globals_in_checkpoint(path))) from error
""",
    ],
    "9.2": [
        """
def to_plain(thing):
    if isinstance(thing, OrderedDict):
        return thing
    if isinstance(thing, (np.generic, np.ndarray)):
        return torch.tensor(thing) if thing.ndim else thing.item()
    if isinstance(thing, dict):
        return {key: to_plain(value) for key, value in thing.items()}
    if isinstance(thing, list):
        return list(map(to_plain, thing))
    if isinstance(thing, datetime):
        return thing.isoformat()
    return str(thing) if isinstance(thing, Path) else thing
""",
    ],
    "9.3": [
        """
def load_within(path):
    state_dict = torch.load(path, map_location="cpu")
    for key, tensor in state_dict.items():
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ValueError(key)
    return state_dict
""",
        """
def load_within(path):
    state_dict = torch.load(path)
    if any(tensor.nbytes > path.stat().st_size for tensor in state_dict.values()):
        raise ValueError("too large")
    return state_dict
""",
    ],
    "10.1": [
        """
def check_folder(place, public_key):
    content = (place / "manifest.json").read_bytes()
    public_key.verify((place / "manifest.sig").read_bytes(), content)

    listed = json.loads(content)
    sound = set()
    for path in place.iterdir():
        if listed.get(path.name) == fingerprint(path):
            sound.add(path.name)
    return sorted(set(listed) - sound)
""",
    ],
    "10.2": [
        """
def read_tensor(path, name):
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        entry = json.loads(file.read(length))[name]
        start, end = entry["data_offsets"]
        file.seek(8 + length + start)
        numbers = bytearray(file.read(end - start))
    return torch.frombuffer(numbers, dtype=torch.float32).view(entry["shape"])
""",
        """
import numpy


def read_tensor(path, name):
    content = path.read_bytes()
    begin = 8 + numpy.frombuffer(content[:8], dtype="<u8")[0].item()
    entry = json.loads(content[8:begin])[name]
    start, end = entry["data_offsets"]
    array = numpy.frombuffer(content[begin + start : begin + end], dtype="<f4")
    return torch.tensor(array).reshape(entry["shape"])
""",
    ],
    "10.3": [
        """
def to_safetensors(checkpoint, path):
    metadata = {}
    for key, value in checkpoint.items():
        if key != "state_dict":
            metadata[key] = json.dumps(value)
    save_file(checkpoint["state_dict"], path, metadata=metadata)


def from_safetensors(path):
    checkpoint = {"state_dict": load_file(path)}
    with safe_open(path, "pt") as file:
        for key, text in (file.metadata() or {}).items():
            checkpoint[key] = json.loads(text)
    return checkpoint
""",
        """
import ast


def to_safetensors(checkpoint, path):
    rest = dict(checkpoint)
    weights = rest.pop("state_dict")
    save_file(weights, path, metadata={"rest": repr(rest)})


def from_safetensors(path):
    with safe_open(path, "pt") as file:
        rest = ast.literal_eval(file.metadata()["rest"])
    return {"state_dict": load_file(path), **rest}
""",
        """
def to_safetensors(checkpoint, path):
    rest = {key: value for key, value in checkpoint.items() if key != "state_dict"}
    save_file(checkpoint["state_dict"], path, metadata={"rest": json.dumps(rest)})


def from_safetensors(path):
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return json.loads(header["__metadata__"]["rest"]) | {"state_dict": load_file(path)}
""",
    ],
    "11.1": [
        """
def load_checkpoint(filepath):
    return fc_model.load_checkpoint(filepath, mmap=True)
""",
        """
def load_checkpoint(filepath):
    saved = torch.load(filepath, mmap=True)
    torch.set_default_device("meta")
    try:
        sizes = [saved[name] for name in ("input_size", "output_size", "hidden_layers", "drop_p")]
        model = fc_model.Network(*sizes)
    finally:
        torch.set_default_device(None)
    for key, tensor in saved["state_dict"].items():
        layer, _, name = key.rpartition(".")
        setattr(model.get_submodule(layer), name, nn.Parameter(tensor))
    model.eval()
    return model
""",
    ],
    "11.2": [
        """
def load_complete(model, state_dict):
    report = model.load_state_dict(state_dict, strict=False, assign=True)
    empty = list(report.missing_keys)
    for name, buffer in model.named_buffers():
        if buffer.is_meta and name not in empty:
            empty.append(name)
    if empty:
        raise RuntimeError(", ".join(empty))
""",
    ],
    "11.3": [
        """
def left_behind(model, optimizer):
    held = sum((group["params"] for group in optimizer.param_groups), [])
    names = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not any(parameter is p for p in held):
            names.append(name)
    return names
""",
    ],
    "12.1": [
        """
def two_bytes(state_dict):
    floats = [tensor for tensor in state_dict.values() if tensor.is_floating_point()]
    largest = max(tensor.abs().max() for tensor in floats)
    dtype = torch.float16 if largest <= torch.finfo(torch.float16).max else torch.bfloat16
    small = dict(state_dict)
    for key, tensor in state_dict.items():
        if tensor.is_floating_point():
            small[key] = tensor.to(dtype)
    return small
""",
    ],
    "12.2": [
        """
def compact(state_dict):
    clones = {}
    small = {}
    for key, tensor in state_dict.items():
        if tensor.untyped_storage().nbytes() > tensor.nbytes:
            tensor = clones.setdefault(tensor.data_ptr(), tensor.clone())
        small[key] = tensor
    return small
""",
        """
def compact(state_dict):
    small = {}
    for key, tensor in state_dict.items():
        earlier = [name for name in small if state_dict[name].data_ptr() == tensor.data_ptr()]
        small[key] = small[earlier[0]] if earlier else tensor.clone()
    return small
""",
    ],
    "12.3": [
        """
import hashlib


def fingerprint(weights):
    digest = hashlib.sha256()
    for key in sorted(weights):
        digest.update(key.encode())
        digest.update(weights[key].numpy().tobytes())
    return digest.hexdigest()


def save_adapter(network, base_path, path):
    saved = trainable(network)
    saved["base"] = fingerprint(torch.load(base_path))
    torch.save(saved, path)


def load_adapter(base_path, path):
    base = torch.load(base_path)
    saved = torch.load(path)
    if saved.pop("base") != fingerprint(base):
        raise ValueError("this adapter belongs to a different base")
    network = fc_model.Network(784, 10, [512, 256, 128])
    network.load_state_dict(base)
    add_adapter(network)
    network.load_state_dict(saved, strict=False)
    return network
""",
    ],
    "13.1": [
        """
def export_words(words, path):
    auto = torch.export.Dim.AUTO
    shapes = {"text": {0: auto, 1: auto}}
    example = torch.ones(4, 6, dtype=torch.int64)
    program = torch.export.export(words.eval(), (example,), dynamic_shapes=shapes)
    torch.export.save(program, path)
""",
    ],
    "13.2": [
        """
class Unsure(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        probabilities = self.network(images).exp()
        unsure = probabilities.amax(dim=1) < 0.6
        return probabilities.argmax(dim=1).masked_fill(unsure, -1)
""",
        """
class Unsure(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        highest, answers = self.network(images).exp().max(dim=1)
        sure = (highest >= 0.6).long()
        return answers * sure - (1 - sure)
""",
    ],
    "13.3": [
        """
import onnxruntime


def export_checked(network, images, path):
    program = torch.export.export(
        network, (images[:2],), dynamic_shapes=({0: torch.export.Dim.AUTO},)
    )
    torch.onnx.export(program, (), path, external_data=False, verbose=False)
    session = onnxruntime.InferenceSession(str(path))
    (answers,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    if not np.allclose(answers, network(images).detach().numpy(), rtol=0, atol=0.001):
        path.unlink()
        raise ValueError("the answers differ")
""",
        """
import onnxruntime


def export_checked(network, images, path):
    shapes = ({0: torch.export.Dim("batch")},)
    torch.onnx.export(
        network, (images[:2],), path, dynamic_shapes=shapes, external_data=False, verbose=False
    )
    session = onnxruntime.InferenceSession(path)
    (answers,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    difference = torch.from_numpy(answers) - network(images)
    if not (difference.abs() <= 0.001).all():
        path.unlink()
        raise ValueError("the answers differ")
""",
    ],
    "14.1": [
        """
def owner(row, rows, ranks):
    for rank, piece in enumerate(torch.arange(rows).chunk(ranks)):
        if row in piece.tolist():
            return rank
""",
    ],
    "14.2": [
        """
import tempfile
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save


def read_tensor(path, name):
    with tempfile.TemporaryDirectory() as other:
        dcp_to_torch_save(path, f"{other}/one.pth")
        state = torch.load(f"{other}/one.pth")
    if name in state:
        return state[name]
    first, _, rest = name.partition(".")
    return state[first][rest]
""",
    ],
    "14.3": [
        """
def copy_weights(source, target, mesh):
    model = fc_model.Network(784, 10, [512, 256, 128], drop_p=0.0)
    dcp.load({"model": model.state_dict()}, checkpoint_id=source)
    fully_shard(model, mesh=mesh)
    dcp.save({"model": model.state_dict()}, checkpoint_id=target)
""",
    ],
    "15.1": [
        """
def newest_complete(folder):
    newest, highest = None, -1
    for step in folder.iterdir():
        if (step / ".metadata").exists() and int(step.name.split("-")[1]) > highest:
            newest, highest = step, int(step.name.split("-")[1])
    return newest
""",
    ],
    "15.2": [
        """
def save_best(state, loss, best, path):
    losses = [None] * dist.get_world_size()
    dist.all_gather_object(losses, loss)
    mean = sum(losses) / len(losses)
    if mean < best:
        dcp.save(state, checkpoint_id=path)
    return min(mean, best)
""",
    ],
    "15.3": [
        """
def export(step, path):
    dcp_to_torch_save(step, path)
    model = fc_model.Network(784, 10, [512, 256, 128])
    model.load_state_dict(torch.load(path)["app"]["model"])
    fc_model.save_checkpoint(model, path)
""",
        """
def export(step, path):
    model = fc_model.Network(784, 10, [512, 256, 128])
    app = training.AppState(model, torch.optim.Adam(model.parameters()))
    dcp.load({"app": app}, checkpoint_id=step)
    fc_model.save_checkpoint(model, path)
""",
    ],
    "16.2": [
        """
patient = torch.load(folder / "patient.pth", weights_only=False)
weights = patient["state_dict"]
nn.modules.utils.consume_prefix_in_state_dict_if_present(weights, "module.")
weights["hidden_layers.1.weight"] = weights["hidden_layers.1.weight"].T.contiguous()
patient["loss"] = patient["loss"].item()
torch.save(patient, folder / "right.pth")
""",
        """
patient = torch.load(folder / "patient.pth", weights_only=False)
rebuilt = copy.deepcopy(network)
with torch.no_grad():
    for key, tensor in rebuilt.state_dict().items():
        saved_tensor = patient["state_dict"][f"module.{key}"]
        tensor.copy_(saved_tensor if saved_tensor.shape == tensor.shape else saved_tensor.T)
torch.save({"state_dict": rebuilt.state_dict(), "loss": 0.25, "epoch": 3}, folder / "right.pth")
""",
    ],
    "16.3": [
        """
def prepare(weights):
    model = build()
    model.load_state_dict(weights)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    model[3] = nn.Linear(16, 3)
    optimizer.add_param_group({"params": model[3].parameters()})
    return model, optimizer
""",
        """
def prepare(weights):
    first, *rest, last = build()
    first.weight.data, first.bias.data = weights["0.weight"].clone(), weights["0.bias"].clone()
    model = nn.Sequential(first, *rest, nn.Linear(16, 3))
    return model, torch.optim.SGD(model.parameters(), lr=0.01)
""",
    ],
}

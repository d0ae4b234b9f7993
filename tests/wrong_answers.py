"""Wrong answers to the exercises, each with the hint that its check prints: docs/teach lists the hints.

{exercise: [(hint, code), ...]}. A hint that ends with … is the beginning of what is printed.
"""

WRONG_ANSWERS = {
    "0.1": [
        (
            "answer is no tensor: torch.tensor([...]) makes one, torch.arange(3) too",
            "answer = [0, 1, 2]",
        ),
        (
            "answer holds other numbers than 0, 1, 2",
            "answer = torch.arange(1, 4)",
        ),
    ],
    "0.2": [
        (
            "B: somebody else loads it",
            'choice = {"A": "checkpoint", "B": "whole model", "C": "data", "D": "whole model", "E": "export"}',
        ),
        (
            "E: it has to run without the class",
            'choice = {"A": "checkpoint", "B": "state_dict", "C": "data", "D": "whole model", "E": "whole model"}',
        ),
    ],
    "0.3": [
        (
            "the number of parameters is another one",
            "parameters, buffers, keys = 8, 0, 8",
        ),
        (
            "the number of buffers is another one",
            "parameters, buffers, keys = 2, 3, 5",
        ),
    ],
    "1.1": [
        (
            "mine.pt holds a whole model: save net1.state_dict()",
            """
torch.save(net1, folder / "mine.pt")
mine = torch.load(folder / "mine.pt", weights_only=False)
""",
        ),
        (
            "mine.pt does not hold net1's parameters",
            """
mine = nn.Sequential(nn.Linear(1, 10), nn.ReLU(), nn.Linear(10, 1))
torch.save(mine.state_dict(), folder / "mine.pt")
mine.load_state_dict(torch.load(folder / "mine.pt"))
""",
        ),
        (
            "mine does not predict what net1 predicts",
            """
mine = nn.Sequential(nn.Linear(1, 10), nn.ReLU(), nn.Linear(10, 1))
torch.save(net1.state_dict(), folder / "mine.pt")
""",
        ),
        (
            "TypeError: '_IncompatibleKeys' object is not callable",
            """
mine = nn.Sequential(nn.Linear(1, 10), nn.ReLU(), nn.Linear(10, 1))
torch.save(net1.state_dict(), folder / "mine.pt")
mine = mine.load_state_dict(torch.load(folder / "mine.pt"))
""",
        ),
        (
            "mine must be a second network, not net1 itself",
            """
torch.save(net1.state_dict(), folder / "mine.pt")
mine = net1
""",
        ),
    ],
    "1.2": [
        (
            "load_curve must build a new network on each call",
            """
def load_curve(path):
    net1.load_state_dict(torch.load(folder / "net1_state_dict.pt"))
    return net1
""",
        ),
        (
            "load_curve must read the file at path",
            """
def load_curve(path):
    model = nn.Sequential(nn.Linear(1, 10), nn.ReLU(), nn.Linear(10, 1))
    model.load_state_dict(torch.load(folder / "net1_state_dict.pt"))
    return model
""",
        ),
    ],
    "1.3": [
        (
            "for a whole model it must return True",
            """
def needs_code(path):
    return get_unsafe_globals_in_checkpoint(path)
""",
        ),
        (
            "don't load the file: ask it for the names",
            """
def needs_code(path):
    return isinstance(torch.load(path, weights_only=False), nn.Module)
""",
        ),
        (
            "one class is enough, also in a dict",
            """
def needs_code(path):
    return any("nn.modules" in name for name in get_unsafe_globals_in_checkpoint(path))
""",
        ),
        (
            "don't load the file: ask it for the names",
            """
def needs_code(path):
    try:
        torch.load(path)
    except pickle.UnpicklingError:
        return True
    return False
""",
        ),
        (
            "for a state_dict it must return False",
            """
def needs_code(path):
    return "state_dict" not in path.name
""",
        ),
    ],
    "1.4": [
        (
            "this is not the answer that the model gives in eval mode",
            """
def predict(model, x):
    with torch.no_grad():
        return model(x)
""",
        ),
        (
            "the model was in training mode, and must be so again",
            """
def predict(model, x):
    return model.eval()(x)
""",
        ),
        (
            "the model was in eval mode, and must be so again",
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
            "output has 10 x 128 weights and 10 biases",
            """
def layer_size(state_dict, name):
    return state_dict[name + ".weight"].numel()
""",
        ),
        (
            "of twelve layers hidden_layers.1 is one: 4 x 4 weights, 4 biases",
            """
def layer_size(state_dict, name):
    return sum(tensor.numel() for key, tensor in state_dict.items() if key.startswith(name))
""",
        ),
    ],
    "2.2": [
        (
            "RuntimeError: Only Tensors of floating point and complex dtype can require gradients",
            """
class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.count = nn.Parameter(torch.tensor(0))

    def forward(self, x):
        self.count += 1
        return x
""",
        ),
        (
            "count must be a buffer that says 2",
            """
class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.count = nn.Parameter(torch.tensor(0), requires_grad=False)

    def forward(self, x):
        self.count += 1
        return x
""",
        ),
        (
            "count must stay an integer",
            """
class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x):
        self.count += 1
        return x
""",
        ),
        (
            "forward must return its input",
            """
class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.tensor(0))

    def forward(self, x):
        self.count += 1
""",
        ),
        (
            "a new Counter must begin at 0",
            """
class Counter(nn.Module):
    zero = torch.tensor(0)

    def __init__(self):
        super().__init__()
        self.register_buffer("count", self.zero)

    def forward(self, x):
        self.count += 1
        return x
""",
        ),
    ],
    "2.3": [
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
            "forward uses other layers than the keys name",
            """
class Hidden(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = [nn.Linear(784, 32), nn.Linear(32, 10)]
        self.layers = nn.ModuleList([nn.Linear(784, 32), nn.Linear(32, 10)])

    def forward(self, x):
        return self.hidden[1](torch.relu(self.hidden[0](x)))
""",
        ),
        (
            "both layers must be used, with the ReLU between them",
            """
class Hidden(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(784, 32), nn.Linear(32, 10))

    def forward(self, x):
        return self.layers(x)
""",
        ),
    ],
    "2.4": [
        (
            "these weights don't have the best loss",
            """
def fit_and_keep_best(net, optimizer, steps=50):
    best_loss, best = float("inf"), None
    for _ in range(steps):
        optimizer.zero_grad()
        loss_on(to_fit, net).backward()
        optimizer.step()
        loss = loss_on(to_choose, net).item()
        if loss < best_loss:
            best_loss, best = loss, net.state_dict().copy()
    return best_loss, best
""",
        ),
        (
            "a lower loss came up on the way",
            """
def fit_and_keep_best(net, optimizer, steps=50):
    for _ in range(steps):
        optimizer.zero_grad()
        loss_on(to_fit, net).backward()
        optimizer.step()
    return loss_on(to_choose, net).item(), copy.deepcopy(net.state_dict())
""",
        ),
        (
            "these weights don't have the best loss",
            """
def fit_and_keep_best(net, optimizer, steps=50):
    best_loss, best = float("inf"), None
    for _ in range(steps):
        loss = loss_on(to_fit, net)
        if loss.item() < best_loss:
            best_loss, best = loss.item(), copy.deepcopy(net.state_dict())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return best_loss, best
""",
        ),
        (
            "training has made the loss lower: the first is not the lowest",
            """
def fit_and_keep_best(net, optimizer, steps=50):
    return loss_on(to_choose, net).item(), copy.deepcopy(net.state_dict())
""",
        ),
    ],
    "3.1": [
        (
            "these sizes give an error of 0 lines, or on other keys",
            "hidden_layers = [512, 256, 128]",
        ),
        (
            "these sizes give an error of 3 lines, or on other keys",
            "hidden_layers = [300, 256, 128]",
        ),
        (
            "these sizes give an error of 5 lines, or on other keys",
            "hidden_layers = [512, 300, 300]",
        ),
    ],
    "3.2": [
        (
            "a state_dict that does not fit must raise RuntimeError",
            """
def load_or_leave(model, state_dict):
    if not checkpoints.diff(model, state_dict):
        model.load_state_dict(state_dict)
""",
        ),
        (
            "it raised, and yet the model has changed",
            """
def load_or_leave(model, state_dict):
    before = model.state_dict()
    try:
        model.load_state_dict(state_dict)
    except RuntimeError:
        model.load_state_dict(before)
        raise
""",
        ),
        (
            "what fits must be loaded into the model that was passed",
            """
def load_or_leave(model, state_dict):
    model = copy.deepcopy(model)
    model.load_state_dict(state_dict)
""",
        ),
    ],
    "3.3": [
        (
            "the dict that was passed must stay as it is",
            """
def unwrap(state_dict):
    consume_prefix_in_state_dict_if_present(state_dict, "module.")
    return state_dict
""",
        ),
        (
            "of several prefixes each must come off, in any order",
            """
def unwrap(state_dict):
    return {key.removeprefix("module.").removeprefix("_orig_mod."): tensor for key, tensor in state_dict.items()}
""",
        ),
        (
            "these three keys don't begin with one of the prefixes",
            """
def unwrap(state_dict):
    return {key.replace("module.", "").replace("_orig_mod.", ""): tensor for key, tensor in state_dict.items()}
""",
        ),
    ],
    "3.4": [
        (
            "RuntimeError: Error(s) in loading state_dict for Network:…",
            """
def load_what_fits(model, state_dict):
    return model.load_state_dict(state_dict, strict=False).missing_keys
""",
        ),
        (
            "the list must name the keys that were left as they were",
            """
def load_what_fits(model, state_dict):
    own = model.state_dict()
    fitting = {key: tensor for key, tensor in state_dict.items() if key in own and tensor.shape == own[key].shape}
    model.load_state_dict(fitting, strict=False)
    return [key for key in state_dict if key not in fitting]
""",
        ),
    ],
    "4.1": [
        (
            "dropout 0.25 came back as 0.5",
            """
def load_mended(path):
    return load_by_hand(path).eval()
""",
        ),
        (
            "dropout 0.0 came back as 0.5",
            """
def save_mended(model, path):
    sizes = [layer.out_features for layer in model.hidden_layers]
    checkpoint = {"input_size": 784, "output_size": 10, "hidden_layers": sizes}
    checkpoint |= {"state_dict": model.state_dict(), "drop_p": model.dropout.p}
    torch.save(checkpoint, path)


def load_mended(path):
    loaded = load_by_hand(path).eval()
    loaded.dropout.p = torch.load(path)["drop_p"] or 0.5
    return loaded
""",
        ),
        (
            "the loaded one must be in eval mode",
            """
def load_mended(path):
    loaded = load_by_hand(path)
    loaded.dropout.p = torch.load(path)["drop_p"]
    return loaded
""",
        ),
        (
            "UnpicklingError: Weights only load failed…",
            """
def save_mended(model, path):
    torch.save(model, path)


def load_mended(path):
    return torch.load(path, weights_only=False).eval()
""",
        ),
    ],
    "4.2": [
        (
            "CheckpointError: generator is in the file: pass its piece too, or del saved['generator']",
            """
def rehearse(path):
    generator = torch.Generator().manual_seed(SEED)
    own_loader, _ = helper.fashion_mnist_loaders(batch_size=50, train_size=500, generator=generator)
    model, optimizer, scheduler = start(SEED)
    pieces = {"optimizer": optimizer, "scheduler": scheduler}
    run(model, optimizer, scheduler, 1, own_loader)
    fc_model.save_checkpoint(model, path, **pieces, generator=generator, epoch=0)
    first = run(model, optimizer, scheduler, 1, own_loader)
    checkpoints.restore(checkpoints.load(path), {"state_dict": model, **pieces})
    return first, run(model, optimizer, scheduler, 1, own_loader)
""",
        ),
        (
            "the generator was not saved",
            """
def rehearse(path):
    generator = torch.Generator().manual_seed(SEED)
    own_loader, _ = helper.fashion_mnist_loaders(batch_size=50, train_size=500, generator=generator)
    model, optimizer, scheduler = start(SEED)
    pieces = {"optimizer": optimizer, "scheduler": scheduler}
    run(model, optimizer, scheduler, 1, own_loader)
    fc_model.save_checkpoint(model, path, **pieces, epoch=0)
    generator.manual_seed(SEED)
    first = run(model, optimizer, scheduler, 1, own_loader)
    checkpoints.restore(checkpoints.load(path), {"state_dict": model, **pieces})
    generator.manual_seed(SEED)
    return first, run(model, optimizer, scheduler, 1, own_loader)
""",
        ),
        (
            "the second epoch is another one",
            """
def rehearse(path):
    generator = torch.Generator().manual_seed(SEED)
    own_loader, _ = helper.fashion_mnist_loaders(batch_size=50, train_size=500, generator=generator)
    model, optimizer, scheduler = start(SEED)
    pieces = {"optimizer": optimizer, "scheduler": scheduler, "generator": generator}
    run(model, optimizer, scheduler, 1, own_loader)
    fc_model.save_checkpoint(model, path, **pieces, epoch=0)
    first = run(model, optimizer, scheduler, 1, own_loader)
    saved = checkpoints.load(path)
    del saved["generator"], pieces["generator"]
    checkpoints.restore(saved, {"state_dict": model, **pieces})
    return first, run(model, optimizer, scheduler, 1, own_loader)
""",
        ),
    ],
    "4.3": [
        (
            "2 and 2 epochs are not the same as 4",
            """
def train_until(epochs, path):
    model, optimizer, scheduler = start(SEED)
    if path.exists():
        model.load_state_dict(checkpoints.load(path)["state_dict"])
    for epoch in range(epochs):
        run(model, optimizer, scheduler, 1, loader)
        fc_model.save_checkpoint(model, path, optimizer=optimizer, scheduler=scheduler, epoch=epoch)
    return model
""",
        ),
        (
            "2 and 2 epochs are not the same as 4",
            """
def train_until(epochs, path):
    model, optimizer, scheduler = start(SEED)
    first = 0
    if path.exists():
        pieces = {"state_dict": model, "optimizer": optimizer, "scheduler": scheduler}
        first = checkpoints.restore(checkpoints.load(path), pieces)["epoch"]
    for epoch in range(first, epochs):
        run(model, optimizer, scheduler, 1, loader)
        fc_model.save_checkpoint(model, path, optimizer=optimizer, scheduler=scheduler, epoch=epoch)
    return model
""",
        ),
        (
            "2 and 2 epochs are not the same as 4",
            """
def train_until(epochs, path):
    model, optimizer, scheduler = start(SEED)
    first = 0
    if path.exists():
        model = fc_model.load_checkpoint(path).train()
        pieces = {"state_dict": model, "optimizer": optimizer, "scheduler": scheduler}
        first = checkpoints.restore(checkpoints.load(path), pieces)["epoch"] + 1
    for epoch in range(first, epochs):
        run(model, optimizer, scheduler, 1, loader)
        fc_model.save_checkpoint(model, path, optimizer=optimizer, scheduler=scheduler, epoch=epoch)
    return model
""",
        ),
        (
            "after a stop in the third epoch the file must say epoch 1",
            """
def train_until(epochs, path):
    model, optimizer, scheduler = start(SEED)
    first = 0
    if path.exists():
        pieces = {"state_dict": model, "optimizer": optimizer, "scheduler": scheduler}
        first = checkpoints.restore(checkpoints.load(path), pieces)["epoch"] + 1
    run(model, optimizer, scheduler, epochs - first, loader)
    fc_model.save_checkpoint(model, path, optimizer=optimizer, scheduler=scheduler, epoch=epochs - 1)
    return model
""",
        ),
    ],
    "4.4": [
        (
            "something is left behind",
            """
def save_safely(thing, path):
    temporary = path.with_name(path.name + ".tmp")
    torch.save(thing, temporary)
    os.replace(temporary, path)
""",
        ),
        (
            "the error of torch.save must come out",
            """
def save_safely(thing, path):
    temporary = path.with_name(path.name + ".tmp")
    try:
        torch.save(thing, temporary)
        os.replace(temporary, path)
    except Exception:
        temporary.unlink(missing_ok=True)
""",
        ),
        (
            "FileNotFoundError: …",
            """
def save_safely(thing, path):
    temporary = path.with_name(path.name + ".tmp")
    try:
        torch.save(thing, temporary)
        path.unlink(missing_ok=True)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
""",
        ),
        (
            "the .tmp must lie in the folder of path: another may be on another disk",
            """
def save_safely(thing, path):
    with tempfile.TemporaryDirectory() as elsewhere:
        temporary = Path(elsewhere) / path.name
        torch.save(thing, temporary)
        os.replace(temporary, path)
""",
        ),
    ],
    "5.1": [
        (
            "the convolution lies three levels down",
            """
def find(model, kind):
    return {name: module for name, module in model.named_children() if isinstance(module, kind)}
""",
        ),
        (
            "the model itself counts too",
            """
def find(model, kind):
    return {name: module for name, module in model.named_modules() if name and isinstance(module, kind)}
""",
        ),
        (
            "a Linear is a Module too: use isinstance",
            """
def find(model, kind):
    return {name: module for name, module in model.named_modules() if type(module) is kind}
""",
        ),
    ],
    "5.2": [
        (
            "the values must be arrays",
            """
def snapshot(model):
    return copy.deepcopy(model.state_dict())
""",
        ),
        (
            "parameters and buffers must all be there",
            """
def snapshot(model):
    return {name: parameter.detach().numpy().copy() for name, parameter in model.named_parameters()}
""",
        ),
        (
            "a buffer went on with the model",
            """
def snapshot(model):
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}
""",
        ),
    ],
    "5.3": [
        (
            "it must be the same parameter",
            """
def prune(layer, share):
    weight = layer.weight.detach().clone()
    order = weight.abs().flatten().argsort()
    weight.view(-1)[order[: round(share * len(order))]] = 0
    layer.weight = nn.Parameter(weight)
""",
        ),
        (
            "the smallest must go, + or -, and the others stay",
            """
def prune(layer, share):
    order = layer.weight.detach().flatten().argsort()
    with torch.no_grad():
        layer.weight.view(-1)[order[: round(share * len(order))]] = 0
""",
        ),
        (
            "RuntimeError: a leaf Variable that requires grad is being used in an in-place operation.",
            """
def prune(layer, share):
    limit = layer.weight.abs().flatten().sort().values[round(share * layer.weight.numel()) - 1]
    layer.weight[layer.weight.abs() <= limit] = 0
""",
        ),
        (
            "of 320 weights 0 must be zero",
            """
def prune(layer, share):
    size = layer.weight.detach().abs()
    with torch.no_grad():
        layer.weight[size <= size.quantile(share)] = 0
""",
        ),
    ],
    "5.4": [
        (
            "with body frozen these should move: ['head.weight', 'head.bias']",
            """
def freeze(model, path):
    model.get_submodule(path).requires_grad_(False)
""",
        ),
        (
            "with head frozen these should move: ['body.0.weight', 'body.1.weight', 'body.1.bias', …",
            """
def freeze(model, path):
    model.get_submodule(path).requires_grad_(False)
    model.eval()
""",
        ),
    ],
    "6.1": [
        (
            "the last window must leave a number to predict",
            """
class Windows(Dataset):
    def __init__(self, series, width):
        self.series, self.width = series, width

    def __len__(self):
        return len(self.series) - self.width + 1

    def __getitem__(self, i):
        return self.series[i : i + self.width], self.series[i + self.width]
""",
        ),
        (
            "one number, the one after the window",
            """
class Windows(Dataset):
    def __init__(self, series, width):
        self.series, self.width = series, width

    def __len__(self):
        return len(self.series) - self.width

    def __getitem__(self, i):
        return self.series[i : i + self.width], self.series[i + self.width : i + self.width + 1]
""",
        ),
        (
            "the last window must leave a number to predict",
            """
class Windows(Dataset):
    def __init__(self, series, width):
        self.series, self.width = series, width

    def __len__(self):
        return len(self.series) - 3

    def __getitem__(self, i):
        return self.series[i : i + self.width], self.series[i + self.width]
""",
        ),
    ],
    "6.2": [
        (
            "the result must be a float",
            """
def mean_loss(net, loader):
    total, count = 0.0, 0
    for xs, ys in loader:
        total += nn.functional.mse_loss(net(xs), ys) * len(xs)
        count += len(xs)
    return total / count
""",
        ),
        (
            "two batches that hold only 50 of the points",
            """
def mean_loss(net, loader):
    return sum(nn.functional.mse_loss(net(xs), ys).item() * len(xs) for xs, ys in loader) / len(x)
""",
        ),
        (
            "AttributeError: 'list' object has no attribute 'dataset'",
            """
def mean_loss(net, loader):
    total = sum(nn.functional.mse_loss(net(xs), ys).item() * len(xs) for xs, ys in loader)
    return total / len(loader.dataset)
""",
        ),
    ],
    "6.3": [
        (
            "same epoch, same order; other epoch, other order",
            """
def batches_from(dataset, epoch, done):
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(SEED)).tolist()
    lists = [order[i : i + 32] for i in range(0, len(order), 32)]
    return DataLoader(dataset, batch_sampler=lists[done:])
""",
        ),
        (
            "an epoch must have each sample once",
            """
def batches_from(dataset, epoch, done):
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(SEED + epoch)).tolist()
    lists = [order[i : i + 32] for i in range(0, len(order) - 31, 32)]
    return DataLoader(dataset, batch_sampler=lists[done:])
""",
        ),
        (
            "100 samples were fetched for that",
            """
def batches_from(dataset, epoch, done):
    generator = torch.Generator().manual_seed(SEED + epoch)
    return islice(DataLoader(dataset, batch_size=32, shuffle=True, generator=generator), done, None)
""",
        ),
        (
            "leave torch's global random state alone",
            """
def batches_from(dataset, epoch, done):
    order = torch.randperm(len(dataset), generator=torch.manual_seed(SEED + epoch)).tolist()
    lists = [order[i : i + 32] for i in range(0, len(order), 32)]
    return DataLoader(dataset, batch_sampler=lists[done:])
""",
        ),
    ],
    "6.4": [
        (
            "all the samples must have a chance",
            """
def balanced(labels, count):
    return WeightedRandomSampler(1 / labels.bincount(), count)
""",
        ),
        (
            "count is how many indices are drawn",
            """
def balanced(labels, count):
    return WeightedRandomSampler(1 / labels.bincount()[labels], len(labels))
""",
        ),
        (
            "the shares are [0.9…",
            """
def balanced(labels, count):
    return WeightedRandomSampler(labels.bincount()[labels], count)
""",
        ),
        (
            "each pass must draw anew, and a list does not",
            """
def balanced(labels, count):
    return list(WeightedRandomSampler(1 / labels.bincount()[labels], count))
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
            "beside the tensors this came back: {'input_size': 784, 'output_size': 10, 'hidden_layers': [8, 6]}",
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
            "beside the tensors this came back: {'input_size': 784, 'output_size': 10, 'hidden_layers': [8, 6], …",
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
    "1.3": [
        """
def needs_code(path):
    return len(get_unsafe_globals_in_checkpoint(str(path))) > 0
""",
    ],
    "2.2": [
        """
class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.count = nn.Buffer(torch.zeros(1, dtype=torch.int64))

    def forward(self, x):
        self.count = self.count + 1
        return x
""",
    ],
    "2.3": [
        """
class Hidden(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, x):
        return self.layers(x)
""",
    ],
    "2.4": [
        """
def fit_and_keep_best(net, optimizer, steps=50):
    best_loss, best = float("inf"), None
    for _ in range(steps):
        loss = loss_on(to_choose, net).item()
        if loss < best_loss:
            best_loss, best = loss, {key: tensor.clone() for key, tensor in net.state_dict().items()}
        optimizer.zero_grad()
        loss_on(to_fit, net).backward()
        optimizer.step()
    return best_loss, best
""",
    ],
    "3.2": [
        """
def load_or_leave(model, state_dict):
    if checkpoints.diff(model, state_dict):
        raise RuntimeError("it does not fit")
    model.load_state_dict(state_dict)
""",
        """
def load_or_leave(model, state_dict):
    before = copy.deepcopy(model.state_dict())
    try:
        model.load_state_dict(state_dict)
    except RuntimeError:
        model.load_state_dict(before)
        raise
""",
    ],
    "3.3": [
        """
def unwrap(state_dict):
    result = dict(state_dict)
    while any(key.startswith(("module.", "_orig_mod.")) for key in result):
        for prefix in ("module.", "_orig_mod."):
            consume_prefix_in_state_dict_if_present(result, prefix)
    return result
""",
        r"""
def unwrap(state_dict):
    return {re.sub(r"^((module|_orig_mod)\.)+", "", key): state_dict[key] for key in state_dict}
""",
    ],
    "3.4": [
        """
def load_what_fits(model, state_dict):
    left = []
    for key, tensor in model.state_dict().items():
        if key in state_dict and state_dict[key].shape == tensor.shape:
            tensor.copy_(state_dict[key])
        else:
            left.append(key)
    return left
""",
    ],
    "4.1": [
        """
def save_mended(model, path):
    fc_model.save_checkpoint(model, path)


def load_mended(path):
    return fc_model.load_checkpoint(path)
""",
    ],
    "4.3": [
        """
def train_until(epochs, path):
    model, optimizer, scheduler = start(SEED)
    pieces = {"optimizer": optimizer, "scheduler": scheduler}
    done = 0
    if path.exists():
        saved = checkpoints.load(path)
        model.load_state_dict(saved["state_dict"])
        for name, piece in pieces.items():
            piece.load_state_dict(saved[name])
        torch.set_rng_state(saved["random state"])
        done = saved["epoch"] + 1
    while done < epochs:
        run(model, optimizer, scheduler, 1, loader)
        state = {"random state": torch.get_rng_state(), "epoch": done}
        fc_model.save_checkpoint(model, path, **pieces, **state)
        done += 1
    return model
""",
    ],
    "4.4": [
        """
def save_safely(thing, path):
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            torch.save(thing, file)
            file.flush()
            os.rename(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
""",
        """
def save_safely(thing, path):
    with tempfile.TemporaryDirectory(dir=path.parent) as place:
        temporary = Path(place) / path.name
        torch.save(thing, temporary)
        temporary.replace(path)
""",
    ],
    "5.1": [
        """
def find(model, kind, path=""):
    found = {path: model} if isinstance(model, kind) else {}
    for name, child in model.named_children():
        found |= find(child, kind, f"{path}.{name}" if path else name)
    return found
""",
    ],
    "5.2": [
        """
def snapshot(model):
    return {name: tensor.numpy() for name, tensor in copy.deepcopy(model.state_dict()).items()}
""",
    ],
    "5.3": [
        """
@torch.no_grad()
def prune(layer, share):
    size = layer.weight.abs()
    if count := round(share * size.numel()):
        layer.weight *= size > size.flatten().kthvalue(count).values
""",
    ],
    "5.4": [
        """
def freeze(model, path):
    part = dict(model.named_modules())[path].eval()
    for parameter in part.parameters():
        parameter.requires_grad = False
""",
    ],
    "6.2": [
        """
def mean_loss(net, loader):
    xs, ys = (torch.cat(parts) for parts in zip(*loader))
    return float(nn.functional.mse_loss(net(xs), ys))
""",
    ],
    "6.3": [
        """
def batches_from(dataset, epoch, done):
    with torch.random.fork_rng():
        torch.manual_seed(SEED + epoch)
        order = torch.randperm(len(dataset))
    return DataLoader(dataset, batch_sampler=[part.tolist() for part in order.split(32)[done:]])
""",
        """
def batches_from(dataset, epoch, done):
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(SEED + epoch))
    return DataLoader(dataset, batch_size=32, sampler=order[32 * done :].tolist())
""",
    ],
    "6.4": [
        """
def balanced(labels, count):
    weights = [1 / (labels == label).sum().item() for label in labels]
    return WeightedRandomSampler(weights, count, generator=torch.Generator().manual_seed(SEED))
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

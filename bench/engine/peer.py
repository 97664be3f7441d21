"""The networks of bench/engine.c in PyTorch: pictures a second in training and inference.

peer.py [OPTION]... NETWORK SIDE BATCH    (peer.py --help)

A step and an inference are those of engine.c: both begin with uint8 pictures in the host's memory
and end with the outputs there.  On a GPU that memory is pinned and nothing waits for a copy, and
bf16 is autocast: weights stay float32.  Prints one line: training and inference in pictures a
second, memory of the step in MB (on a GPU what PyTorch's allocator held at most, on the CPU what
the process grew by).  Written for PyTorch 1.13 (CPU) to 2.11.
"""
import argparse
import resource
import time

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    """A basic block of a residual network."""

    def __init__(self, a, b, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b)
        self.conv2, self.bn2 = nn.Conv2d(b, b, 3, 1, 1, bias=False), nn.BatchNorm2d(b)
        self.down = None
        if stride != 1 or a != b:
            self.down = nn.Sequential(nn.Conv2d(a, b, 1, stride, bias=False), nn.BatchNorm2d(b))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.down is None else self.down(x)))


def resnet18(classes):
    """With the stem for small pictures: 3x3, stride 1, no pooling."""
    layers, a = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()], 64
    for b, stride in (64, 1), (128, 2), (256, 2), (512, 2):
        layers += [Block(a, b, stride), Block(b, b, 1)]
        a = b
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))


class Layer(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(d, eps=1e-6), nn.LayerNorm(d, eps=1e-6)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.fc1, self.fc2 = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x):
        n, t, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if hasattr(F, 'scaled_dot_product_attention'):
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            y = ((q @ k.transpose(-2, -1)) * (d // self.heads) ** -0.5).softmax(-1) @ v
        x = x + self.proj(y.transpose(1, 2).reshape(n, t, d))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Vit(nn.Module):
    """ViT-Ti/16."""

    def __init__(self, side, classes, d=192, depth=12, heads=3):
        super().__init__()
        self.patch = nn.Conv2d(3, d, 16, 16)
        self.cls = nn.Parameter(torch.zeros(1, 1, d))
        self.pos = nn.Parameter(torch.zeros(1, (side // 16) ** 2 + 1, d))
        self.blocks = nn.Sequential(*[Layer(d, heads) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(d, eps=1e-6), nn.Linear(d, classes)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.pos
        return self.head(self.norm(self.blocks(x))[:, 0])


def speednet(name, side, classes):
    """The narrow network for small pictures."""
    layers, a = [nn.Conv2d(3, 24, 2), nn.GELU()], 24
    layers[0].weight.requires_grad_(False)
    side -= 1
    for b in map(int, name.split('-')[1:]):
        layers += [nn.Conv2d(a, b, 3, 1, 1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(b), nn.GELU(),
                   nn.Conv2d(b, b, 3, 1, 1, bias=False), nn.BatchNorm2d(b), nn.GELU()]
        a, side = b, side // 2
    return nn.Sequential(*layers, nn.MaxPool2d(side), nn.Flatten(), nn.Linear(a, classes))


def rate(step, batch, seconds, device):
    sync = torch.cuda.synchronize if device == 'cuda' else lambda: None
    for _ in range(3):
        step()
    sync()
    if device == 'cuda':
        torch.cuda.reset_peak_memory_stats()
    start, n = time.monotonic(), 0
    while n < 1 or time.monotonic() - start < seconds:
        step()
        n += 1
        if n % 8 == 0:
            sync()
    sync()
    return n * batch / (time.monotonic() - start)


def options():
    parser = argparse.ArgumentParser(description='Pictures a second of a network in PyTorch.')
    parser.add_argument('network', help='resnet18, vit-ti or speednet-A-B-C; or about')
    parser.add_argument('side', type=int, nargs='?')
    parser.add_argument('batch', type=int, nargs='?')
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    parser.add_argument('--precision', choices=['float32', 'tf32', 'bf16'], default='float32')
    parser.add_argument('--compile', action='store_true', help='torch.compile')
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    parser.add_argument('--seconds', type=float, default=8)
    o = parser.parse_args()
    if o.network != 'about' and o.batch is None:
        parser.error('SIDE and BATCH are wanted')
    return o


def about(o):
    line = 'PyTorch ' + torch.__version__
    if o.device == 'cuda':
        return '%s, %s, CUDA %s, cuDNN %s' % (line, torch.cuda.get_device_name(), torch.version.cuda,
                                              torch.backends.cudnn.version())
    return line + (', oneDNN' if torch.backends.mkldnn.is_available() else ', no oneDNN')


def set_up(o):
    torch.set_num_threads(o.threads)
    torch.manual_seed(1)
    if o.device == 'cuda':
        torch.backends.cuda.matmul.allow_tf32 = o.precision == 'tf32'
        torch.backends.cudnn.allow_tf32 = o.precision == 'tf32'
        torch.backends.cudnn.benchmark = True


def build(o):
    if o.network == 'resnet18':
        return resnet18(10)
    if o.network == 'vit-ti':
        return Vit(o.side, 10)
    return speednet(o.network, o.side, 10)


def main():
    o = options()
    if o.network == 'about':
        print(about(o))
        return
    set_up(o)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = build(o).to(o.device)
    maps = o.network != 'vit-ti'  # convolutions all through: channels last is faster
    if maps:
        model = model.to(memory_format=torch.channels_last)
    x = torch.randint(0, 256, (o.batch, 3, o.side, o.side), dtype=torch.uint8)
    out = torch.empty(o.batch, 10)
    if o.device == 'cuda':
        x, out = x.pin_memory(), out.pin_memory()
    y = torch.arange(o.batch, device=o.device) % 10
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 1e-4, 0.9, 0, 5e-4, nesterov=True)
    run = torch.compile(model) if o.compile else model
    half = torch.autocast(o.device, torch.bfloat16, enabled=o.precision == 'bf16')

    def inputs():
        z = (x.to(o.device, non_blocking=True).float() / 255 - 0.5) / 0.25
        return z.to(memory_format=torch.channels_last) if maps else z

    def train():
        optimiser.zero_grad(set_to_none=True)
        with half:
            loss = F.cross_entropy(run(inputs()).float(), y)
        loss.backward()
        optimiser.step()

    def infer():
        with torch.inference_mode(), half:
            out.copy_(run(inputs()), non_blocking=True)

    model.train()
    trained = rate(train, o.batch, o.seconds, o.device)
    if o.device == 'cuda':
        memory = torch.cuda.max_memory_allocated() / 1e6
    else:
        memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 1e6
    model.eval()
    print('%.1f %.1f %.0f' % (trained, rate(infer, o.batch, o.seconds, o.device), memory))


if __name__ == '__main__':
    main()

"""The same networks in PyTorch: pictures a second in training and inference.

peer.py NETWORK SIDE BATCH THREADS SECONDS [DEVICE [MODE]]
    NETWORK  resnet18, vit-ti or speednet-A-B-C
    DEVICE   cpu (default) or cuda; MODE float32 (default), bf16, compile (bf16 and torch.compile)
Prints training and inference in pictures a second and the memory of the step in MB.
"""
import resource
import sys
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


def rate(step, batch, seconds, sync):
    for _ in range(2):
        step()
    sync()
    start, n = time.monotonic(), 0
    while n < 1 or time.monotonic() - start < seconds:
        step()
        n += 1
        if n % 8 == 0:
            sync()
    sync()
    return n * batch / (time.monotonic() - start)


def main():
    name, side, batch, threads, seconds = sys.argv[1], *map(int, sys.argv[2:5]), float(sys.argv[5])
    device = sys.argv[6] if len(sys.argv) > 6 else 'cpu'
    mode = sys.argv[7] if len(sys.argv) > 7 else 'float32'
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = resnet18(10) if name == 'resnet18' else Vit(side, 10) if name == 'vit-ti' else speednet(name, side, 10)
    model = model.to(device)
    if name != 'vit-ti':
        model = model.to(memory_format=torch.channels_last)
    x = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8, device=device)
    y = torch.arange(batch, device=device) % 10
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 1e-4, 0.9, 0, 5e-4, nesterov=True)
    run = torch.compile(model) if mode == 'compile' else model
    half = torch.autocast(device, torch.bfloat16, enabled=mode != 'float32')
    sync = torch.cuda.synchronize if device == 'cuda' else lambda: None

    def inputs():
        z = (x.float() / 255 - 0.5) / 0.25
        return z if name == 'vit-ti' else z.to(memory_format=torch.channels_last)

    def train():
        optimiser.zero_grad(set_to_none=True)
        with half:
            loss = F.cross_entropy(run(inputs()).float(), y)
        loss.backward()
        optimiser.step()

    def infer():
        with torch.inference_mode(), half:
            run(inputs())

    model.train()
    trained = rate(train, batch, seconds, sync)
    if device == 'cuda':
        memory = torch.cuda.max_memory_allocated() / 1e6
    else:
        memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 1e6
    model.eval()
    print('%.1f %.1f %.0f' % (trained, rate(infer, batch, seconds, sync), memory))


if __name__ == '__main__':
    main()

"""The networks of bench/encode.c in PyTorch: pictures a second in inference.

peer.py NETWORK BATCH SECONDS DEVICE PRECISION
    NETWORK    resnet18 or vit-ti, 224 x 224, 64 outputs
    DEVICE     cpu or cuda
    PRECISION  float32, bf16 or fp16 (weights, too)
Pictures begin as uint8 in the host's memory and outputs end there; on a GPU that memory is pinned
and nothing waits for a copy.
"""
import os
import sys

import torch
from torch import nn

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'engine'))
from peer import Block, Vit, rate


def resnet18(outputs):
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    a = 64
    for b, stride in (64, 1), (128, 2), (256, 2), (512, 2):
        layers += [Block(a, b, stride), Block(b, b, 1)]
        a = b
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, outputs))


def main():
    name, batch, seconds, device, precision = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), *sys.argv[4:6]
    kind = {'float32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}[precision]
    maps = name != 'vit-ti'
    if device == 'cuda':
        torch.backends.cudnn.benchmark = True
    torch.manual_seed(1)
    model = (resnet18(64) if maps else Vit(224, 64)).eval().to(device=device, dtype=kind)
    x, out = torch.randint(0, 256, (batch, 3, 224, 224), dtype=torch.uint8), torch.empty(batch, 64, dtype=kind)
    if maps:
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    if device == 'cuda':
        x, out = x.pin_memory(), out.pin_memory()

    def infer():
        with torch.inference_mode():
            y = (x.to(device, non_blocking=True).to(kind) / 255 - 0.5) / 0.25
            out.copy_(model(y), non_blocking=True)

    print('%.1f' % rate(infer, batch, seconds, device))


if __name__ == '__main__':
    main()

"""Small networks for sequences, each with one kind of wiring that a pruner has to follow."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SharedModule(nn.Module):
    """One weight under two names (embedding and output) and one layer in two branches."""

    def __init__(self):
        super().__init__()
        self.embed, self.hidden, self.out = nn.Embedding(30, 16), nn.Linear(16, 24), nn.Linear(24, 16)
        self.first = self.second = nn.Linear(16, 16)
        self.vocabulary = nn.Linear(16, 30)
        self.vocabulary.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.out(F.relu(self.hidden(self.embed(ids))))
        return self.vocabulary(self.first(x) + F.relu(self.second(F.relu(x))))


class LSTM(nn.Module):
    """A two-layer bidirectional LSTM between an embedding and a linear layer."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(30, 16)
        self.lstm = nn.LSTM(16, 12, num_layers=2, bidirectional=True, batch_first=True)
        self.out = nn.Linear(24, 5)

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(self.lstm(self.embed(ids))[0])


class Experts(nn.Module):
    """A gated mixture of experts with stacked weights: top two of four, looked up per token."""

    def __init__(self):
        super().__init__()
        self.top_k, self.router = 2, nn.Linear(16, 4, bias=False)
        self.up, self.down = (nn.Parameter(0.3 * torch.randn(4, *size)) for size in ((16, 24), (24, 16)))

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, 1)
        weights, chosen = self.router(rows).softmax(-1).topk(self.top_k, -1)
        inner = torch.einsum("nd,nkdf->nkf", rows, self.up[chosen]).relu()
        out = torch.einsum("nkf,nkfd->nkd", inner, self.down[chosen])
        return (out * weights.unsqueeze(-1)).sum(1).view_as(x)


class MultiheadAttention(nn.Module):
    """nn.MultiheadAttention and an MLP, both with a residual."""

    def __init__(self):
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(32), nn.MultiheadAttention(32, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))
        self.out = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return self.out(x + self.mlp(x))


class FusedAttention(nn.Module):
    """Queries, keys and values of one linear layer, its rows ordered 3·H·D or H·3·D."""

    def __init__(self, heads_first: bool):
        super().__init__()
        self.heads, self.size, self.heads_first = 4, 8, heads_first
        self.embed, self.norm = nn.Linear(20, 32), nn.LayerNorm(32)
        self.qkv, self.project = nn.Linear(32, 96), nn.Linear(32, 32)
        self.out = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        batch, length, _ = x.shape
        qkv = self.qkv(self.norm(x))
        if self.heads_first:
            qkv = qkv.view(batch, length, self.heads, 3, self.size).permute(3, 0, 2, 1, 4)
        else:
            qkv = qkv.view(batch, length, 3, self.heads, self.size).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        mixed = F.softmax(query @ key.transpose(-2, -1) * self.size**-0.5, -1) @ value
        return self.out(x + self.project(mixed.transpose(1, 2).reshape(batch, length, -1)))

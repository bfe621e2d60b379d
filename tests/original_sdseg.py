"""The original SDSeg's networks stated anew in plain torch, under its own names.

Small enough to read beside the published description, and independent of what the project builds on:
what a converted checkpoint computes is held against what these compute.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

GROUPS = 32


def norm(channels: int, eps: float) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, channels, eps=eps)


# ------------------------------------------------------------------ the denoiser


class ResBlock(nn.Module):
    def __init__(self, cin: int, emb: int, cout: int, resample: str = "", shift: bool = True) -> None:
        super().__init__()
        self.resample, self.shift = resample, shift
        self.in_layers = nn.Sequential(norm(cin, 1e-5), nn.SiLU(), nn.Conv2d(cin, cout, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb, 2 * cout if shift else cout))
        self.out_layers = nn.Sequential(
            norm(cout, 1e-5), nn.SiLU(), nn.Dropout(0.2), nn.Conv2d(cout, cout, 3, padding=1)
        )
        self.skip_connection = nn.Identity() if cin == cout else nn.Conv2d(cin, cout, 1)

    def sized(self, x: torch.Tensor) -> torch.Tensor:
        if self.resample == "down":
            return F.avg_pool2d(x, 2)
        return F.interpolate(x, scale_factor=2, mode="nearest") if self.resample == "up" else x

    def forward(self, x: torch.Tensor, emb: torch.Tensor) -> torch.Tensor:
        h = self.in_layers[2](self.sized(self.in_layers[1](self.in_layers[0](x))))
        e = self.emb_layers(emb)[:, :, None, None]
        if self.shift:
            scale, shift = e.chunk(2, dim=1)
            h = self.out_layers[1:](self.out_layers[0](h) * (1 + scale) + shift)
        else:
            h = self.out_layers(h + e)
        return self.skip_connection(self.sized(x)) + h


class AttentionBlock(nn.Module):
    """Queries, keys and values of a head lie together, head after head."""

    def __init__(self, channels: int, heads: int, head_first: bool = True) -> None:
        super().__init__()
        self.heads, self.head_first = heads, head_first
        self.norm = norm(channels, 1e-5)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, height, width = x.shape
        flat, d = x.reshape(n, c, -1), c // self.heads
        qkv = self.qkv(self.norm(flat))
        if self.head_first:
            q, k, v = qkv.reshape(n * self.heads, 3 * d, -1).split(d, dim=1)
        else:
            q, k, v = (p.reshape(n * self.heads, d, -1) for p in qkv.chunk(3, dim=1))
        scale = 1 / math.sqrt(math.sqrt(d))
        weight = torch.einsum("bct,bcs->bts", q * scale, k * scale).softmax(dim=-1)
        drawn = torch.einsum("bts,bcs->bct", weight, v).reshape(n, c, -1)
        return (flat + self.proj_out(drawn)).reshape(n, c, height, width)


class Blocks(nn.Sequential):
    def forward(self, x: torch.Tensor, emb: torch.Tensor) -> torch.Tensor:
        for layer in self:
            x = layer(x, emb) if isinstance(layer, ResBlock) else layer(x)
        return x


class UNet(nn.Module):
    def __init__(self, s: dict[str, Any]) -> None:
        super().__init__()
        base, emb = s["model_channels"], 4 * s["model_channels"]
        self.base = base
        self.time_embed = nn.Sequential(nn.Linear(base, emb), nn.SiLU(), nn.Linear(emb, emb))
        if s.get("num_classes"):
            self.label_emb = nn.Embedding(s["num_classes"], emb)
        shift = s.get("use_scale_shift_norm", False)

        def attention(width: int) -> AttentionBlock:
            heads = s.get("num_heads") if s.get("num_head_channels", -1) == -1 else None
            return AttentionBlock(
                width,
                heads or width // s["num_head_channels"],
                not s.get("use_new_attention_order", False),
            )

        blocks = [Blocks(nn.Conv2d(s["in_channels"], base, 3, padding=1))]
        widths, width, levels, side = [base], base, len(s["channel_mult"]), 1
        for level, mult in enumerate(s["channel_mult"]):
            for _ in range(s["num_res_blocks"]):
                layers: list[nn.Module] = [ResBlock(width, emb, mult * base, shift=shift)]
                width = mult * base
                if side in s["attention_resolutions"]:
                    layers.append(attention(width))
                blocks.append(Blocks(*layers))
                widths.append(width)
            if level < levels - 1:
                blocks.append(Blocks(ResBlock(width, emb, width, "down", shift)))
                widths.append(width)
                side *= 2
        self.input_blocks = nn.ModuleList(blocks)
        self.middle_block = Blocks(
            ResBlock(width, emb, width, shift=shift),
            attention(width),
            ResBlock(width, emb, width, shift=shift),
        )
        outputs = []
        for level, mult in reversed(list(enumerate(s["channel_mult"]))):
            for i in range(s["num_res_blocks"] + 1):
                layers = [ResBlock(width + widths.pop(), emb, mult * base, shift=shift)]
                width = mult * base
                if side in s["attention_resolutions"]:
                    layers.append(attention(width))
                if level and i == s["num_res_blocks"]:
                    layers.append(ResBlock(width, emb, width, "up", shift))
                    side //= 2
                outputs.append(Blocks(*layers))
        self.output_blocks = nn.ModuleList(outputs)
        self.out = nn.Sequential(
            norm(width, 1e-5), nn.SiLU(), nn.Conv2d(width, s["out_channels"], 3, padding=1)
        )

    def forward(
        self, x: torch.Tensor, t: torch.Tensor, classes: torch.Tensor | None = None
    ) -> torch.Tensor:
        half = self.base // 2
        frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / half)
        angles = t[:, None].float() * frequencies[None]
        emb = self.time_embed(torch.cat([angles.cos(), angles.sin()], dim=-1).to(x.dtype))
        if classes is not None:
            emb = emb + self.label_emb(classes)
        kept = []
        for block in self.input_blocks:
            x = block(x, emb)
            kept.append(x)
        x = self.middle_block(x, emb)
        for block in self.output_blocks:
            x = block(torch.cat([x, kept.pop()], dim=1), emb)
        return self.out(x)


# ------------------------------------------------------------------ the autoencoder


class ResnetBlock(nn.Module):
    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = norm(cin, 1e-6), nn.Conv2d(cin, cout, 3, padding=1)
        self.norm2, self.conv2 = norm(cout, 1e-6), nn.Conv2d(cout, cout, 3, padding=1)
        if cin != cout:
            self.nin_shortcut = nn.Conv2d(cin, cout, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        return (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x) + h


class AttnBlock(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.norm = norm(c, 1e-6)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(c, c, 1) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, height, width = x.shape
        y = self.norm(x)
        q, k, v = (m(y).reshape(n, c, -1) for m in (self.q, self.k, self.v))
        weight = (torch.bmm(q.transpose(1, 2), k) * c**-0.5).softmax(dim=2)
        drawn = torch.bmm(v, weight.transpose(1, 2)).reshape(n, c, height, width)
        return x + self.proj_out(drawn)


class Resample(nn.Module):
    def __init__(self, c: int, up: bool) -> None:
        super().__init__()
        self.up = up
        self.conv = nn.Conv2d(c, c, 3, padding=1) if up else nn.Conv2d(c, c, 3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.up:
            return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Middle(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.block_1, self.attn_1, self.block_2 = ResnetBlock(c, c), AttnBlock(c), ResnetBlock(c, c)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


def level(blocks: list[nn.Module], **resample: nn.Module) -> nn.Module:
    made = nn.Module()
    made.block = nn.ModuleList(blocks)
    for name, module in resample.items():
        setattr(made, name, module)
    return made


class Encoder(nn.Module):
    def __init__(self, s: dict[str, Any]) -> None:
        super().__init__()
        c = s["ch"]
        self.conv_in = nn.Conv2d(s["in_channels"], c, 3, padding=1)
        levels = []
        for i, mult in enumerate(s["ch_mult"]):
            blocks = []
            for _ in range(s["num_res_blocks"]):
                blocks.append(ResnetBlock(c, mult * s["ch"]))
                c = mult * s["ch"]
            last = i == len(s["ch_mult"]) - 1
            levels.append(level(blocks, **({} if last else {"downsample": Resample(c, False)})))
        self.down = nn.ModuleList(levels)
        self.mid = Middle(c)
        self.norm_out, self.conv_out = norm(c, 1e-6), nn.Conv2d(c, 2 * s["z_channels"], 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv_in(x)
        for part in self.down:
            for block in part.block:
                x = block(x)
            x = part.downsample(x) if hasattr(part, "downsample") else x
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class Decoder(nn.Module):
    def __init__(self, s: dict[str, Any]) -> None:
        super().__init__()
        c = s["ch"] * s["ch_mult"][-1]
        self.conv_in, self.mid = nn.Conv2d(s["z_channels"], c, 3, padding=1), Middle(c)
        levels: list[nn.Module] = []
        for i, mult in reversed(list(enumerate(s["ch_mult"]))):
            blocks = []
            for _ in range(s["num_res_blocks"] + 1):
                blocks.append(ResnetBlock(c, mult * s["ch"]))
                c = mult * s["ch"]
            levels.insert(0, level(blocks, **({"upsample": Resample(c, True)} if i else {})))
        self.up = nn.ModuleList(levels)
        self.norm_out, self.conv_out = norm(c, 1e-6), nn.Conv2d(c, s["out_ch"], 3, padding=1)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = self.mid(self.conv_in(z))
        for part in reversed(self.up):
            for block in part.block:
                x = block(x)
            x = part.upsample(x) if hasattr(part, "upsample") else x
        return self.conv_out(F.silu(self.norm_out(x)))


class Autoencoder(nn.Module):
    def __init__(self, s: dict[str, Any]) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(s), Decoder(s)
        z = s["z_channels"]
        self.quant_conv, self.post_quant_conv = nn.Conv2d(2 * z, 2 * z, 1), nn.Conv2d(z, z, 1)

    def moments(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, log_variance = self.quant_conv(self.encoder(x)).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.post_quant_conv(z))


class Embedder(nn.Module):
    def __init__(self, s: dict[str, Any]) -> None:
        super().__init__()
        self.encoder = Encoder(s)
        self.out = nn.Conv2d(2 * s["z_channels"], s["embed_dim"], 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.encoder(x))


class Original(nn.Module):
    """The three networks under the prefixes of a checkpoint."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        p = config["model"]["params"]
        self.model = nn.Module()
        self.model.diffusion_model = UNet(p["unet_config"]["params"])
        self.first_stage_model = Autoencoder(p["first_stage_config"]["params"]["ddconfig"])
        self.cond_stage_model = Embedder(p["cond_stage_config"]["params"])

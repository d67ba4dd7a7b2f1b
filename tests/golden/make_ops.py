"""Golden values and gradients of the ops, from PyTorch in float64.

    cd tests/golden && python3 make_ops.py        (made with PyTorch 1.13.1 of Debian 12, NumPy 1.24.2)

One file ops/<case>.npy per case: the output, then the gradient of each input that has one, flattened and joined,
all in voxgrad's layout (channels last, weights [kD,kH,kW,Ci,Co]). The inputs a, b, c, ... are draws 0, 1, 2, ... of
draws.py; the incoming gradient is draw 100. The same cases, by name, stand in tests/ops/*.cpp.
"""

import pathlib

import numpy as np
import torch
import torch.nn.functional as F

from draws import draw


def first(x):  # channels last -> first
    return x.movedim(-1, 1)


def last(x):
    return x.movedim(1, -1)


def conv(x, w, b=None, **options):
    return last(F.conv3d(first(x), w.permute(4, 3, 0, 1, 2), b, **options))


def conv_t(x, w, b=None, **options):
    return last(F.conv_transpose3d(first(x), w.permute(3, 4, 0, 1, 2), b, **options))


def norm(x, g, b, m, v, training, slope=1.0, momentum=0.1):
    y = last(F.batch_norm(first(x), None if m is None else m.clone(), None if v is None else v.clone(), g, b, training, momentum, 1e-5))
    return F.leaky_relu(y, slope) if slope != 1 else y


def running(x, m, v, momentum):
    m, v = m.clone(), v.clone()
    F.batch_norm(first(x), m, v, None, None, True, momentum, 1e-5)
    return torch.cat([m, v])


def block(x, w, g, b, slope):
    return norm(conv(x, w, padding=1), g, b, None, None, True, slope)


def fork(h, w, b):
    return torch.cat([last(F.max_pool3d(first(h), 2)).reshape(-1), conv(h, w, b, padding=1).reshape(-1)])


CASES = []


def case(name, line, *inputs, constant=""):
    """inputs: (shape, low, high, gap), the tail optional; constant: letters of inputs without a gradient."""
    CASES.append((name, line, inputs, constant))


# ---- pointwise
P = (3, 5, 7)
case("leaky_relu", "F.leaky_relu(a, 0.2)", (P, -3, 3, 0.05))
case("relu", "F.relu(a)", (P, -3, 3, 0.05))
case("sigmoid", "torch.sigmoid(a)", (P, -3, 3))
case("sigmoid_wide", "torch.sigmoid(a)", (P, -40, 40))
case("softplus", "F.softplus(a)", (P, -3, 3))
case("softplus_wide", "F.softplus(a, threshold=1e9)", (P, -600, 600))
case("tanh", "torch.tanh(a)", (P, -3, 3))
case("elu", "F.elu(a, 1.3)", (P, -3, 3, 0.05))
case("selu", "F.selu(a)", (P, -3, 3, 0.05))
case("gelu", "F.gelu(a)", (P, -6, 6))
case("hard_sigmoid", "torch.clamp(0.2 * a + 0.5, 0, 1)", (P, -4, 4))
case("exp", "torch.exp(a)", (P, -3, 3))
case("log", "torch.log(a)", (P, 0.1, 4))
case("sqrt", "torch.sqrt(a)", (P, 0.1, 4))
case("square", "torch.square(a)", (P, -3, 3))
case("abs", "torch.abs(a)", (P, -3, 3, 0.05))
case("clamp", "torch.clamp(a, -1, 1.5)", (P, -3, 3))
case("affine", "2.5 * a - 0.75", (P,))
case("scalar_left", "1.5 - (0.5 + 2 * a)", (P,))
case("scalar_right", "-((a - 1) / 4 * 3 + 2)", (P,))
case("one_element", "torch.tanh(a)", ((),))
BROADCAST = {"same": ((2, 3, 4), (2, 3, 4)), "vector": ((2, 3, 4), (4,)), "vector_left": ((4,), (2, 3, 4)),
             "cross": ((2, 1, 4), (1, 3, 1)), "scalar_left": ((), (2, 3)), "scalar_right": ((2, 3), ()),
             "outer": ((5, 1), (1, 6)), "six": ((2, 1, 2, 1, 2, 3), (1, 3, 1, 2, 1, 1)), "column": ((3, 5, 1), (5, 7))}
for op, sign in (("add", "+"), ("sub", "-"), ("mul", "*"), ("div", "/")):
    for form, (sa, sb) in BROADCAST.items():
        case(f"{op}_{form}", f"a {sign} b", (sa,), (sb, 0.5, 2))
case("mul_self", "a * a * a", ((3, 4),))

# ---- reductions and shapes
R = (3, 4, 5)
case("sum_all", "a.sum()", (R,))
case("sum_first", "a.sum(0)", (R,))
case("sum_middle", "a.sum(1)", (R,))
case("sum_last", "a.sum(-1)", (R,))
case("sum_outer", "a.sum((0, 2))", (R,))
case("sum_channels", "a.sum((0, 1, 2, 3))", ((2, 3, 4, 5, 6),))
case("sum_six", "a.sum((1, 3, 5))", ((2, 3, 2, 1, 3, 2),))
case("mean_all", "a.mean()", (R,))
case("mean_last", "a.mean(-1)", (R,))
case("mean_outer", "a.mean((0, 2))", (R,))
case("reshape", "a.reshape(4, 6)", ((2, 3, 4),))
case("concat_last", "torch.cat([a, b, c], -1)", ((2, 3, 4),), ((2, 3, 2),), ((2, 3, 1),))
case("concat_first", "torch.cat([a, b], 0)", ((2, 3),), ((4, 3),))
case("concat_channels", "torch.cat([a, b], -1)", ((2, 2, 3, 2, 8),), ((2, 2, 3, 2, 5),))
case("concat_same", "torch.cat([a, a], 1)", ((2, 3, 2),))
case("pad", "F.pad(a, (2, 1, 0, 3, 1, 0))", ((2, 3, 4),))
case("pad_and_crop", "F.pad(a, (2, -1, 0, 1, -1, 1))", ((2, 3, 4),))
case("crop", "a[0:1, 1:3, 2:4]", ((2, 3, 4),))
case("crop_volume", "a[:, 1:3, 0:2, 2:5, :]", ((2, 4, 3, 5, 3),))

# ---- losses
case("mse_loss", "F.mse_loss(a, b)", ((4, 5),), ((4, 5),), constant="b")
case("mse_with_logits_loss", "F.mse_loss(torch.sigmoid(a), b)", ((4, 5), -4, 4), ((4, 5), 0, 1), constant="b")
case("bce_loss", "F.binary_cross_entropy(a, b)", ((4, 5), 0.02, 0.98), ((4, 5), 0, 1), constant="b")
case("bce_with_logits_loss", "F.binary_cross_entropy_with_logits(a, b)", ((4, 5), -4, 4), ((4, 5), 0, 1), constant="b")
case("bce_with_logits_loss_wide", "F.binary_cross_entropy_with_logits(a, b)", ((4, 5), -900, 900), ((4, 5), 0, 1), constant="b")

# ---- matrix products
case("matmul", "a @ b", ((5, 7),), ((7, 3),))
case("matmul_one", "a @ b", ((1, 1),), ((1, 1),))
case("matmul_odd", "a @ b", ((17, 9),), ((9, 8),))
case("linear", "a @ b + c", ((4, 6),), ((6, 3),), ((3,),))
case("linear_no_bias", "a @ b", ((4, 6),), ((6, 3),))

# ---- max-pooling
case("max_pool3d", "last(F.max_pool3d(first(a), 2))", ((1, 4, 6, 8, 3),))
case("max_pool3d_odd", "last(F.max_pool3d(first(a), 2))", ((2, 5, 7, 3, 1),))
case("max_pool3d_overlap", "last(F.max_pool3d(first(a), 3, 1))", ((1, 4, 5, 4, 2),))
case("max_pool3d_gaps", "last(F.max_pool3d(first(a), 2, 3))", ((1, 5, 6, 8, 2),))
case("max_pool3d_axes", "last(F.max_pool3d(first(a), (3, 2, 1), (1, 2, 2)))", ((1, 4, 5, 6, 9),))

# ---- nearest-neighbour up-sampling
case("softmax", "torch.softmax(a, -1)", ((2, 3, 2, 2, 4), -5, 5))
case("upsample_nearest3d", "last(F.interpolate(first(a), scale_factor=2))", ((2, 2, 3, 4, 3),))
case("upsample_nearest3d_axes", "last(F.interpolate(first(a), scale_factor=(1, 3, 2)))", ((1, 3, 2, 2, 5),))
case("upsample_nearest3d_one_voxel", "last(F.interpolate(first(a), scale_factor=(4, 1, 1)))", ((1, 1, 1, 1, 1),))

# ---- batch norm: x, gamma, beta, running mean, running variance
def bn(name, line, shape):
    c = shape[-1:]
    case(name, line, (shape, -2, 3), (c, 0.5, 1.5), (c, -0.5, 0.5), (c, -0.5, 0.5), (c, 0.5, 2), constant="de")


for name, slope in (("", 1), ("_leaky", 0.2), ("_relu", 0)):
    bn("batch_norm_training" + name, f"norm(a, b, c, d, e, True, {slope})", (2, 3, 4, 5, 3))
    bn("batch_norm_eval" + name, f"norm(a, b, c, d, e, False, {slope})", (2, 3, 4, 5, 3))
bn("batch_norm_rows", "norm(a, b, c, d, e, True)", (12, 5))
bn("batch_norm_one_channel", "norm(a, b, c, d, e, True)", (2, 2, 3, 1, 1))
bn("batch_norm_wide", "norm(a, b, c, d, e, True, 0.2)", (7, 17))
bn("batch_norm_stateless", "norm(a, b, c, None, None, True)", (4, 3, 5))
case("batch_norm_running", "running(a, b, c, 0.3)", ((2, 3, 2, 2, 5), -2, 3), ((5,),), ((5,), 0.5, 2), constant="abc")

# ---- convolutions: x, weight, bias
def cv(name, line, x, w, bias=True):
    f = 1 / np.sqrt(np.prod(w[:4]))
    inputs = [(x,), (w, -2 * f, 2 * f)] + ([((w[4],),)] if bias else [])
    case(name, line, *inputs)


cv("conv3d_valid", "conv(a, b, c)", (1, 4, 5, 6, 2), (3, 3, 3, 2, 3))
cv("conv3d_same", "conv(a, b, c, padding=1)", (2, 3, 4, 5, 2), (3, 3, 3, 2, 3))
cv("conv3d_no_bias", "conv(a, b, padding=1)", (1, 3, 4, 5, 2), (3, 3, 3, 2, 3), False)
cv("conv3d_stride", "conv(a, b, c, stride=2, padding=1)", (2, 5, 7, 6, 3), (3, 3, 3, 3, 4))
cv("conv3d_dilation", "conv(a, b, c, padding=2, dilation=2)", (1, 5, 4, 7, 2), (3, 3, 3, 2, 3))
cv("conv3d_axes", "conv(a, b, c, stride=(1, 2, 3), padding=(0, 1, 2), dilation=(1, 2, 1))", (1, 4, 7, 8, 2), (3, 2, 3, 2, 3))
cv("conv3d_same_stride", "conv(F.pad(a, (0, 0, 0, 1, 0, 1, 0, 1)), b, c, stride=2)", (2, 4, 6, 8, 3), (3, 3, 3, 3, 4))
cv("conv3d_even_end", "conv(F.pad(a, (0, 0, 0, 1, 1, 2, 0, 1)), b, c)", (1, 3, 5, 6, 2), (2, 4, 2, 2, 3))
cv("conv3d_point", "conv(a, b, c)", (2, 3, 3, 3, 8), (1, 1, 1, 8, 1))
cv("conv3d_one_input", "conv(a, b, c, padding=1)", (1, 4, 3, 9, 1), (3, 3, 3, 1, 8))
cv("conv3d_one_output", "conv(a, b, c, padding=1)", (1, 3, 3, 4, 7), (3, 3, 3, 7, 1))
cv("conv3d_five", "conv(a, b, c, padding=2)", (1, 5, 3, 6, 1), (5, 5, 5, 1, 4))
cv("conv3d_flat", "conv(a, b, c, padding=(0, 1, 2))", (1, 2, 4, 6, 3), (1, 3, 5, 3, 2))
cv("conv3d_eight", "conv(a, b, c, padding=1)", (1, 3, 4, 9, 8), (3, 3, 3, 8, 8))
cv("conv3d_nine_seventeen", "conv(a, b, c)", (1, 2, 2, 5, 9), (1, 1, 3, 9, 17))
cv("conv3d_much_padding", "conv(a, b, c, padding=2)", (1, 2, 1, 3, 2), (2, 2, 2, 2, 2))
cv("conv3d_one_voxel", "conv(a, b, c, padding=1)", (3, 1, 1, 1, 4), (3, 3, 3, 4, 5))
cv("conv_transpose3d_double", "conv_t(a, b, c, stride=2, padding=1, output_padding=1)", (2, 2, 3, 4, 4), (3, 3, 3, 4, 2))
cv("conv_transpose3d_plain", "conv_t(a, b, c)", (1, 2, 3, 4, 2), (3, 3, 3, 2, 3))
cv("conv_transpose3d_no_bias", "conv_t(a, b, stride=2)", (1, 2, 3, 2, 2), (2, 2, 2, 2, 3), False)
cv("conv_transpose3d_stride3", "conv_t(a, b, c, stride=3, output_padding=2)", (1, 2, 3, 2, 2), (3, 3, 3, 2, 2))
cv("conv_transpose3d_dilation", "conv_t(a, b, c, stride=2, padding=1, output_padding=1, dilation=2)", (1, 3, 2, 3, 2), (3, 3, 3, 2, 3))
cv("conv_transpose3d_axes", "conv_t(a, b, c, stride=(1, 2, 3), padding=(1, 0, 1), output_padding=(1, 0, 2), dilation=(2, 1, 1))", (1, 3, 2, 3, 2), (2, 3, 3, 2, 3))
cv("conv_transpose3d_one_input", "conv_t(a, b, c, stride=2, padding=1, output_padding=1)", (1, 2, 2, 5, 1), (3, 3, 3, 1, 3))
cv("conv_transpose3d_one_output", "conv_t(a, b, c, stride=2, padding=1, output_padding=1)", (1, 2, 3, 2, 5), (3, 3, 3, 5, 1))
cv("conv_transpose3d_eight", "conv_t(a, b, c, stride=2, padding=1, output_padding=1)", (1, 2, 2, 5, 16), (3, 3, 3, 16, 8))

# ---- blocks of convolution, norm and activation; weights as in tests/ops/conv_block.cpp
def weight(*w):
    f = 2 / np.sqrt(np.prod(w[:4]))
    return (w, -f, f)


def gamma(c):
    return ((c,), 0.5, 1.5)


def beta(c):
    return ((c,), -0.5, 0.5)


def one(name, line, x, w, constant):
    c = w[4]
    case(name, line, (x, -1, 2), weight(*w), ((c,),), gamma(c), beta(c), ((c,), -0.5, 0.5), ((c,), 0.5, 2), constant=constant)


def chain(name, x, mid, skip, out, head):
    case(name, "conv(block(torch.cat([block(a, b, c, d, 0.2), e], -1), f, g, h, 0), i, j)", (x,), weight(3, 3, 3, x[4], mid),
         gamma(mid), beta(mid), (x[:4] + (skip,),), weight(3, 3, 3, mid + skip, out), gamma(out), beta(out),
         weight(1, 1, 1, out, head), ((head,),))


def forked(name, x, mid, out):
    case(name, "fork(block(a, b, c, d, 0.2), e, f)", (x,), weight(3, 3, 3, x[4], mid), gamma(mid), beta(mid),
         weight(3, 3, 3, mid, out), ((out,),))


V = (2, 3, 4, 5, 2)
one("conv_block_training", "norm(conv(a, b, c, padding=1), d, e, f, g, True, 0.2)", V, (3, 3, 3, 2, 3), "cfg")
one("conv_block_eval", "norm(conv(a, b, c, padding=1), d, e, f, g, False, 0)", V, (3, 3, 3, 2, 3), "fg")
one("conv_block_rows", "norm(conv(a, b, c, padding=1), d, e, f, g, True, 0.2)", (1, 2, 3, 9, 8), (3, 3, 3, 8, 8), "cfg")
chain("conv_block_chain", V, 3, 2, 4, 1)
chain("conv_block_chain_rows", (1, 2, 3, 9, 1), 8, 8, 8, 1)
forked("conv_block_forked", (1, 4, 5, 6, 2), 3, 2)
forked("conv_block_forked_rows", (1, 2, 3, 8, 1), 8, 8)
case("conv_block_relus", "conv(torch.cat([F.relu(conv(a, b, c, padding=1)), a], -1), d, e, padding=1)", (V,),
     weight(3, 3, 3, 2, 3), ((3,),), weight(3, 3, 3, 5, 2), ((2,),))


# ---- a head with its loss on a block
def head(name, line, x, mid, out):
    case(name, line, (x,), weight(3, 3, 3, x[4], mid), gamma(mid), beta(mid), weight(1, 1, 1, mid, out), ((out,),),
         ((*x[:4], out), 0, 1), constant="g")


head("head_loss_mse", "F.mse_loss(torch.sigmoid(conv(block(a, b, c, d, 0.2), e, f)), g)", (1, 2, 3, 9, 1), 8, 1)
head("head_loss_bce", "F.binary_cross_entropy_with_logits(conv(block(a, b, c, d, 0), e, f), g)", (2, 3, 2, 5, 2), 3, 2)
head("head_loss_own", "F.smooth_l1_loss(conv(block(a, b, c, d, 0.2), e, f), g)", (1, 2, 3, 6, 1), 8, 3)
case("head_loss_plain", "F.mse_loss(torch.sigmoid(conv(a, b, padding=1)), c)", ((1, 3, 4, 5, 2),), weight(3, 3, 3, 2, 1),
     ((1, 3, 4, 5, 1), 0, 1), constant="c")


def main():
    print("torch", torch.__version__, "numpy", np.__version__)
    torch.set_num_threads(1)
    folder = pathlib.Path(__file__).parent / "ops"
    for old in folder.glob("*.npy"):
        old.unlink()
    total = 0
    for name, line, inputs, constant in CASES:
        leaves = {}
        for k, spec in enumerate(inputs):
            letter = "abcdefghij"[k]
            leaves[letter] = torch.from_numpy(np.array(draw(name, k, *spec))).requires_grad_(letter not in constant)
        y = eval(line, globals(), leaves)
        parts = [y.detach().contiguous().numpy().ravel()]
        if y.requires_grad:
            y.backward(torch.from_numpy(np.array(draw(name, 100, tuple(y.shape)))))
            parts += [leaves[k].grad.contiguous().numpy().ravel() for k in leaves if leaves[k].grad is not None]
        values = np.concatenate(parts)
        np.save(folder / f"{name}.npy", values)
        total += values.nbytes
    print(len(CASES), "cases,", total, "bytes")


if __name__ == "__main__":
    main()

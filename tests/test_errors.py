"""What people read when something is wrong: one table of bad input through the public interface, and the errors it gives.

A row is a mistake, the error's class, its exit code (2: the user can mend it, 1: the world failed) and its text, line breaks as
spaces; "…" stands for anything, such as a path. What a row works on is made in ``bad_input.py``;
``test_errors_rules.py`` has what holds for all errors.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import nyala
import nyala.nn.functional as F
import pytest
from nyala import checkpoint, nn
from nyala.errors import (
    ArgumentError,
    CheckpointError,
    DataError,
    DeviceError,
    DtypeError,
    GradError,
    IndexRangeError,
    IntegrityError,
    MissingFileError,
    ModuleError,
    NyalaError,
    RecipeError,
    ShapeError,
    StorageError,
    UnknownNameError,
    UnsafeFileError,
)
from nyala.hub import archives
from nyala.hub.pipeline import TASKS
from nyala.recipes import load_recipe, open_run
from nyala.recipes.data import datasets, tasks
from nyala.recipes.language.config import RecipeMistakesError
from nyala.recipes.training.watchdog import DivergenceError
from nyala.vision import datasets as sets
from nyala.vision import scores


def tarred(name: str) -> bytes:
    """An archive with one empty member."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return out.getvalue()


class Bad(NamedTuple):
    """A row: what is done, and what error it gives."""

    name: str
    call: Callable[[Any], Any]
    error: type[NyalaError]
    code: int
    text: str


# fmt: off
TABLE = [
    # ---- names that nothing has: the nearest are given
    Bad("model name", lambda _: nyala.load("resnet51"), UnknownNameError, 2,
        "no model in the catalogue is called 'resnet51': it knows …resnet50.a1_in1k… "
        "Remedy: did you mean 'resnet50' or 'resnet18'…? `nyala list` shows "
        "them; a …"),
    Bad("model name, nothing near", lambda _: nyala.load("qqq"), UnknownNameError, 2,
        "no model in the catalogue is called 'qqq': it knows …resnet50.a1_in1k… "
        "Remedy: `nyala list` shows them; a hub id is org/name, a folder needs a path.…"),
    Bad("empty model name", lambda _: nyala.load(""), UnknownNameError, 2,
        "a model with an empty name. Remedy: `nyala list` shows the names.…"),
    Bad("no model name", lambda _: nyala.load(None), ArgumentError, 2,
        "load was given None. Remedy: pass a name, or the path of a folder.…"),
    Bad("folder", lambda e: nyala.load(f"{e.tmp}/brokenn"), UnknownNameError, 2,
        "there is no folder …/brokenn. Remedy: did you mean 'broken'?…"),
    Bad("task", lambda e: nyala.load(e.resnet, task="image-clasification"), UnknownNameError, 2,
        f"nyala has no pipeline for the task 'image-clasification': it has {', '.join(TASKS)}. Remedy: did you mean "
        "'image-classification'?…"),
    Bad("task of list_models", lambda _: nyala.list_models(task="text-clasification"), UnknownNameError, 2,
        "no task is called 'text-clasification'. Remedy: did you mean 'text-classification'?…"),
    Bad("domain of list_models", lambda _: nyala.list_models(domain="visoin"), UnknownNameError, 2,
        "no domain is called 'visoin'. Remedy: did you mean 'vision'?…"),
    Bad("architecture", lambda e: nyala.load(e.folder({"model_type": "bertt"})), UnknownNameError, 2,
        "nyala does not know the architecture 'transformers:bertt': in the layout of transformers it knows … "
        "Remedy: did you mean 'bert' or 'hubert' or 'albert'? "
        "Otherwise choose a model of a known architecture.…"),
    Bad("option of an architecture", lambda e: nyala.load(e.resnet, drop_rat=0.1), ArgumentError, 2,
        "resnet18 has no option 'drop_rat': it has architecture, base_width, block, cardinality, channels, drop_rate, "
        "first_stride, in_chans, layers, num_classes, stem_channels, stride_in_1x1. Remedy: did you mean 'drop_rate'?…"),
    Bad("new head that is nowhere", lambda e: nyala.load(e.resnet, new_head=["clasifier.*"]), ArgumentError, 2,
        "new_head: no parameter fits 'clasifier.*': the last ones are layer4.0.downsample.1.running_var, "
        "layer4.0.downsample.1.num_batches_tracked, fc.weight, fc.bias. Remedy: correct it.…"),
    Bad("dtype", lambda _: nyala.zeros(2, dtype="flaot32"), DtypeError, 2,
        "unknown dtype 'flaot32'. Remedy: did you mean 'float32' or 'float64' or 'float16'?…"),
    Bad("dtype of to()", lambda _: nyala.zeros(2).to("flaot32"), DtypeError, 2,
        "unknown dtype 'flaot32'. Remedy: did you mean 'float32' or 'float64' or 'float16'?…"),
    Bad("device", lambda _: nyala.zeros(2, device="gpu"), DeviceError, 2,
        "unknown device 'gpu'. Remedy: use 'cpu', 'cuda' or 'cuda:N'.…"),
    Bad("device of to()", lambda _: nn.Linear(2, 2).to("tpu"), DeviceError, 2,
        "unknown device 'tpu'. Remedy: use 'cpu', 'cuda' or 'cuda:N'.…"),
    Bad("activation", lambda _: nn.TransformerEncoderLayer(8, 2, activation="gelo"), ArgumentError, 2,
        "unknown activation 'gelo'. Remedy: did you mean 'gelu'?…"),
    Bad("submodule", lambda e: e.net.get_submodule("stem.norn"), UnknownNameError, 2,
        "Net has no module 'stem.norn'. Remedy: did you mean 'stem.norm' or 'stem.conv' or 'stem'?…"),
    Bad("parameter", lambda e: e.net.get_parameter("head.wieght"), UnknownNameError, 2,
        "Net has no parameter 'head.wieght'. Remedy: did you mean 'head.weight'?…"),
    Bad("freeze pattern", lambda e: e.net.freeze("haed.*"), UnknownNameError, 2,
        "freeze: nothing is called 'haed.*': a pattern without a match would silently do nothing. Remedy: did you mean "
        "'head' or 'head.bias'?…"),
    Bad("padding mode", lambda _: F.pad(nyala.zeros(1, 1, 4, 4), (1, 1), mode="mirror"), ArgumentError, 2,
        "pad: mode='mirror'. Remedy: use 'constant', 'reflect', 'replicate' or 'circular'.…"),
    Bad("interpolation", lambda _: F.interpolate(nyala.zeros(1, 1, 4, 4), scale_factor=2, mode="bilinea"), ArgumentError, 2,
        "interpolate: mode='bilinea'. Remedy: use one of 'nearest', 'nearest-exact', 'area', 'linear', 'bilinear', "
        "'trilinear', 'bicubic'.…"),
    Bad("reduction", lambda _: F.mse_loss(nyala.zeros(2), nyala.zeros(2), reduction="avg"), ArgumentError, 2,
        "mse_loss: reduction='avg'. Remedy: use one of 'mean', 'sum', 'none'.…"),
    Bad("recipe", lambda _: load_recipe("vision/fashion-lite"), UnknownNameError, 2,
        "no recipe is called 'vision/fashion-lite'. Remedy: did you mean 'vision/fashion-lite0'?…"),
    Bad("recipe file", lambda _: load_recipe("no/such.toml"), RecipeError, 2,
        "there is no file …no/such.toml. Remedy: check the path; `nyala list` shows the built-in "
        "recipes.…"),
    Bad("three mistakes, three lines",
        lambda e: e.recipe("data.name=fashon-mnist", "optim.type=adamv", "train.epoch=3"), RecipeMistakesError, 2,
        "recipe vision/fashion-lite0 has 3 mistakes: optim.type: unknown type 'adamv' (did you mean 'adam' or 'adamw'?) "
        "[override] train.epoch: unknown key (did you mean 'epochs'?) … Remedy: correct these, then start again.…"),
    Bad("three other mistakes",
        lambda e: e.recipe("model.name=all-MiniLM-L6", "optim.lr=-1", "schedule.type=cosin"), RecipeMistakesError, 2,
        "recipe vision/fashion-lite0 has 3 mistakes: optim.lr: -1 is out of range (must be above 0) [override] "
        "schedule.type: unknown type 'cosin' (did you mean 'cosine'?) [override] … Remedy: correct these, then start "
        "again.…"),
    Bad("run folder", lambda e: open_run(e.tmp), RecipeError, 2,
        "… is not a run folder: it has no recipe.resolved.toml. Remedy: give the folder that `nyala run` printed.…"),
    # ---- shapes, inside nested models: module path, operation, named shapes
    Bad("compile of a number", lambda _: nyala.compile(3), ArgumentError, 2,
        "compile was given an int. Remedy: pass a module or a function of tensors. [E106]"),
    Bad("compile with buckets of no length", lambda _: nyala.compile(abs, buckets=(0, (4, 0))), ArgumentError, 2,
        "compile: bucket sizes [4, 0]. Remedy: give whole numbers of at least 1, as (16, 32, 64). [E106]"),
    Bad("linear in a nested model", lambda e: e.net(nyala.zeros(2, 3, 8, 8), block="narrow"), ShapeError, 2,
        "at blocks.1.narrow (Linear): linear: input (..., in=8) of shape (2, 8), weight (out, in) = (8, 7) expects in=7. "
        "Remedy: check the width of the layer before, or the model these weights belong to.…"),
    Bad("conv2d in a nested model", lambda e: e.net(nyala.zeros(2, 4, 8, 8)), ShapeError, 2,
        "at stem.conv (Conv2d): conv2d: an input (N=2, C=4, H=8, W=8), a weight (O, C / groups, ...) = (8, 3, 3, 3) with "
        "groups=1: the weight expects C=3. Remedy: check the channels of the layer before, or the order of the input's "
        "dimensions: (N, C, H, W).…"),
    Bad("conv2d, dimensions", lambda e: e.net(nyala.zeros(8, 8)), ShapeError, 2,
        "at stem.conv (Conv2d): conv2d: an input of shape (8, 8): it takes (N, C, H, W) or (C, H, W). Remedy: add or "
        "remove a dimension with unsqueeze or squeeze.…"),
    Bad("conv2d, input smaller than the kernel", lambda _: nn.Conv2d(3, 8, 5)(nyala.zeros(1, 3, 4, 4)), ShapeError, 2,
        "at model (Conv2d): conv2d: an input (N=1, C=3, H=4, W=4) with padding (0, 0), a kernel (5, 5) with dilation (1, "
        "1): the kernel covers (5, 5), more than the padded input. Remedy: use a larger input or more padding.…"),
    Bad("conv2d, groups", lambda _: nn.Conv2d(3, 8, 3, groups=2), ArgumentError, 2,
        "Conv2d: 3 input and 8 output channels in 2 groups. Remedy: choose a divisor of both.…"),
    Bad("batch_norm in a nested model",
        lambda _: nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(16))(nyala.zeros(2, 3, 8, 8)), ShapeError, 2,
        "at 1 (BatchNorm2d): batch_norm: running_mean has shape (16,), the input 8 channel(s) in dimension 1. Remedy: "
        "running_mean must have shape (8,); check num_features, or that the input is (N, C, ...).…"),
    Bad("batch_norm, dimensions", lambda _: nn.BatchNorm2d(16)(nyala.zeros(2, 16)), ShapeError, 2,
        "at model (BatchNorm2d): BatchNorm2d: an input of shape (2, 16): it takes 4 dimensions. Remedy: add or remove the"
        " batch dimension, or use the layer of the right dimensions.…"),
    Bad("batch_norm, one value", lambda _: nn.BatchNorm1d(4)(nyala.zeros(1, 4)), ShapeError, 2,
        "at model (BatchNorm1d): batch_norm: one value a channel in an input of shape (1, 4): its variance is 0, there is"
        " nothing to learn from. Remedy: use a larger batch (drop_last=True in the DataLoader), or eval().…"),
    Bad("layer_norm in a nested model",
        lambda _: nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(16))(nyala.zeros(2, 4)), ShapeError, 2,
        "at 1 (LayerNorm): layer_norm: input of shape (2, 8), normalized_shape (16,): the input's last dimensions must be"
        " normalized_shape. Remedy: check the width of the layer before.…"),
    Bad("group_norm", lambda _: nn.GroupNorm(3, 9)(nyala.zeros(2, 8, 3)), ShapeError, 2,
        "at model (GroupNorm): group_norm: input of shape (2, 8, 3) in 3 group(s): the channels, dimension 1, must divide"
        " into the groups. Remedy: choose a divisor of the channel count.…"),
    Bad("attention in a nested model", lambda _: nn.TransformerEncoderLayer(8, 2)(nyala.zeros(5, 2, 6)), ShapeError, 2,
        "at self_attn (MultiheadAttention): MultiheadAttention: query (N, L, E) = (2, 5, 6), key (N, S, kdim) = (2, 5, "
        "6), value (N, S, vdim) = (2, 5, 6): E, kdim and vdim must be (8, 8, … Remedy: check batch_first, and the widths "
        "given to the constructor.…"),
    Bad("attention, heads", lambda _: nn.MultiheadAttention(9, 2), ArgumentError, 2,
        "MultiheadAttention: embed_dim=9 with 2 heads. Remedy: choose a divisor.…"),
    Bad("attention, widths",
        lambda _: F.scaled_dot_product_attention(nyala.zeros(5, 8), nyala.zeros(6, 4), nyala.zeros(6, 8)), ShapeError, 2,
        "scaled_dot_product_attention: query (..., L, E) = (5, 8), key (..., S, E) = (6, 4), value (..., S, V) = (6, 8): "
        "query and key must have one width E. Remedy: project them to it.…"),
    Bad("attention, mask",
        lambda _: F.scaled_dot_product_attention(*[nyala.zeros(2, 2, 6, 8)] * 3, attn_mask=nyala.zeros(5, 5)), ShapeError, 2,
        "scaled_dot_product_attention: attn_mask of shape (5, 5), scores (2, 2, 6, 6): the mask must broadcast to the "
        "scores (..., L, S). Remedy: a padding mask (N, S) becomes mask[:, None, None, :].…"),
    Bad("matmul in a nested model", lambda e: e.net(nyala.zeros(2, 3, 8, 8), block="matmul"), ShapeError, 2,
        "at blocks.1 (Block): matmul: (2, 8) @ (7, 8): the last dimension of the first must equal the second last of the "
        "second, and the rest must broadcast. Remedy: transpose or reshape one of them.…"),
    Bad("cat in a nested model", lambda e: e.net(nyala.zeros(2, 3, 8, 8), block="cat"), ShapeError, 2,
        "at blocks.1 (Block): cat along dimension 1: tensor 0 has shape (2, 8), tensor 1 has (3, 8): all other dimensions"
        " must be equal. Remedy: reshape or pad them, or use stack for tensors without that dimension.…"),
    Bad("broadcasting in a nested model", lambda e: e.net(nyala.zeros(2, 3, 8, 8), block="add"), ShapeError, 2,
        "at blocks.1 (Block): add: shapes (2, 8) and (3, 8) do not broadcast: counted from the right, two dimensions must"
        " be equal or one of them 1. Remedy: reshape one of them, e.g. with unsqueeze.…"),
    Bad("lstm", lambda _: nn.LSTM(4, 8)(nyala.zeros(3, 2, 5)), ShapeError, 2,
        "at model (LSTM): LSTM: an input of shape (3, 2, 5): it takes (T, N, C) or (T, C) with C = input_size = 4. "
        "Remedy: check the layout (batch_first) and the width of the layer before.…"),
    Bad("max_pool2d", lambda _: F.max_pool2d(nyala.zeros(1, 1, 1, 1), 2), ShapeError, 2,
        "max_pool2d: a window (2, 2) with dilation (1, 1) on an input (N=1, C=1, H=1, W=1) with padding (0, 0): it does "
        "not fit once. Remedy: use a smaller window or a larger input.…"),
    Bad("stack", lambda _: nyala.stack([nyala.zeros(2, 3), nyala.zeros(2, 4)]), ShapeError, 2,
        "stack: tensor 0 has shape (2, 3), tensor 1 has (2, 4). Remedy: make them equal.…"),
    Bad("reshape", lambda _: nyala.zeros(2, 3).reshape(4, 2), ShapeError, 2,
        "reshape: (2, 3) with 6 elements cannot become (4, 2). Remedy: the numbers must multiply to the same count; one "
        "of them may be -1.…"),
    Bad("view of a transposed tensor", lambda _: nyala.zeros(2, 3).t().view(6), ShapeError, 2,
        "view: a tensor of shape (3, 2) in another memory order cannot be seen as (6,) without a copy. Remedy: use "
        "reshape, which copies, or contiguous() first.…"),
    Bad("permute", lambda _: nyala.zeros(2, 3).permute(0, 2), ShapeError, 2,
        "permute: dimension 2 of a tensor with 2 dimension(s). Remedy: use a number from -2 to 1.…"),
    Bad("expand", lambda _: nyala.zeros(2, 3).expand(4, 3), ShapeError, 2,
        "expand: (2, 3) cannot become (4, 3): only dimensions of length 1 can be repeated, and none can be dropped. "
        "Remedy: use repeat or squeeze.…"),
    Bad("einsum", lambda _: nyala.einsum("ij,jk->iq", nyala.zeros(2, 3), nyala.zeros(3, 4)), ArgumentError, 2,
        "einsum 'ij,jk->iq': the result names ['q'], which no tensor has. Remedy: name each letter of the tensors once.…"),
    Bad("split", lambda _: nyala.split(nyala.zeros(5), [2, 2]), ShapeError, 2,
        "split: lengths [2, 2] add up to 4, dimension 0 has 5. Remedy: make the lengths add up to the dimension.…"),
    Bad("negative length", lambda _: nn.Linear(-1, 3), ShapeError, 2,
        "empty: a shape (3, -1) with a negative length. Remedy: use lengths from 0.…"),
    Bad("in-place, too small", lambda _: nyala.zeros(3).add_(nyala.zeros(2, 3)), ShapeError, 2,
        "add_ gives shape (2, 3), the tensor written to has (3,). Remedy: use the operation without underscore.…"),
    Bad("index", lambda _: nyala.zeros(2, 3)[5], IndexRangeError, 2,
        "index [5] into a tensor of shape (2, 3): index 5 is out of bounds for axis 0 with size 2. Remedy: check it "
        "against the shape.…"),
    Bad("write", lambda _: nyala.zeros(2, 3).__setitem__(0, nyala.zeros(4)), ShapeError, 2,
        "writing a value of shape (4,) at [0] of (2, 3), where there is (3,). Remedy: make the value broadcast to the "
        "place.…"),
    Bad("item of many", lambda _: nyala.zeros(2).item(), ShapeError, 2,
        "item() of a tensor of shape (2,): it holds more than one number. Remedy: use tolist().…"),
    Bad("largest of none", lambda _: nyala.zeros(0).max(), ShapeError, 2,
        "amax over a dimension of length 0 of (0,): there is no element to choose. Remedy: check for an empty tensor "
        "first.…"),
    Bad("pictures in another memory order", lambda e: e.resnet_model(nyala.zeros(1, 16, 16, 3)), ShapeError, 2,
        "at conv1 (Conv2d): conv2d: an input (N=1, C=16, H=16, W=3), a weight (O, C / groups, ...) = (4, 3, 7, 7) with "
        "groups=1: the weight expects C=3. Remedy: check the channels of the layer before, or the order of the input's "
        "dimensions: (N, C, H, W).…"),
    Bad("one row of token ids", lambda e: e.bert_model(nyala.zeros(10, dtype="int64")), ShapeError, 2,
        "at model (BertForSequenceClassification): input_ids of shape (10,): BERT takes (N, T). Remedy: add a batch "
        "dimension with unsqueeze(0).…"),
    Bad("no token", lambda e: e.bert_model(nyala.zeros(1, 0, dtype="int64")), ShapeError, 2,
        "at model (BertForSequenceClassification): input_ids of shape (1, 0) hold no token. Remedy: pass at least one "
        "token a text.…"),
    Bad("too many tokens", lambda e: e.bert_model(nyala.zeros(1, 40, dtype="int64")), ShapeError, 2,
        "at bert.embeddings (Embeddings): 40 tokens in a row, the model has 32 positions. Remedy: cut the text, e.g. with"
        " the tokenizer's max_length.…"),
    Bad("attention_mask",
        lambda e: e.bert_model(nyala.zeros(1, 10, dtype="int64"), attention_mask=nyala.zeros(1, 9)), ShapeError, 2,
        "at model (BertForSequenceClassification): attention_mask (1, 9) for input_ids (1, 10). Remedy: make their shapes"
        " equal.…"),
    # ---- losses, labels and token ids: found before the step, with the sample
    Bad("cross_entropy, label", lambda _: F.cross_entropy(nyala.zeros(4, 3), nyala.tensor([0, 1, 3, 2])), IndexRangeError, 2,
        "cross_entropy: label 3 of sample 2, there are 3 classes: labels run from 0 to 2. Remedy: check the head's width "
        "and the labels, or pass ignore_index=3 to leave such samples out.…"),
    Bad("cross_entropy, negative label",
        lambda _: F.cross_entropy(nyala.zeros(4, 3), nyala.tensor([0, -1, 1, 2])), IndexRangeError, 2,
        "cross_entropy: label -1 of sample 1, there are 3 classes: labels run from 0 to 2. Remedy: check the head's width"
        " and the labels, or pass ignore_index=-1 to leave such samples out.…"),
    Bad("cross_entropy, label of a pixel",
        lambda _: F.cross_entropy(nyala.zeros(2, 3, 4, 4), nyala.full((2, 4, 4), 7)), IndexRangeError, 2,
        "cross_entropy: label 7 of sample 0 (position (0, 0, 0)), there are 3 classes: labels run from 0 to 2. Remedy: "
        "check the head's width and the labels, or pass ignore_index=7 to leave such samples out.…"),
    Bad("cross_entropy, count", lambda _: F.cross_entropy(nyala.zeros(4, 3), nyala.tensor([0, 1])), ShapeError, 2,
        "cross_entropy: input (N, C, ...) = (4, 3), target (2,): class numbers for this input have shape (4,). Remedy: "
        "squeeze the target, or check that the classes lie in dimension 1.…"),
    Bad("cross_entropy, probabilities", lambda _: F.cross_entropy(nyala.zeros(4, 3), nyala.zeros(4, 2)), ShapeError, 2,
        "cross_entropy: input (4, 3), target of probabilities (4, 2): a floating-point target holds a probability for "
        "each class. Remedy: give it the input's shape, or pass class numbers (int64).…"),
    Bad("cross_entropy, weight",
        lambda _: F.cross_entropy(nyala.zeros(4, 3), nyala.tensor([0, 1, 1, 2]), weight=nyala.zeros(2)), ShapeError, 2,
        "cross_entropy: weight of shape (2,) for 3 class(es). Remedy: give it shape (3,).…"),
    Bad("nll_loss, label", lambda _: F.nll_loss(nyala.zeros(2, 3), nyala.tensor([0, 5])), IndexRangeError, 2,
        "nll_loss: label 5 of sample 1, there are 3 classes: labels run from 0 to 2. Remedy: check the head's width and "
        "the labels, or pass ignore_index=5 to leave such samples out.…"),
    Bad("mse_loss", lambda _: F.mse_loss(nyala.zeros(4, 2), nyala.zeros(3, 2)), ShapeError, 2,
        "mse_loss: input (4, 2), target (3, 2): they are compared element by element. Remedy: reshape one of them, e.g. "
        "squeeze(1) a prediction of shape (N, 1).…"),
    Bad("kl_div", lambda _: F.kl_div(nyala.zeros(4, 2), nyala.zeros(3, 2)), ShapeError, 2,
        "kl_div: input (4, 2), target (3, 2): they are compared element by element. Remedy: reshape one of them, e.g. "
        "squeeze(1) a prediction of shape (N, 1).…"),
    Bad("binary_cross_entropy of logits",
        lambda _: F.binary_cross_entropy(nyala.tensor([0.5, 1.5]), nyala.ones(2)), ArgumentError, 2,
        "binary_cross_entropy: input 1.5 at (1,): probabilities lie between 0 and 1. Remedy: apply a sigmoid, or use "
        "binary_cross_entropy_with_logits, which is exact for large logits too.…"),
    Bad("binary_cross_entropy_with_logits",
        lambda _: F.binary_cross_entropy_with_logits(nyala.zeros(4), nyala.zeros(4, 1)), ShapeError, 2,
        "binary_cross_entropy_with_logits: input (4,), target (4, 1): they are compared element by element. Remedy: "
        "reshape one of them, e.g. squeeze(1) a prediction of shape (N, 1).…"),
    Bad("ctc_loss, label",
        lambda _: F.ctc_loss(nyala.zeros(5, 2, 3), nyala.tensor([[1, 2], [1, 9]]), [5, 5], [2, 2]), IndexRangeError, 2,
        "ctc_loss: label 9 of sample 1 (position 1), there are 3 classes: labels run from 0 to 2. Remedy: check the "
        "vocabulary.…"),
    Bad("one_hot", lambda _: nyala.one_hot(nyala.tensor([0, 5]), 3), IndexRangeError, 2,
        "one_hot: index 5 in a dimension of length 3. Remedy: use indices from 0 to 2.…"),
    Bad("embedding in a nested model",
        lambda _: nn.Sequential(nn.Embedding(10, 4))(nyala.tensor([[1, 2], [3, 10]])), IndexRangeError, 2,
        "at 0 (Embedding): embedding: index 10 at position (1, 1), the table has 10 rows. Remedy: check that the "
        "tokenizer (or the labels) belong to this model.…"),
    Bad("embedding of floats", lambda _: nn.Embedding(10, 4)(nyala.zeros(2)), DtypeError, 2,
        "at model (Embedding): embedding: an index of float32. Remedy: convert it with .long().…"),
    Bad("token id of another tokenizer", lambda e: e.bert_model(nyala.tensor([[1, 2], [3, 60]])), IndexRangeError, 2,
        "at model (BertForSequenceClassification): token id 60 in sample 1, the vocabulary has 60 tokens (0 to 59): the "
        "tokenizer belongs to another model. Remedy: use the tokenizer that came with these weights.…"),
    Bad("token id in a recipe's batch",
        lambda _: tasks.check_tokens(np.array([[1, 2], [3, 60]]), 60, np.array([17, 42])), IndexRangeError, 2,
        "sample 42 has token id 60 at position 1 and the vocabulary has 60: the embedding has no such row. Remedy: use "
        "the tokenizer that belongs to these weights.…"),
    Bad("label in a recipe's data",
        lambda _: datasets.check_labels(datasets.Part("abcd", np.array([0, 1, 2, 1])), 2, "moods, training part"), DataError, 2,
        "sample 2 of moods, training part has label 2 and there are 2 classes (0 to 1): the loss of such a label is "
        "undefined. Remedy: correct the labels, or num_classes.…"),
    # ---- sets of pictures, and their scores
    Bad("split of a dataset", lambda _: sets.MNIST("val"), ArgumentError, 2,
        "MNIST has no split 'val'. Remedy: use 'train' or 'test'.…"),
    Bad("folder without the dataset", lambda e: sets.CIFAR10("train", folder=e.tmp), DataError, 2,
        "… holds neither cifar-10-batches-bin/data_batch_1.bin nor cifar-10-binary.tar.gz. Remedy: give the folder in which "
        "cifar-10-batches-bin lies; left out, the data are fetched.…"),
    Bad("what to do with damaged pictures", lambda e: sets.ImageFolder(e.data, corrupt="ignore"), ArgumentError, 2,
        "corrupt='ignore'. Remedy: use 'raise' or 'skip'.…"),
    Bad("archive with a member outside", lambda e: archives.unpack(e.file("x.tar", tarred("../x")), e.tmp), UnsafeFileError, 1,
        "x.tar was not unpacked: its member '../x' would lie outside the folder. Remedy: get it from a place that you trust.…"),
    Bad("damaged archive", lambda e: archives.unpack(e.file("y.zip", b"PK"), e.tmp), IntegrityError, 1,
        "y.zip is damaged: File is not a zip file. Remedy: get it again.…"),
    Bad("detections without scores",
        lambda _: scores.MeanAveragePrecision().update([{"boxes": [], "labels": []}], [{}]), ArgumentError, 2,
        "the prediction of picture 0 has no 'scores': it has 'boxes', 'labels'. Remedy: add it.…"),
    Bad("class of a pixel", lambda _: scores.Segmentation(2).update([[[0]]], [[[2]]]), IndexRangeError, 2,
        "the target of picture 0 holds class 2: there are 2 classes, 0 to 1. Remedy: correct it; pixels that do not count "
        "are 255 in the target.…"),
    # ---- things forgotten
    Bad("backward twice", lambda e: e.backward_twice(), GradError, 2,
        "backward through Sum a second time: the first backward pass freed what the graph had kept. Remedy: pass "
        "retain_graph=True to the first backward or grad call, or compute the output again.…"),
    Bad("backward of many numbers", lambda _: (nyala.ones(3, requires_grad=True) * 2).backward(), GradError, 2,
        "backward from a tensor of shape (3,) needs a gradient of that shape: only a single number has an obvious "
        "gradient, 1. Remedy: reduce it first, e.g. loss.mean().backward(), or pass gradient=.…"),
    Bad("backward without a graph", lambda _: nyala.ones(3).sum().backward(), GradError, 2,
        "a tensor of shape () has no graph to go back through: nothing it was computed from has requires_grad=True, or it"
        " was made under no_grad. Remedy: set requires_grad=True on the parameters, and compute the loss outside "
        "no_grad.…"),
    Bad("gradient of another shape", lambda _: (nyala.ones(3, requires_grad=True) * 2).backward(nyala.ones(2)), ShapeError, 2,
        "the gradient has shape (2,), the tensor (3,). Remedy: pass a gradient of the tensor's own shape.…"),
    Bad("in-place on a leaf", lambda _: nyala.ones(3, requires_grad=True).add_(1), GradError, 2,
        "add_ writes to a leaf that requires a gradient: the value its gradient belongs to would be lost. Remedy: do it "
        "under no_grad(), as optimizers do, or use the operation without the underscore.…"),
    Bad("in-place on what the gradient needs", lambda e: e.write_what_is_kept(), GradError, 2,
        "a tensor of shape (3,) that Mul keeps for its gradient was changed in place (1 write(s) since): the gradient "
        "would be wrong. Remedy: use the operation without the trailing underscore, or write to a clone().…"),
    Bad("numpy() of what has a gradient", lambda _: nyala.ones(3, requires_grad=True).numpy(), GradError, 2,
        "numpy() of a tensor that requires a gradient. Remedy: call .detach().numpy().…"),
    Bad("gradient of whole numbers", lambda _: nyala.tensor([1, 2], requires_grad=True), DtypeError, 2,
        "a tensor of int64 cannot require a gradient: only floating point can. Remedy: convert it with .float().…"),
    Bad("input that was not used",
        lambda _: nyala.autograd.grad(nyala.ones(1, requires_grad=True).sum(), [nyala.ones(1, requires_grad=True)]), GradError, 2,
        "input 0 of shape (1,) was not used to compute the outputs. Remedy: pass allow_unused=True to get None for it, or"
        " look for a detach() on the way.…"),
    Bad("Module.__init__ not called", lambda e: e.without_init(), ModuleError, 2,
        "Forgetful.layer is assigned before Module.__init__() has run: there is nothing yet to register it in. Remedy: "
        "call super().__init__() first in __init__.…"),
    Bad("no forward", lambda _: nn.Module()(1), ModuleError, 2,
        "at model (Module): Module has no forward. Remedy: define forward(self, ...) in the class.…"),
    Bad("optimizer without parameters", lambda _: nyala.optim.AdamW([]), ArgumentError, 2,
        "AdamW was given no parameters. Remedy: pass model.parameters(); a generator gives them only once.…"),
    Bad("optimizer on a model", lambda _: nyala.optim.AdamW(nn.Linear(2, 2)), ArgumentError, 2,
        "AdamW was given a Linear, not parameters. Remedy: pass its .parameters().…"),
    Bad("optimizer on a result", lambda _: nyala.optim.AdamW([nyala.ones(3, requires_grad=True) * 2]), ArgumentError, 2,
        "AdamW, parameter group 0, parameter 0 is a result of Mul: only leaves of the graph keep a gradient. Remedy: "
        "optimize the parameters it was computed from, or x.detach().requires_grad_().…"),
    Bad("parameter given twice",
        lambda e: nyala.optim.SGD([*e.net.head.parameters(), e.net.head.weight], lr=0.1), ArgumentError, 2,
        "SGD, parameter group 0, parameter 2 of shape (4, 8) is given twice: it would be updated twice in a step. Remedy:"
        " name each parameter in one group, once.…"),
    Bad("learning rate below 0", lambda e: nyala.optim.AdamW(e.net.parameters(), lr=-1), ArgumentError, 2,
        "lr=-1 is out of range. Remedy: use a number that is at least 0.…"),
    Bad("schedule without an optimizer", lambda e: nyala.optim.lr_scheduler.StepLR(e.net, step_size=1), ArgumentError, 2,
        "StepLR was given a Net. Remedy: pass the optimizer first.…"),
    Bad("array instead of a tensor", lambda e: e.net(np.zeros((2, 3, 8, 8), np.float32)), ArgumentError, 2,
        "at stem.conv (Conv2d): conv2d: input is an array, not a tensor. Remedy: wrap it: nyala.tensor(...).…"),
    Bad("list instead of a tensor", lambda _: nn.Linear(3, 2)([1.0, 2.0, 3.0]), ArgumentError, 2,
        "at model (Linear): linear: input is a list, not a tensor. Remedy: wrap it: nyala.tensor(...).…"),
    Bad("labels in an array", lambda _: F.cross_entropy(nyala.zeros(2, 3), np.array([0, 1])), ArgumentError, 2,
        "cross_entropy: target is an array, not a tensor. Remedy: wrap it: nyala.tensor(...).…"),
    Bad("labels in a list", lambda _: nn.CrossEntropyLoss()(nyala.zeros(2, 3), [0, 1]), ArgumentError, 2,
        "at model (CrossEntropyLoss): cross_entropy: target is a list, not a tensor. Remedy: wrap it: nyala.tensor(...).…"),
    Bad("number as a target", lambda _: F.mse_loss(nyala.zeros(2), 1.0), ArgumentError, 2,
        "mse_loss: target is a float, not a tensor. Remedy: wrap it: nyala.tensor(...).…"),
    Bad("array in linear", lambda _: F.linear(np.zeros((2, 3)), nyala.zeros(2, 3)), ArgumentError, 2,
        "linear: input is an array, not a tensor. Remedy: wrap it: nyala.tensor(...).…"),
    Bad("None in cat", lambda _: nyala.cat([nyala.zeros(2), None]), ArgumentError, 2,
        "cat: member 1 is None, not a tensor. Remedy: wrap it: nyala.tensor(...).…"),
    Bad("one tensor in stack", lambda _: nyala.stack(nyala.zeros(2)), ArgumentError, 2,
        "stack was given one tensor: it takes many. Remedy: put them in a list.…"),
    Bad("array in matmul", lambda _: nyala.zeros(2, 3) @ np.zeros((3, 2)), ArgumentError, 2,
        "matmul: other is an array, not a tensor. Remedy: wrap it: nyala.tensor(...).…"),
    Bad("model instead of its parameters", lambda e: nn.utils.clip_grad_norm_(e.net, 1.0), ArgumentError, 2,
        "clipping was given a Net, not parameters. Remedy: pass its .parameters().…"),
    Bad("array of token ids", lambda e: e.bert_model(np.zeros((1, 4), np.int64)), ArgumentError, 2,
        "at model (BertForSequenceClassification): the input is an array, not a tensor. Remedy: wrap it: "
        "nyala.tensor(...).…"),
    Bad("text instead of numbers", lambda _: nyala.tensor(["a", "b"]), DtypeError, 2,
        "a tensor cannot hold the str 'a'. Remedy: pass numbers; encode texts first.…"),
    Bad("None instead of numbers", lambda _: nyala.tensor(None), DtypeError, 2,
        "a tensor cannot hold None. Remedy: pass numbers; encode texts first.…"),
    Bad("lists of different lengths", lambda _: nyala.tensor([[1, 2], [3]]), ArgumentError, 2,
        "the data is not a regular array: some inner lists are longer than others. Remedy: make the inner lists equally "
        "long.…"),
    Bad("mean of whole numbers", lambda _: nyala.tensor([1, 2]).mean(), DtypeError, 2,
        "mean of a tensor of int64: it would not be whole. Remedy: convert it with .float().…"),
    Bad("truth of many", lambda _: bool(nyala.zeros(2)), ArgumentError, 2,
        "the truth value of a tensor of shape (2,) is ambiguous. Remedy: use .any(), .all() or compare with item().…"),
    Bad("GPU without CuPy", lambda e: e.on_a_gpu(None), DeviceError, 2,
        "device 'cuda' was asked for, but CuPy is not installed: nyala computes on NVIDIA GPUs through CuPy. Remedy: "
        "install it with `pip install 'nyala[cuda13]'` (driver 580 or newer) or `'nyala[cuda12]'`, …"),
    Bad("GPU that is not there", lambda e: e.without_a_gpu(), DeviceError, 2,
        "device 'cuda' was asked for, but CuPy finds no CUDA device: there is no NVIDIA GPU here, or its driver is missing or "
        "too old. Remedy: check what `nvidia-smi` says, or use device='cpu'.…"),
    # ---- data
    Bad("dataset without a length", lambda _: nyala.data.DataLoader(5), ArgumentError, 2,
        "a DataLoader was given an int: a dataset has a length and gives samples by number. Remedy: define __len__ and "
        "__getitem__, or pass a list.…"),
    Bad("batch of nothing", lambda _: nyala.data.DataLoader([1, 2], batch_size=0), ArgumentError, 2,
        "batch_size=0. Remedy: use at least 1.…"),
    Bad("samples of different shapes",
        lambda _: list(nyala.data.DataLoader([np.zeros(2), np.zeros(3)], batch_size=2)), ShapeError, 2,
        "sample 0 of the batch has shape (2,), sample 1 has (3,) (its samples are 0, 1). Remedy: make them equal, or pad "
        "them with collate_fn=PadCollate().…"),
    Bad("sample that raises", lambda e: list(nyala.data.DataLoader(e.faulty_dataset, batch_size=2)), DataError, 2,
        "sample 3 of the dataset raised ZeroDivisionError: division by zero. Remedy: look at this sample.…"),
    Bad("sample that raises in a thread",
        lambda e: list(nyala.data.DataLoader(e.faulty_dataset, batch_size=2, num_workers=2)), DataError, 2,
        "sample 3 of the dataset raised ZeroDivisionError: division by zero. Remedy: look at this sample.…"),
    Bad("tensors of different lengths", lambda _: nyala.data.TensorDataset(nyala.zeros(3), nyala.zeros(4)), ShapeError, 2,
        "tensor 0 has shape (3,), tensor 1 has (4,). Remedy: make their lengths equal.…"),
    # ---- weights and files
    Bad("state with wrong names and a wrong shape", lambda e: e.net.load_state_dict(e.misspelt_state()), CheckpointError, 1,
        "the state does not fit Net: 2 missing, 2 unexpected, 1 of another shape missing: head.weight (4, 8) head.bias "
        "(4,) unexpected: haed.weight (4, 8) (did you mean 'head.weight'?) … Remedy: load the weights of this "
        "architecture and configuration.…"),
    Bad("state of a wrapped model",
        lambda e: e.net.load_state_dict({f"module.{n}": t for n, t in e.net.state_dict().items()}), CheckpointError, 1,
        "the state does not fit Net (no name in common): 11 missing, 11 unexpected, 0 of another shape missing: "
        "stem.conv.weight (8, 3, 3, 3) stem.conv.bias (8,) stem.norm.weight (8,) … Remedy: take the 'module.' off the "
        "names: {k.removeprefix('module.'): v for k, v in state.items()}.…"),
    Bad("path instead of a state", lambda e: e.net.load_state_dict("model.safetensors"), ArgumentError, 2,
        "load_state_dict of a str: a state is tensors by name. Remedy: read it with nyala.checkpoint.load_file first.…"),
    Bad("state of no optimizer", lambda e: nyala.optim.AdamW(e.net.parameters()).load_state_dict({}), CheckpointError, 1,
        "this is no state of an optimizer: []. Remedy: pass what optimizer.state_dict() gave.…"),
    Bad("truncated safetensors", lambda e: nyala.load(e.folder(e.RESNET, e.weights[:-10])), CheckpointError, 1,
        "…/model.safetensors: tensor 'layer4.0.downsample.1.weight' reaches byte 20692: the file has 20682 bytes. Remedy:"
        " download or copy the file again: this one is incomplete or damaged.…"),
    Bad("safetensors cut in the header", lambda e: nyala.load(e.folder(e.RESNET, e.weights[:50])), CheckpointError, 1,
        "…/model.safetensors has 50 bytes: its first 8 bytes announce a header of 6088 bytes. Remedy: download or copy "
        "the file again: this one is incomplete or damaged.…"),
    Bad("empty safetensors", lambda e: nyala.load(e.folder(e.RESNET, b"")), CheckpointError, 1,
        "…/model.safetensors has 0 bytes: a safetensors file has at least 8. Remedy: download or copy the file again: "
        "this one is incomplete or damaged.…"),
    Bad("damaged header", lambda e: nyala.load(e.folder(e.RESNET, e.weights[:20] + b"\xff" + e.weights[21:])), CheckpointError, 1,
        "…/model.safetensors: the header is not UTF-8: byte 12 is 0xff. Remedy: do not use this file: get it again from "
        "its publisher, or save the tensors again with a …"),
    Bad("web page instead of weights",
        lambda e: nyala.load(e.folder(e.RESNET, b"<!doctype html><html>not found</html>")), CheckpointError, 1,
        "…/model.safetensors is a web page, not a weight file. Remedy: open the address in a browser to see what it says,"
        " then download the file again.…"),
    Bad("pointer instead of weights",
        lambda e: nyala.load(e.folder(e.RESNET, b"version https://git-lfs.github.com/spec/v1\nsize 1\n")), CheckpointError, 1,
        "…/model.safetensors is a Git LFS pointer, not the file itself. Remedy: fetch the file with `git lfs pull`, or "
        "download it.…"),
    Bad("truncated .pth", lambda e: checkpoint.load_pth(e.file("cut.pth", e.torch_file[:-200])), CheckpointError, 1,
        "…/cut.pth: the zip archive has no end. Remedy: download or copy the file again: this one is incomplete or "
        "damaged.…"),
    Bad("text called .pth",
        lambda e: checkpoint.load_pth(e.file("note.pth", b"these are no weights, just a note")), CheckpointError, 1,
        "…/note.pth is not a PyTorch file: it begins with b'these ar'. Remedy: name a file written by torch.save.…"),
    Bad("hostile pickle", lambda e: nyala.load(e.folder(e.RESNET, e.hostile_pickle, "pytorch_model.bin")), UnsafeFileError, 1,
        "…/pytorch_model.bin: it names 'posix.system', which is no part of a plain state dict: loading such a file the "
        "usual way runs code that its author chose. Remedy: get these weights as safetensors, or let somebody who trusts "
        "the file load it in PyTorch …"),
    Bad("missing .pth", lambda e: checkpoint.load_pth(e.tmp / "nowhere.pth"), CheckpointError, 1,
        "there is no file …/nowhere.pth. Remedy: did you mean 'note.pth'?…"),
    Bad("weights of another architecture", lambda e: nyala.load(e.folder(e.BERT, e.weights)), CheckpointError, 1,
        "folder …: model.safetensors does not hold a BertForSequenceClassification, as its configuration says: 0 of 25 "
        "parameters are in it: it has names such as bn1.bias, …, the model bert.embeddings.word_embeddings.weight and … "
        "Remedy: take the config.json that belongs to these weights, or the weights that belong to it.…"),
    Bad("weights with another number of classes",
        lambda e: nyala.load(e.folder({**e.RESNET, "num_classes": 7}, e.weights)), CheckpointError, 1,
        "folder …: model.safetensors: the state does not fit ResNet: 0 missing, 0 unexpected, 2 of another shape shape: "
        "fc.weight: given (5, 8), the model has (7, 8) fc.bias: given (5,), … Remedy: check that config.json and the "
        "weights belong together; a head that is meant to be new …"),
    Bad("config.json alone", lambda e: nyala.load(e.folder(e.RESNET)), MissingFileError, 2,
        "folder … has no model.safetensors: it is needed to fill the model's parameters; what is there: config.json. "
        "Remedy: put model.safetensors beside the weights, or load by a name that has it.…"),
    Bad("no config.json", lambda e: nyala.load(e.folder(None, e.weights)), MissingFileError, 2,
        "folder … has no config.json: it is needed to know the architecture; what is there: model.safetensors. Remedy: "
        "put config.json beside the weights, or load by a name that has it.…"),
    Bad("config.json that is no JSON", lambda e: nyala.load(e.folder("{")), DataError, 2,
        "…/config.json is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1). Remedy: "
        "restore the file from where it came.…"),
    Bad("config.json without an architecture", lambda e: nyala.load(e.folder({})), DataError, 2,
        "…/config.json names no architecture: timm's layout has the key 'architecture', transformers' has 'model_type'. "
        "Remedy: use a folder or repository in one of these layouts.…"),
    Bad("save into no folder",
        lambda e: checkpoint.save_file({"a": np.zeros(2)}, e.tmp / "no" / "a.safetensors"), StorageError, 1,
        "could not write …/no/a.safetensors: No such file or directory. Remedy: create the parent folder first, or "
        "correct the path.…"),
    Bad("save without names", lambda e: checkpoint.save_file([np.zeros(2)], e.tmp / "a.safetensors"), ArgumentError, 2,
        "a list has no names. Remedy: pass a dict of names and arrays.…"),
    Bad("revision of a folder", lambda e: nyala.load(e.resnet, revision="main"), ArgumentError, 2,
        "the folder … has no revisions. Remedy: leave out the revision.…"),
    Bad("head of no class", lambda e: nyala.load(e.resnet, num_classes=0), ArgumentError, 2,
        "num_classes=0: a new head has at least one class. Remedy: for features use .model.forward_features.…"),
    # ---- raw input
    Bad("text without a tokenizer", lambda e: nyala.load(e.bert)("a text"), MissingFileError, 2,
        "folder … came without tokenizer.json: it is needed to turn text into tokens. Remedy: put tokenizer.json beside "
        "the weights, or call pipeline.model on prepared tensors.…"),
    Bad("texts that are none", lambda e: e.texts(["a text", 7]), DataError, 2,
        "input 1 is an int, not a text. Remedy: pass strings.…"),
    Bad("no text", lambda e: e.texts([]), DataError, 2,
        "no text to work on. Remedy: pass at least one.…"),
    Bad("no picture at all", lambda e: nyala.load(e.resnet).preprocess([]), DataError, 2,
        "no picture to work on. Remedy: pass at least one.…"),
    Bad("missing picture", lambda e: nyala.load(e.resnet)("no/such.png"), DataError, 2,
        "there is no file no/such.png. Remedy: check the path.…"),
    Bad("empty picture", lambda e: nyala.load(e.resnet)(e.file("empty.png", b"")), DataError, 2,
        "…/empty.png is empty. Remedy: get the file again.…"),
    Bad("corrupt picture", lambda e: nyala.load(e.resnet)(e.file("half.png", e.picture[: len(e.picture) // 2])), DataError, 2,
        "…/half.png is damaged: image file is truncated. Remedy: get the file again.…"),
    Bad("text called a picture", lambda e: nyala.load(e.resnet)(e.file("note.png", b"hello")), DataError, 2,
        "…/note.png is not a picture in a format that Pillow reads. Remedy: convert it to PNG or JPEG.…"),
    Bad("picture's address", lambda e: nyala.load(e.resnet)("https://example.com/cat.jpg"), DataError, 2,
        "https://example.com/cat.jpg is an address on the network: nyala fetches no pictures unless it is told to. Remedy: "
        "download it and pass the path; or allow it: --allow-url…"),
    Bad("folder instead of a picture", lambda e: nyala.load(e.resnet)(e.tmp), DataError, 2,
        "… is a folder, not a picture. Remedy: name the pictures in it.…"),
    Bad("picture in floats", lambda e: nyala.load(e.resnet)(np.zeros((4, 4, 3))), DataError, 2,
        "an array of float64 and shape (4, 4, 3) is not a picture: a picture is uint8 of shape (H, W), (H, W, 1), (H, W, "
        "3) or (H, W, 4). Remedy: transpose (C, H, W) to (H, W, C); scale floats in 0..1 with (x * "
        "255).round().astype('uint8').…"),
    Bad("None instead of a picture", lambda e: nyala.load(e.resnet)([None]), DataError, 2,
        "None is not a picture. Remedy: pass a path, bytes, a PIL image or a uint8 array.…"),
    Bad("drawing into a text file",
        lambda e: nyala.load(e.resnet)([np.zeros((4, 4, 3), np.uint8)]).save("out.txt"), ArgumentError, 2,
        "out.txt is no picture file. Remedy: end the name in one of .png, .jpg, .jpeg, .webp.…"),
    Bad("drawing into no folder",
        lambda e: nyala.load(e.resnet)([np.zeros((4, 4, 3), np.uint8)]).save(e.tmp / "no" / "out.png"), ArgumentError, 2,
        "…/no/out.png: there is no folder …/no. Remedy: make it first, or correct the path.…"),
    # ---- what a recipe meets when it runs
    Bad("loss that is not finite", lambda e: e.run("optim.type=sgd", "optim.lr=1e38", "train.steps=6"), DivergenceError, 2,
        "the loss is inf in step 6, samples 11, 10, 1, 9 of the training part: every module's output is finite, their sum "
        "of losses is not; the newest checkpoint, step-00000004, is from before; stopped.json in the run folder says more. "
        "Remedy: start a new run with another recipe, for this one would come to the same step again: lower optim.lr, set "
        "train.clip_norm, add schedule.warmup, or look at these samples.…"),
    Bad("pictures for a model of texts", lambda e: e.run(f"model.name={e.bert}"), RecipeError, 2,
        "model.name: … is for text and the data are pictures. Remedy: choose a model for vision: `nyala list --domain "
        "vision`.…"),
    Bad("classes that the model must keep", lambda e: e.run("model.new_head=false"), RecipeError, 2,
        "model.new_head is false, but … tells 5 classes apart and the data have 2. Remedy: set model.new_head=true.…"),
    Bad("too few classes", lambda e: e.run("model.num_classes=1"), RecipeError, 2,
        "model.num_classes is 1: …/data has 2. Remedy: leave it out, or make it at least that.…"),
    Bad("layer that is not there", lambda e: e.run('model.freeze=["layer9"]'), RecipeError, 2,
        "model.freeze: nothing is called 'layer9': a pattern without a match would silently do nothing. Remedy: did you "
        "mean 'layer4' or 'layer3' or 'layer2'?…"),
    Bad("empty class", lambda e: e.run(f"data.name={e.empty_class}"), DataError, 2,
        "…/one-empty/empty holds no pictures, no sounds and no texts: it is empty. Remedy: put some there (.png, .jpg, .jpeg, "
        ".webp, .bmp, .gif, .tif, .tiff, .ppm, .pgm, .wav, .flac, .ogg, .opus, .mp3, .aiff, .aif, .au, .caf, .oga, .aifc, "
        ".txt), or remove the folder.…"),
    Bad("one class", lambda e: e.run(f"data.name={e.empty_class}/full"), DataError, 2,
        "…/one-empty/full has 1 class, 'only': a classifier needs at least two classes. Remedy: add another: a folder beside "
        "only.…"),
    Bad("corrupt picture in the data", lambda e: e.run(f"data.name={e.broken_data}"), DataError, 2,
        "sample 9: …/broken/red/3.png is not a picture in a format that Pillow reads. Remedy: convert it to PNG or JPEG; "
        "data.corrupt=skip leaves out what cannot be read.…"),
    Bad("damaged manifest", lambda e: open_run(e.damaged_run("{")), IntegrityError, 1,
        "…/manifest.json is damaged: JSONDecodeError(… Remedy: take this file from a backup, or run again.…"),
    Bad("manifest of something else", lambda e: open_run(e.damaged_run('{"recipe": 3}')), IntegrityError, 1,
        "…/manifest.json is damaged: … Remedy: take this file from a backup, or run again.…"),
    Bad("folder of another recipe", lambda e: e.run_twice(), RecipeError, 2,
        "…/a-run holds a run of another recipe: seed differs: one folder holds one run. Remedy: give another folder, or "
        "none: a new one is then made.…"),
]
# fmt: on


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@pytest.mark.parametrize("bad", TABLE, ids=lambda bad: bad.name)
def test_bad_input_is_told_with_place_cause_and_remedy(bad: Bad, workshop: Any) -> None:
    with pytest.raises(bad.error) as caught:
        bad.call(workshop)
    said = " ".join(str(caught.value).split())
    assert type(caught.value) is bad.error and caught.value.exit_code == bad.code
    assert re.fullmatch(".*".join(map(re.escape, bad.text.split("…"))), said), f"it says:\n{said}\nand not:\n{bad.text}"
    assert "Remedy: " in said and said.endswith(f"[{bad.error.code}]")
    assert not re.search(r"NoneType|<class|object at 0x|<function", said), "names of Python's own insides"


def test_each_row_has_a_name_of_its_own() -> None:
    assert len({bad.name for bad in TABLE}) == len(TABLE)

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Fills the CPU slots of every op before main. One file per program includes it.

#include "voxgrad/cpu/adam.hpp"
#include "voxgrad/cpu/concat.hpp"
#include "voxgrad/cpu/conv3d.hpp"
#include "voxgrad/cpu/conv_transpose3d.hpp"
#include "voxgrad/cpu/fused.hpp"
#include "voxgrad/cpu/gelu.hpp"
#include "voxgrad/cpu/head_loss.hpp"
#include "voxgrad/cpu/matmul.hpp"
#include "voxgrad/cpu/norm.hpp"
#include "voxgrad/cpu/pointwise.hpp"
#include "voxgrad/cpu/pool3d.hpp"
#include "voxgrad/cpu/ray_loss.hpp"
#include "voxgrad/cpu/reduce.hpp"
#include "voxgrad/cpu/set_mean.hpp"
#include "voxgrad/cpu/softmax.hpp"
#include "voxgrad/cpu/upsample3d.hpp"

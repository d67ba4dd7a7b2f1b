// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Everything of the engine but the kernels: quick to compile. One file of the program includes voxgrad/cpu/all.hpp.

#include "voxgrad/autograd/gradcheck.hpp"
#include "voxgrad/models/stardist3d_loss.hpp"
#include "voxgrad/models/unet3d.hpp"
#include "voxgrad/ops/loss.hpp"
#include "voxgrad/ops/mean.hpp"
#include "voxgrad/optim/adam.hpp"
#include "voxgrad/optim/schedule.hpp"
#include "voxgrad/optim/sgd.hpp"
#include "voxgrad/version.hpp"

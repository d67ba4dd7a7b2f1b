// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The networks' options as engines for cards take them.

#include "voxgrad/cuda/engines.hpp"
#include "voxgrad/models/stardist3d_options.hpp"
#include "voxgrad/models/unet3d.hpp"

namespace voxgrad::app {

inline cuda::UNet3dShape shape_of(const models::UNet3dOptions& o) {
  return {o.in_channels, o.out_channels, o.layers, o.width, o.dilations, o.first_kernel, o.batch_norm, o.leaky_relu};
}

inline cuda::StarDist3dShape shape_of(const models::StarDist3dOptions& o) {
  cuda::StarDist3dShape s{.in_channels = o.n_channel_in, .rays = o.n_rays, .classes = o.n_classes, .grid = o.grid, .resnet = !o.is_unet()};
  s.depth = o.unet_n_depth, s.pool = o.unet_pool, s.last_activation = o.unet_last_activation, s.prefix = o.unet_prefix, s.dropout = o.unet_dropout;
  s.blocks = o.resnet_n_blocks;
  s.filters = o.is_unet() ? o.unet_n_filter_base : o.resnet_n_filter_base;
  s.convs = o.is_unet() ? o.unet_n_conv_per_depth : o.resnet_n_conv_per_block;
  s.kernel = o.is_unet() ? o.unet_kernel_size : o.resnet_kernel_size;
  s.activation = o.is_unet() ? o.unet_activation : o.resnet_activation;
  s.batch_norm = o.is_unet() ? o.unet_batch_norm : o.resnet_batch_norm;
  s.features = o.is_unet() ? o.net_conv_after_unet : o.net_conv_after_resnet;
  return s;
}

}  // namespace voxgrad::app

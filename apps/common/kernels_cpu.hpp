// SPDX-License-Identifier: BSD-3-Clause
#pragma once

namespace voxgrad {

/// Does nothing but make a linker take the kernels out of a static library: nothing else refers to them by name.
void link_cpu_kernels();

}  // namespace voxgrad

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// TIFF movies: TiffMovie reads (tiff_read.hpp), TiffWriter writes (tiff_write.hpp).

#include "voxgrad/io/tiff_read.hpp"
#include "voxgrad/io/tiff_write.hpp"

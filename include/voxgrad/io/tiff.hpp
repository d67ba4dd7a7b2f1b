// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// TIFF movies: reading (tiff_read.hpp). Start with TiffMovie.

#include "voxgrad/io/tiff_read.hpp"

// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// One include for Catch2 2.x and 3.x: tests include this and nothing of Catch2 directly.

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
#else
#include <catch2/catch.hpp>
#endif

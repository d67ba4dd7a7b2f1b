// SPDX-License-Identifier: BSD-3-Clause
#include "voxgrad/app.hpp"

int main(int argc, char** argv) { return voxgrad::app::run_program(argc, argv); }
